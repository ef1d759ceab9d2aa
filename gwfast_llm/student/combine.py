"""The objective on a batch: which parts have a weight, how many items each has, and their sums.

Shapes: B batch, S source slots, L pivot tokens, V vocabulary, P matched positions, K kept logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.models.logits import Selection, TopK, select, widened
from gwfast_llm.models.output_layer import ChunkedHead, Request
from gwfast_llm.student.chunked import ChunkedStudent
from gwfast_llm.terms.graph_objective import GraphOptions, gld_aligned_part, gld_part
from gwfast_llm.terms.losses import answers_only
from gwfast_llm.terms.objective import (
    CARRIED,
    Part,
    hellinger_part,
    hybrid_part,
    kl_part,
    selection,
    sft_part,
    uld_part,
)
from gwfast_llm.text.packing import Places, model_inputs, places_of

Batch = dict[str, Tensor]


def part_names(objective: ObjectiveConfig, slots: int) -> list[tuple[str, int]]:
    """Parts with a weight, each with its source slot (0 for the cross-entropy)."""
    weights = objective.weights
    names = [("sft", 0)] if weights["sft"] else []
    return names + [(n, s) for n, w in weights.items() if w and n != "sft" for s in range(slots)]


def batch_counts(batch: Batch, names: Sequence[tuple[str, int]]) -> Tensor:
    """Items of every part in a batch, known before any model runs."""
    counts = []
    for name, slot in names:
        if name == "sft":
            counts.append((batch["labels"][:, 1:] != -100).sum())
        elif name == "gld":
            counts.append(batch["source_mask"][:, slot].any(1).sum())
        else:
            counts.append(batch["pair_mask"][:, slot].sum())
    return torch.stack(counts).float()


def request_of(batch: Batch, objective: ObjectiveConfig, slots: int) -> tuple[Request, dict[str, tuple[int, int]]]:
    """What the parts will ask of the pivot on a batch, for the chunked path.

    Returns
    -------
    Request
        Answer positions, their own next tokens, and the tokens of the sources' distributions there.
    dict
        Columns of each group of asked tokens.
    """
    labels = batch["labels"]
    positions = torch.zeros_like(labels, dtype=torch.bool)
    positions[:, :-1] = labels[:, 1:] != -100
    weights = objective.weights
    groups = {"gold": torch.cat([labels[:, 1:], labels[:, :1]], 1)[..., None]}
    for slot in range(slots):
        for group, tensor, parts in (
            (f"path {slot}", "path_ids", CARRIED),
            (f"gw {slot}", "gw_ids", ("gw_aligned",)),
            (f"shared {slot}", "shared_ids", ("hybrid",)),
        ):
            if any(weights[part] for part in parts):
                at, mask = batch["pair_index"][:, slot], batch["pair_mask"][:, slot]
                ids = batch[tensor][:, slot].clamp_min(0)
                whole = ids.new_zeros(*labels.shape, ids.shape[-1])
                rows = torch.arange(len(at), device=at.device)[:, None].expand_as(at)
                whole[rows[mask], at[mask]] = ids[mask]
                groups[group] = whole
    columns, first = {}, 0
    for group, ids in groups.items():
        columns[group] = (first, first + ids.shape[-1])
        first += ids.shape[-1]
    asked = torch.cat(list(groups.values()), -1)[positions]
    kept = selection(objective) if any(weights[n] for n in ("uld", "gld", "hybrid")) else None
    return Request(positions, asked, kept, places_of(batch)), columns


class DenseStudent:
    """The pivot's output as one (B, L, V) tensor, and what the parts ask of it.

    Parameters
    ----------
    logits : Tensor (B, L, V), or (R, M, V) of packed rows
        Position t predicts token t + 1.
    places : Places, optional
        Where the examples lie in packed rows.
    """

    def __init__(self, logits: Tensor, places: Places | None = None):
        self.logits = logits
        self._places = places
        self._logsumexp: Tensor | None = None

    @property
    def logsumexp(self) -> Tensor:
        """Log-sum-exp over the vocabulary, (B, L) or (R, M)."""
        if self._logsumexp is None:
            self._logsumexp = widened(self.logits).logsumexp(-1)
        return self._logsumexp

    def _where(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Row and column in the logits of positions (B, P) of every example."""
        examples = torch.arange(len(positions), device=positions.device)[:, None]
        if self._places is None:
            return examples, positions
        return self._places.at(examples, positions, self.logits.shape[1])

    def sft(self, labels: Tensor) -> Part:
        """Cross-entropy part."""
        if self._places is not None:
            # an example starts with its prompt, so no label reaches back over a border
            example, position = (labels != -100).nonzero(as_tuple=True)
            row, column = self._places.at(example, position, self.logits.shape[1])
            packed = labels.new_full(self.logits.shape[:2], -100)
            packed[row, column] = labels[example, position]
            labels = packed
        return sft_part(self.logits, labels)

    def log_probs_at(self, group: str, positions: Tensor, ids: Tensor) -> Tensor:
        """Log-probabilities (B, P, K) of these tokens at these positions (B, P)."""
        row, column = self._where(positions)
        picked = self.logits[row[..., None], column[..., None], ids]
        return widened(picked) - self.logsumexp[row, column][..., None]

    def kept(self, how: Selection) -> TopK:
        """Kept logits of every position, (B, L, K)."""
        kept = select(self.logits, how)
        if self._places is None:
            return kept
        every = torch.arange(self._places.length, device=self.logits.device)
        where = self._where(every.expand(len(self._places.row), -1))
        return TopK(kept.values[where], kept.ids[where], kept.logsumexp[where])

    def probs_at(self, positions: Tensor) -> Tensor:
        """Probabilities (B, P, V) at these positions (B, P)."""
        return widened(self.logits[self._where(positions)]).softmax(-1)


def run_student(
    model: Any, batch: Batch, objective: ObjectiveConfig, slots: int, head: ChunkedHead | None
) -> tuple[DenseStudent | ChunkedStudent, Any]:
    """Run the pivot on a batch and make its output ready for the parts.

    Parameters
    ----------
    model : callable
        The pivot, however wrapped.
    batch : dict
        Tensors from `gwfast_llm.terms.collate.FusionCollator`.
    objective : ObjectiveConfig
        Decides what is asked of the output layer.
    slots : int
        Source slots S.
    head : ChunkedHead or None
        Works the output layer in chunks; without it whole logits are made.

    Returns
    -------
    DenseStudent or ChunkedStudent
    outputs
        What the model returned.
    """
    given = model_inputs(batch)
    if head is None:
        outputs = model(**given, use_cache=False)
        return DenseStudent(outputs.logits, places_of(batch)), outputs
    request, columns = request_of(batch, objective, slots)
    head.pending = request
    outputs = model(**given, use_cache=False)
    return ChunkedStudent(request, head.answer(), columns), outputs


def batch_parts(
    student: DenseStudent | ChunkedStudent, batch: Batch, objective: ObjectiveConfig, slots: int
) -> list[Part]:
    """Every weighted part of the objective on one batch, in the order of `part_names`.

    Parameters
    ----------
    student : DenseStudent or ChunkedStudent
        The pivot's output.
    batch : dict
        Tensors from `gwfast_llm.terms.collate.FusionCollator`.
    objective : ObjectiveConfig
        Weights and options.
    slots : int
        Source slots S.

    Returns
    -------
    list of Part
    """
    weights = objective.weights
    kept = student.kept(selection(objective)) if any(weights[n] for n in ("uld", "gld", "hybrid")) else None
    parts = []
    for name, slot in part_names(objective, slots):
        if name == "sft":
            parts.append(student.sft(batch["labels"]))
            continue
        weight = batch["source_weight"][:, slot]
        if name == "gld":
            assert kept is not None
            parts.append(_graphs(kept, batch, slot, objective, weight))
            continue
        at, mask = batch["pair_index"][:, slot], batch["pair_mask"][:, slot]
        if name in (*CARRIED, "gw_aligned"):
            way = "gw" if name == "gw_aligned" else "path"
            ids, probs = batch[f"{way}_ids"][:, slot], batch[f"{way}_probs"][:, slot]
            if name == "gld_aligned":
                dense = student.probs_at(at)
                part = gld_aligned_part(dense, ids, probs, mask, weight, window=objective.gld_window)
            else:
                loss = hellinger_part if name == "hellinger" else kl_part
                tail = batch[f"{way}_tail"][:, slot]
                log_probs = student.log_probs_at(f"{way} {slot}", at, ids)
                part = loss(log_probs, probs, tail, mask, weight[:, None])
            parts.append(part)
            continue
        assert kept is not None
        rows = torch.arange(len(at), device=at.device)[:, None]
        own = TopK(kept.values[rows, at], kept.ids[rows, at], kept.logsumexp[rows, at])
        probs = batch["source_probs"][:, slot]
        if name == "uld":
            parts.append(uld_part(own.probs, probs, mask, weight[:, None]))
        else:
            ids = batch["shared_ids"][:, slot]
            known = batch["shared_pivot"][:, slot]  # (B, V) of bool; a model may have more rows than tokens
            known = F.pad(known, (0, max(0, int(own.ids.max()) + 1 - known.shape[1])))
            parts.append(
                hybrid_part(
                    own,
                    student.log_probs_at(f"shared {slot}", at, ids.clamp_min(0)),
                    ids >= 0,
                    probs,
                    known.gather(1, own.ids.flatten(1)).reshape(own.ids.shape),
                    mask,
                    weight[:, None],
                )
            )
    return parts


def _graphs(kept: TopK, batch: Batch, slot: int, objective: ObjectiveConfig, weight: Tensor) -> Part:
    predicts = torch.zeros_like(batch["labels"], dtype=torch.bool)
    predicts[:, :-1] = batch["labels"][:, 1:] != -100
    own, own_mask = answers_only(kept, predicts)
    values, ids = batch["source_values"][:, slot], batch["source_ids"][:, slot]
    source = TopK(values, ids, values.new_zeros(values.shape[:2]))
    options = GraphOptions(
        objective.gld_nodes,
        objective.gld_weights,
        objective.gld_feature,
        objective.gld_distance,
        objective.gld_scale,
    )
    # vocabulary nodes without mass have feature 0 in either model, so the largest id in use is enough
    sizes = (int(own.ids.max()) + 1, int(ids.max()) + 1)
    if objective.gld_feature == "rows":
        # an idle node may be the best match of a busy one: enough of them, and more only meet one another
        sizes = (sum(sizes), sum(sizes))
    return gld_part(own, source, own_mask, batch["source_mask"][:, slot], sizes, options, weight)
