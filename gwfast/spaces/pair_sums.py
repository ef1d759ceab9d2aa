"""Value of a plan between spaces that compute their costs: the sum over all pairs of atoms, each cost once."""

from __future__ import annotations

import numpy as np

from gwfast.arrays import to_numpy
from gwfast.kernels.rows.distances import gaps
from gwfast.kernels.rows.sums import row_gaps
from gwfast.kernels.rows.threads import on_threads
from gwfast.plan import Plan
from gwfast.spaces.on_demand import Rows
from gwfast.spaces.point_cloud import PointCloud
from gwfast.spaces.space import Space

_BLOCK, _MOST = 1 << 21, 1024  # numbers and atoms in a block
_SOME = 64  # rows that are held in double precision


def pair_sum(x: Space, y: Space, plan: Plan) -> float | None:
    """Sum over pairs of atoms of w_s w_t (C1 - C2)^2; None where the spaces have no kernel for it.

    O(N^2) time, O(N) memory and a block of rows, on all processors.
    """
    rows, cols, mass = (to_numpy(a) for a in (plan.rows, plan.cols, plan.mass))
    if isinstance(x, PointCloud) and isinstance(y, PointCloud):
        if not x.metric == y.metric == "euclidean":
            return None
        X = np.ascontiguousarray(to_numpy(x.points)[rows].T)
        Y = np.ascontiguousarray(to_numpy(y.points)[cols].T)
        return sum(on_threads(len(mass) ** 2, lambda first, step: gaps(X, Y, mass, first, step)))
    if not (isinstance(x, Rows) or isinstance(y, Rows)):
        return None
    if isinstance(x, Rows):
        rank, at = x.order, rows
    else:
        assert isinstance(y, Rows)
        rank, at = y.order, cols
    place = np.empty(len(rank), np.int64)
    place[rank] = np.arange(len(rank))
    turn = np.argsort(place[at], kind="stable")
    rows, cols, mass = rows[turn], cols[turn], mass[turn]
    total, step = 0.0, max(1, min(_MOST, _BLOCK // max(x.n, y.n)))
    gathered = [(space, space.collector()) for space in (x, y) if isinstance(space, Rows) and space.open_moments]
    for start in range(0, len(mass), step):
        part = slice(start, start + step)
        first, at_x = np.unique(rows[part], return_inverse=True)
        second, at_y = np.unique(cols[part], return_inverse=True)
        A, B = whole_rows(x, first), whole_rows(y, second)
        for space, collector in gathered:  # the bounds need these sums, and a pass is what takes time
            collector.add(*((first, A) if space is x else (second, B)))
        out = np.empty(len(at_x))
        on_threads(
            out.size * len(mass),
            lambda f, s: row_gaps(A, B, at_x[f::s], at_y[f::s], rows, cols, mass, out[f::s]),  # noqa: B023
        )
        total += float(mass[part] @ out)
    for space, collector in gathered:
        space.keep(collector)
    return total


def whole_rows(space: Space, points: np.ndarray) -> np.ndarray:
    """Rows (r, n) of some points, in host memory."""
    if isinstance(space, Rows):
        return space.computed(points)
    return np.ascontiguousarray(to_numpy(space.gather(points, np.arange(space.n))))


def single_rows(space: Space, points: np.ndarray) -> np.ndarray:
    """Rows (r, n) of some points in single precision, computed in blocks."""
    out = np.empty((len(points), space.n), np.float32)
    for start in range(0, len(points), _SOME):
        out[start : start + _SOME] = whole_rows(space, points[start : start + _SOME])
    return out
