"""From examples and source signals to the padded tensors of a batch.

Shapes: B batch, S source slots, L pivot tokens, P matched positions, T source answer tokens, K kept logits.  With
`mince` routing there is one slot, filled by each example's own source; with `all` there is one slot a source.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gwfast_llm.combine import CARRIED, selection
from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.data import Encoded, Example, pad_right
from gwfast_llm.gw_align import Coupling
from gwfast_llm.logits import Selection, TopK
from gwfast_llm.packing import packed_rows
from gwfast_llm.path import PathMap, SharedTokens, Targets
from gwfast_llm.signal import Signal, Source, comparable_losses
from gwfast_llm.targets import StoredTargets

NOBODY = -1  # place in a batch that no example takes
TARGET_BYTES = 2**29  # carried targets kept at hand; about 1.5 kB a position at 64 tokens


@dataclass(frozen=True)
class Item:
    """What one source says about one example, ready for the losses."""

    signal: Signal
    targets: Targets
    shared: SharedTokens
    weight: float
    coupled: Targets | None = None


class SourceDesk:
    """Asks the sources, routes examples to them and carries their answers into the pivot's vocabulary.

    Parameters
    ----------
    pivot_rows : sequence of Encoded
        Examples under the pivot's tokenizer.
    sources : sequence of Source
        The sources, on the same examples in the same order.
    weights : sequence of float
        Weight of each source.
    maps : sequence of PathMap
        Map of each source into the pivot's vocabulary.
    routing : {"mince", "all"}
        See `gwfast_llm.config.ObjectiveConfig`.
    keep : int
        Pivot tokens kept in a target; 0 keeps all.
    couplings : sequence of Coupling
        Coupling of each source's vocabulary with the pivot's; empty where no part uses them.
    stored : sequence of StoredTargets or None
        Targets of each source that were carried beforehand; without them they are carried when asked for.
    """

    def __init__(
        self,
        pivot_rows: Sequence[Encoded],
        sources: Sequence[Source],
        weights: Sequence[float],
        maps: Sequence[PathMap],
        routing: str,
        keep: int,
        couplings: Sequence[Coupling] = (),
        stored: Sequence[StoredTargets | None] = (),
    ):
        self.pivot_rows = pivot_rows
        self.sources = sources
        self._weights = weights
        self._maps = maps
        self._routing = routing
        self._keep = keep
        self._couplings = couplings
        self._stored = stored or [None] * len(sources)
        self._targets = RecentTargets(TARGET_BYTES)

    @property
    def slots(self) -> int:
        """Number of source slots S of a batch."""
        return min(len(self.sources), 1) if self._routing == "mince" else len(self.sources)

    def routes(self, indices: Sequence[int]) -> list[list[int]]:
        """Sources that speak on each example: the one with the lowest loss on its answer, or all."""
        return self._asked(indices)[0]

    def _asked(self, indices: Sequence[int]) -> tuple[list[list[int]], list[list[Signal]]]:
        """Routes, and every source's signals, each asked once."""
        signals = [source.signals(indices) for source in self.sources]
        if self._routing == "all":
            return [list(range(len(self.sources)))] * len(indices), signals
        routes = []
        for k, i in enumerate(indices):
            ends = [source.rows[i].ends for source in self.sources]
            losses = comparable_losses([own[k] for own in signals], ends)
            routes.append([min(range(len(losses)), key=losses.__getitem__)])
        return routes, signals

    def items(self, indices: Sequence[int], carry: bool = True) -> list[list[Item]]:
        """Items of every example, one a slot; without `carry` their targets are the matched positions alone."""
        routes, signals = self._asked(indices)
        return [
            [self._item(s, i, signals[s][k], carry) for s in route] for k, (i, route) in enumerate(zip(indices, routes))
        ]

    def _item(self, s: int, i: int, signal: Signal, carry: bool) -> Item:
        targets = self._carried(s, i, signal, carry)
        coupled = self._couplings[s].targets(targets, signal, self._keep) if self._couplings else None
        return Item(signal, targets, self._maps[s].shared, self._weights[s], coupled)

    def _carried(self, s: int, i: int, signal: Signal, carry: bool) -> Targets:
        if not carry:
            return self._maps[s].matched(self.pivot_rows[i], self.sources[s].rows[i], signal)
        stored = self._stored[s]
        if stored is not None:
            return stored[i]
        found = self._targets.get((s, i))
        if found is None:
            found = self._maps[s].targets(self.pivot_rows[i], self.sources[s].rows[i], signal, self._keep)
            self._targets.put((s, i), found)
        return found


class RecentTargets:
    """Targets used last, as many as fit into so many bytes.

    Parameters
    ----------
    room : int
        Bytes.
    """

    def __init__(self, room: int):
        self._room = room
        self._kept: OrderedDict[tuple[int, int], Targets] = OrderedDict()
        self.bytes = 0

    def get(self, key: tuple[int, int]) -> Targets | None:
        """Targets of a source and an example, None where they are not kept any more."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: tuple[int, int], targets: Targets) -> None:
        """Keep these; those unused for longest make room."""
        self._kept[key] = targets
        self.bytes += _size(targets)
        while self.bytes > self._room and len(self._kept) > 1:
            self.bytes -= _size(self._kept.popitem(last=False)[1])


def _size(targets: Targets) -> int:
    return sum(
        x.numel() * x.element_size()
        for x in (targets.pivot_index, targets.source_index, targets.ids, targets.probs, targets.tail)
    )


def path_maps(
    pivot_tokenizer, pivot_rows: Sequence[Encoded], sources: Sequence[Source], examples: Sequence[Example]
) -> list[PathMap]:
    """Count a map into the pivot's vocabulary for every source, on the texts of `examples`."""
    return [PathMap(pivot_tokenizer, source.tokenizer, examples, pivot_rows, source.rows) for source in sources]


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
    """Fewer of the kept logits, as `how` says; see `gwfast_llm.logits.select`.

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
