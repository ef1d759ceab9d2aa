"""The desk that asks the teachers, routes examples to them and carries their answers into the pivot's vocabulary."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gwfast_llm.teachers.path import PathMap, SharedTokens, Targets
from gwfast_llm.teachers.signal import Signal, Source, comparable_losses
from gwfast_llm.teachers.targets import StoredTargets
from gwfast_llm.text.alignment import UNKNOWN
from gwfast_llm.text.examples import Encoded, Example

TARGET_BYTES = 2**29  # carried targets kept at hand; about 1.5 kB a position at 64 tokens


class Carrier(Protocol):
    """A way to carry a teacher's answer into the pivot's vocabulary, other than along the text."""

    def targets(self, matched: Targets, signal: Signal, keep: int) -> Targets:
        """Carry an answer at matched positions; at most `keep` pivot tokens a position, all of them for 0."""
        ...


@dataclass(frozen=True)
class Item:
    """What one source says about one example, ready for the terms.

    Attributes
    ----------
    signal : Signal
        Its kept logits.
    targets : Targets
        Its distributions carried along the text, or the matched positions alone.
    shared : SharedTokens
        Tokens that its vocabulary and the pivot's spell alike.
    weight : float
        Weight of the source.
    carried_by : mapping of str to Targets
        Its distributions carried in other ways, by the name of the term whose way it is.
    whole : bool
        Whether the answer ends at the same byte under both tokenizers: cut answers need not.
    map : PathMap or None
        Map of the source into the pivot's vocabulary.
    """

    signal: Signal
    targets: Targets
    shared: SharedTokens
    weight: float
    carried_by: Mapping[str, Targets] = field(default_factory=dict)
    whole: bool = True
    map: PathMap | None = None


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
    routing : {"mince", "all", "mean"}
        See `gwfast_llm.config.ObjectiveConfig`.
    keep : int
        Pivot tokens kept in a target; 0 keeps all.
    carriers : mapping of str to sequence of Carrier
        Other ways into the pivot's vocabulary, one carrier a source, by the name of the term that uses them.
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
        carriers: Mapping[str, Sequence[Carrier]] | None = None,
        stored: Sequence[StoredTargets | None] = (),
    ):
        self.pivot_rows = pivot_rows
        self.sources = sources
        self._weights = weights
        self._maps = maps
        self._routing = routing
        self._keep = keep
        self._carriers = carriers or {}
        self._stored = stored or [None] * len(sources)
        self._targets = RecentTargets(TARGET_BYTES)

    def about(self, pivot_rows: Sequence[Encoded], sources: Sequence[Source]) -> SourceDesk:
        """The same sources, weights and maps on other texts."""
        return SourceDesk(pivot_rows, sources, self._weights, self._maps, self._routing, self._keep, self._carriers)

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
        if self._routing != "mince":
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
        others = {name: own[s].targets(targets, signal, self._keep) for name, own in self._carriers.items()}
        ends = [self.pivot_rows[i].ends[-1], self.sources[s].rows[i].ends[-1]]
        whole = ends[0] == ends[1] != UNKNOWN and len(signal.gold) == len(self.sources[s].rows[i].ends)
        return Item(signal, targets, self._maps[s].shared, self._weights[s], others, whole, self._maps[s])

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
