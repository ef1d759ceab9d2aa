"""From examples and source signals to the padded tensors of a batch.

Shapes: B batch, S source slots, L pivot tokens, P matched positions, T source answer tokens, K kept logits.  With
`mince` routing there is one slot, filled by each example's own source; with `all` there is one slot a source.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.models.logits import Selection, TopK
from gwfast_llm.teachers.desk import SourceDesk
from gwfast_llm.terms.objective import CARRIED, selection
from gwfast_llm.text.examples import Encoded, pad_right
from gwfast_llm.text.packing import packed_rows

NOBODY = -1  # place in a batch that no example takes


class FusionCollator:
    """Turns example indices into a batch.

    Parameters
    ----------
    rows : sequence of Encoded
        Examples under the pivot's tokenizer.
    pad_id : int
        Token to fill up with; filled positions are masked everywhere.
    objective : ObjectiveConfig
        Decides which tensors are needed.
    desk : SourceDesk or None
        The sources; None without distillation.
    longest : int
        Tokens of a row into which several examples are packed; 0 gives every example a row of its own.
    """

    def __init__(
        self,
        rows: Sequence[Encoded],
        pad_id: int,
        objective: ObjectiveConfig,
        desk: SourceDesk | None,
        longest: int = 0,
    ):
        self._rows = rows
        self._pad = pad_id
        self._objective = objective
        self._desk = desk if objective.distils else None
        self._longest = longest

    def __call__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Make the batch of these examples.

        Places that no example takes are dropped.  Where none is left, a batch is made all the same, marked ``idle``:
        its process runs along with the others, and nothing of it counts.
        """
        real = [i for i in indices if i != NOBODY]
        return self._batch(real) if real else {**self._batch([0]), "idle": torch.ones(())}

    def _batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        rows = [self._rows[i] for i in indices]
        batch = {"labels": pad_right([row.labels for row in rows], -100)}
        if self._longest:
            batch |= packed_rows([row.ids for row in rows], self._pad, self._longest)
        else:
            batch["input_ids"] = pad_right([row.ids for row in rows], self._pad)
            batch["attention_mask"] = pad_right([[1] * len(row.ids) for row in rows], 0)
        if self._desk is None:
            return batch
        weights = self._objective.weights
        carries = any(weights[n] for n in CARRIED)
        items = self._desk.items(indices, carries)
        batch["source_weight"] = torch.tensor([[item.weight for item in row] for row in items])
        if any(weights[n] for n in (*CARRIED, "uld", "hybrid", "gw_aligned")):
            index = [[r.prompt_length - 1 + i.targets.pivot_index for i in row] for r, row in zip(rows, items)]
            batch["pair_index"] = _stack(index)
            batch["pair_mask"] = _stack([[torch.ones_like(x, dtype=torch.bool) for x in row] for row in index])
        if carries:
            batch["path_ids"] = _stack([[i.targets.ids for i in row] for row in items])
            batch["path_probs"] = _stack([[i.targets.probs for i in row] for row in items])
            batch["path_tail"] = _stack([[i.targets.tail for i in row] for row in items])
        if weights["gw_aligned"]:
            coupled = [[i.coupled for i in row if i.coupled is not None] for row in items]
            batch["gw_ids"] = _stack([[c.ids for c in row] for row in coupled])
            batch["gw_probs"] = _stack([[c.probs for c in row] for row in coupled])
            batch["gw_tail"] = _stack([[c.tail for c in row] for row in coupled])
        kept = [[narrowed(i.signal.kept, selection(self._objective)) for i in row] for row in items]
        both = [list(zip(row, own)) for row, own in zip(items, kept)]
        if weights["uld"] or weights["hybrid"]:
            batch["source_probs"] = _stack([[k.probs[i.targets.source_index] for i, k in row] for row in both])
        if weights["hybrid"]:
            batch["shared_ids"] = _stack(
                [[i.shared.to_pivot[k.ids[i.targets.source_index]] for i, k in row] for row in both], fill=-1
            )
            batch["shared_pivot"] = _stack([[i.shared.in_pivot for i in row] for row in items])
        if weights["gld"]:
            batch["source_values"] = _stack([[k.values for k in row] for row in kept], fill=-torch.inf)
            batch["source_ids"] = _stack([[k.ids for k in row] for row in kept])
            batch["source_mask"] = _stack(
                [[torch.ones(len(i.signal.gold), dtype=torch.bool) for i in row] for row in items]
            )
        return batch


def narrowed(kept: TopK, how: Selection) -> TopK:
    """Fewer of the kept logits, as `how` says; see `gwfast_llm.models.logits.select`.

    The entropy is that of the kept logits with the rest as one cell: what was dropped is not known any more.
    """
    width = kept.ids.shape[-1] if how.k <= 0 else min(how.k, kept.ids.shape[-1])
    values, ids, probs = kept.values[..., :width], kept.ids[..., :width], kept.probs[..., :width]
    if how.by == "mass":
        values = values.masked_fill(probs.cumsum(-1) - probs >= how.amount, -torch.inf)
    elif how.by == "entropy":
        rest = (1 - kept.probs.sum(-1)).clamp_min(1e-12)
        entropy = -(kept.probs * kept.log_probs).nan_to_num(0.0).sum(-1) - rest * rest.log()
        number = (how.amount * entropy.exp()).ceil().clamp_min(1)
        values = values.masked_fill(torch.arange(width) >= number[..., None], -torch.inf)
    return TopK(values, ids, kept.logsumexp)


def _stack(rows: Sequence[Sequence[Tensor]], fill: float = 0) -> Tensor:
    """Stack tensors of one rank into (B, S, ...), filled up with `fill` in every other axis."""
    flat = [t for row in rows for t in row]
    shape = [max(t.shape[d] for t in flat) for d in range(flat[0].dim())]
    padded = []
    for t in flat:
        widths: list[int] = []
        for d in reversed(range(t.dim())):
            widths += [0, shape[d] - t.shape[d]]
        padded.append(F.pad(t, widths, value=fill))
    return torch.stack(padded).unflatten(0, (len(rows), len(rows[0])))
