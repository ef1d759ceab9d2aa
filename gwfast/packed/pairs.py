"""Runs the compiled pairs: blocks of pairs, one start after the other, scratch memory of one thread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwfast.kernels.pairs.begin import CENTRED_ROWS, FIELDS, ROW_COSTS, SORTED_PLAN, begin_block
from gwfast.kernels.pairs.bounds import CHEAP, cheap_block, dual_block
from gwfast.kernels.pairs.descent import descend_block
from gwfast.kernels.pairs.layout import POINTS, SKEW, WIDTH, Fused, Packed, buffers
from gwfast.packed.presets import EXCHANGES, PROGRAMS

_BLOCK = 1 << 17  # numbers of the costs of one block


@dataclass(frozen=True, eq=False)
class Workspace:
    """Memory of one thread: scratch, the random state, and what a block begins from."""

    doubles: np.ndarray
    singles: np.ndarray
    integers: np.ndarray
    state: np.ndarray
    begun: np.ndarray
    prices: np.ndarray

    @classmethod
    def for_spaces(cls, packed: Packed) -> Workspace:
        """Memory that holds any block of pairs of these spaces."""
        most = int(packed.size[:, POINTS].max(initial=1))
        wide = int(packed.size[:, WIDTH].max(initial=8))
        count = max(1, _BLOCK // (most * wide))
        return cls(*buffers(most), np.zeros(1, np.uint64), np.empty(count * most * wide), np.empty((count, wide)))


@dataclass(frozen=True, eq=False)
class Outcome:
    """Of every pair the value of its best plan, the number of the start it came from, and its Frank-Wolfe gap."""

    value: np.ndarray
    chosen: np.ndarray
    gap: np.ndarray

    @classmethod
    def empty(cls, count: int) -> Outcome:
        """Nothing found yet."""
        return cls(np.full(count, np.inf), np.full(count, -1, np.int64), np.full(count, np.nan))


def solve_block(
    packed: Packed,
    fused: Fused,
    first: np.ndarray,
    second: np.ndarray,
    starts: np.ndarray,
    work: Workspace,
    plans: np.ndarray,
) -> Outcome:
    """Follow every row of `starts` for every pair of one block; the best plans go, row by row, into `plans`."""
    count = len(first)
    found = Outcome.empty(count)
    sizes = packed.size[first, POINTS] * packed.size[second, POINTS]
    slots = np.stack([np.arange(count), np.cumsum(sizes) - sizes], axis=1)
    plain = bool((starts[:, 0] == SORTED_PLAN).all())
    programs, exchanges = (0, 0) if plain else (PROGRAMS, EXCHANGES)
    together = max(1, len(work.prices) // count)  # starts of all pairs at a time
    for begin in range(0, len(starts), together):
        some = starts[begin : begin + together]
        rows, times = np.repeat(some, count, axis=0), len(some)
        x, y, places = np.tile(first, times), np.tile(second, times), np.tile(slots, (times, 1))
        _run(packed, fused, x, y, rows, work, places, programs, exchanges, found, plans)
    return found


def _run(
    packed: Packed,
    fused: Fused,
    first: np.ndarray,
    second: np.ndarray,
    starts: np.ndarray,
    work: Workspace,
    slots: np.ndarray,
    programs: int,
    exchanges: int,
    found: Outcome,
    plans: np.ndarray,
) -> np.ndarray:
    """One start for every pair; returns where the cost of each begins in the workspace."""
    areas = packed.size[first, POINTS] * packed.size[second, WIDTH]
    places = np.cumsum(areas) - areas
    given = (packed, fused, first, second)
    begun = (work.begun, places, work.prices)
    begin_block(*given, starts, work.doubles, work.singles, work.integers, work.state, *begun)
    limits = (programs, exchanges, work.doubles, work.integers)
    descend_block(*given, slots, starts, *begun, *limits, found.value, found.chosen, found.gap, plans)
    return places


def cheap_bounds(packed: Packed, fused: Fused, first: np.ndarray, second: np.ndarray, work: Workspace) -> np.ndarray:
    """The seven bounds (r, 7) that need no linear program, in the order of `CHEAP`."""
    out = np.empty((len(first), len(CHEAP)))
    cheap_block(packed, fused, first, second, work.doubles, out)
    return out


def row_bounds(packed: Packed, fused: Fused, first: np.ndarray, second: np.ndarray, work: Workspace) -> np.ndarray:
    """Third lower bound and its ANOVA form (r, 2) of one block of pairs, each by linear programs and their duals.

    Of asymmetric pairs the third lower bound is taken by rows, by columns and by their mean.
    """
    count = len(first)
    slots, nothing = np.zeros((count, 2), np.int64), Outcome.empty(1)
    asymmetric = bool((packed.size[first, SKEW] >= 0).any() or (packed.size[second, SKEW] >= 0).any())
    out, found = np.full((count, 2), -np.inf), np.empty(count)
    for kind, side in ((ROW_COSTS, 0), (ROW_COSTS, 1), (ROW_COSTS, 2), (CENTRED_ROWS, 0)):
        if side and not asymmetric:
            continue
        starts = np.zeros((count, FIELDS))
        starts[:, :2] = kind, side
        places = _run(packed, fused, first, second, starts, work, slots, -1, 0, nothing, np.empty(0))
        dual_block(packed, fused, first, second, kind == CENTRED_ROWS, work.begun, places, work.prices, found)
        column = 1 if kind == CENTRED_ROWS else 0
        out[:, column] = np.maximum(out[:, column], found)
    return out
