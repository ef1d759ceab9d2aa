"""Blocks of pairs: which pairs go together, and what is answered about them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gwfast.kernels.pairs.layout import POINTS
from gwfast.many.dataset import DataSet
from gwfast.packed.pairs import Workspace, cheap_bounds, row_bounds, solve_block
from gwfast.packed.presets import STARTS

TILE, SMALL_TILE = 64, 16  # spaces on a side of a block; of few spaces there are enough blocks for all cores
_FEW = 512
_local = threading.local()


@dataclass(frozen=True)
class Asked:
    """What is wanted of every pair: quality of the plan ("" for none), effort of the bounds, and the plans."""

    quality: str
    effort: str
    plans: bool = False


@dataclass(frozen=True, eq=False)
class Atoms:
    """Plans of some pairs, one behind the other: `count` atoms each, from point `rows` to point `cols`, with `mass`."""

    count: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    mass: np.ndarray


@dataclass(frozen=True, eq=False)
class Answer:
    """Values and proved lower bounds (r,) of a block, and its plans where they were asked for."""

    value: np.ndarray
    lower: np.ndarray
    atoms: Atoms | None = None


def all_blocks(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs i < j of `count` spaces, by tiles: few spaces take part in a block."""
    tile = SMALL_TILE if count <= _FEW else TILE
    for a in range(0, count, tile):
        for b in range(a, count, tile):
            i, j = np.meshgrid(np.arange(a, min(a + tile, count)), np.arange(b, min(b + tile, count)), indexing="ij")
            keep = i < j
            if keep.any():
                yield i[keep], j[keep]


def blocks_of(pairs: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Given pairs (r, 2) in blocks by tiles, each with the places of its pairs."""
    i, j = pairs.T
    tile = SMALL_TILE if len(pairs) <= _FEW * _FEW // 2 else TILE
    order = np.lexsort((j, i, j // tile, i // tile))
    for begin in range(0, len(order), tile * tile):
        places = order[begin : begin + tile * tile]
        yield i[places], j[places], places


def answer(data: DataSet, i: np.ndarray, j: np.ndarray, asked: Asked) -> Answer:
    """Solve and bound the pairs (i, j) of a data set."""
    first, second, turned = data.oriented(i, j)
    work = _workspace(data)
    step = len(work.prices)
    count = len(first)
    value, lower, atoms = np.full(count, np.nan), np.zeros(count), []
    for begin in range(0, count, step):
        part = slice(begin, min(begin + step, count))
        x, y = first[part], second[part]
        lower[part] = _lower(data, x, y, asked.effort, work)
        if asked.quality:
            plans = np.empty(int((data.packed.size[x, POINTS] * data.packed.size[y, POINTS]).sum()))
            value[part] = solve_block(data.packed, data.fused, x, y, STARTS[asked.quality], work, plans).value
            if asked.plans:
                atoms.append(_atoms(data, x, y, turned[part], plans))
    floor = 0.0 if data.fused.alpha == 1.0 else -np.inf  # a linear term may be negative
    lower = np.maximum(lower, floor)
    if asked.quality:  # a bound that rounding lifts above the plan's value is no less valid at that value
        lower = np.minimum(lower, value)
    return Answer(value * data.unit, lower * data.unit, _joined(atoms) if atoms else None)


def _lower(data: DataSet, x: np.ndarray, y: np.ndarray, effort: str, work: Workspace) -> np.ndarray:
    found = cheap_bounds(data.packed, data.fused, x, y, work).max(axis=1)
    if effort != "sort":
        found = np.maximum(found, row_bounds(data.packed, data.fused, x, y, work).max(axis=1))
    return found


def _workspace(data: DataSet) -> Workspace:
    """The memory of this thread, for this data set."""
    if getattr(_local, "owner", None) is not data.packed:
        _local.owner, _local.work = data.packed, Workspace.for_spaces(data.packed)
    return _local.work


def _atoms(data: DataSet, x: np.ndarray, y: np.ndarray, turned: np.ndarray, plans: np.ndarray) -> Atoms:
    at, counts, rows, cols, mass = 0, [], [], [], []
    for n, m, turn in zip(data.packed.size[x, POINTS], data.packed.size[y, POINTS], turned):
        plan = plans[at : at + n * m].reshape(n, m)
        at += n * m
        i, k = np.nonzero(plan)
        counts.append(len(i))
        rows.append(k if turn else i)
        cols.append(i if turn else k)
        mass.append(plan[i, k])
    return Atoms(
        np.array(counts, np.int64),
        np.concatenate(rows).astype(np.int32),
        np.concatenate(cols).astype(np.int32),
        np.concatenate(mass),
    )


def _joined(parts: list[Atoms]) -> Atoms:
    return Atoms(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("count", "rows", "cols", "mass")))
