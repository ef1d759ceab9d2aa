"""Runs the compiled pairs: blocks of pairs, one start after the other, scratch memory of one thread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwfast.kernels.pairs.begin import CENTRED_ROWS, FIELDS, ROW_COSTS, begin_block
from gwfast.kernels.pairs.bounds import CHEAP, cheap_block, dual_block
from gwfast.kernels.pairs.descent import descend_block
from gwfast.kernels.pairs.layout import POINTS, SKEW, WIDTH, Fused, Packed, buffers
from gwfast.many.presets import EXCHANGES, PROGRAMS, STARTS

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


def solve_block(
    packed: Packed,
    fused: Fused,
    first: np.ndarray,
    second: np.ndarray,
    quality: str,
    work: Workspace,
    plans: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Values and numbers of the best starts of one block of pairs; their plans, row by row, into `plans`."""
    count = len(first)
    value, chosen = np.full(count, np.inf), np.full(count, -1, np.int64)
    areas = packed.size[first, POINTS] * packed.size[second, WIDTH]
    places = np.cumsum(areas) - areas
    sizes = packed.size[first, POINTS] * packed.size[second, POINTS]
    slots = np.stack([np.arange(count), np.cumsum(sizes) - sizes], axis=1)
    plain = quality == "sorted"
    for row in STARTS[quality]:
        starts = np.broadcast_to(row, (count, len(row))).copy()
        begin_block(
            packed,
            fused,
            first,
            second,
            starts,
            work.doubles,
            work.singles,
            work.integers,
            work.state,
            work.begun,
            places,
            work.prices,
        )
        descend_block(
            packed,
            fused,
            first,
            second,
            slots,
            starts,
            work.begun,
            places,
            work.prices,
            0 if plain else PROGRAMS,
            0 if plain else EXCHANGES,
            work.doubles,
            work.integers,
            value,
            chosen,
            plans,
        )
    return value, chosen


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
    areas = packed.size[first, POINTS] * packed.size[second, WIDTH]
    places = np.cumsum(areas) - areas
    slots = np.zeros((count, 2), np.int64)
    value, chosen, best = np.full(1, np.inf), np.zeros(1, np.int64), np.empty(0)
    asymmetric = bool((packed.size[first, SKEW] >= 0).any() or (packed.size[second, SKEW] >= 0).any())
    out, found = np.full((count, 2), -np.inf), np.empty(count)
    for kind, side in ((ROW_COSTS, 0), (ROW_COSTS, 1), (ROW_COSTS, 2), (CENTRED_ROWS, 0)):
        if side and not asymmetric:
            continue
        starts = np.zeros((count, FIELDS))
        starts[:, :2] = kind, side
        begin_block(
            packed,
            fused,
            first,
            second,
            starts,
            work.doubles,
            work.singles,
            work.integers,
            work.state,
            work.begun,
            places,
            work.prices,
        )
        descend_block(
            packed,
            fused,
            first,
            second,
            slots,
            starts,
            work.begun,
            places,
            work.prices,
            -1,
            0,
            work.doubles,
            work.integers,
            value,
            chosen,
            best,
        )
        dual_block(packed, fused, first, second, kind == CENTRED_ROWS, work.begun, places, work.prices, found)
        column = 1 if kind == CENTRED_ROWS else 0
        out[:, column] = np.maximum(out[:, column], found)
    return out
