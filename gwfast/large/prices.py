"""Prices of linear transport between points: their c-transform at full size, and what it proves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gwfast.arrays.precision import EPS
from gwfast.kernels.auction.kd_tree import FAR, LEAF, Tree, blocks_of, plant
from gwfast.kernels.auction.search import refresh, transform

SLICE = 20_000  # searches or bids in a call of a kernel: at most a second between two looks at the clock


@dataclass(frozen=True, eq=False)
class Prices:
    """Prices of second points, to start a later call from; any numbers are allowed.

    Attributes
    ----------
    w : array (m,)
        The price of each second point.
    target : array (m, d) or None
        Guess of the first point that each second one is matched to: the slope of the prices, which speeds searches up.
    """

    w: np.ndarray
    target: np.ndarray | None = None


def in_places(tree: Tree, numbers: np.ndarray, fill: float) -> np.ndarray:
    """Numbers (m,) or (m, d) of the points of a tree, in its places."""
    out = np.full((len(tree.point), *numbers.shape[1:]), fill, numbers.dtype)
    out[tree.place] = numbers
    return out


def transform_tree(
    U: np.ndarray, V: np.ndarray, w: np.ndarray, target: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, Tree]:
    """Return `c_transform`, and the tree with the price model that it was found with."""
    tree = plant(V)
    slope = np.zeros_like(V) if target is None else target - V
    placed = in_places(tree, w, FAR)
    refresh(tree, placed, in_places(tree, slope, 0.0))
    order, *_ = blocks_of(U, -(-len(U) // LEAF))  # neighbours one after another
    sorted_U, values, places = U[order], np.empty(len(U)), np.empty(len(U), np.int64)
    for begin in range(0, len(U), SLICE):
        transform(sorted_U, tree, placed, values, places, begin, min(begin + SLICE, len(U)))
    out, arg = np.empty(len(U)), np.empty(len(U), np.int64)
    out[order], arg[order] = values, tree.point[places]
    return out, arg, tree


def c_transform(
    U: np.ndarray, V: np.ndarray, w: np.ndarray, target: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return :math:`f_i = \min_k |u_i - v_k|^2 / 2 + w_k` and where it is attained.

    Parameters
    ----------
    U, V : arrays (n, d), (m, d)
    w : array (m,)
        Prices of the points `V`.
    target : array (m, d), optional
        Guess of the slope of the prices; any guess gives the same numbers, a good one faster.

    Returns
    -------
    values, argmin : arrays (n,)
        Exact up to rounding.  O(n log m) where prices are smooth.
    """
    exponent = math.frexp(max(np.abs(U).max(), np.abs(V).max(), 2.0**-500))[1]
    U, V = np.ldexp(U, -exponent), np.ldexp(V, -exponent)
    target = None if target is None else np.ldexp(target, -exponent)
    values, argmin, _ = transform_tree(U, V, np.ldexp(w, -2 * exponent), target)
    return np.ldexp(values, 2 * exponent), argmin


def dual_value(
    U: np.ndarray, V: np.ndarray, p: np.ndarray, q: np.ndarray, w: np.ndarray, target: np.ndarray | None = None
) -> float:
    """Proved lower bound of the least sum T_ik |u_i - v_k|^2 / 2, from any prices.

    The dual <p, f> - <q, w> with the c-transform f.  Rounding: a computed total |u - v|^2 / 2 + w, the bound of a
    node, and hence f are off by a few (d + 4) EPS times the squares and prices that they are made of.
    """
    f, _, tree = transform_tree(U, V, w, target)
    n, m, d = len(U), len(V), V.shape[1]
    slope = np.abs(tree.box[:, 2 * d : 3 * d]).max(initial=0.0)
    width = max(np.abs(U).max(), np.abs(V).max()) + slope
    size = 4 * d * width * width + float(np.abs(w).max())
    total = float(p @ f - q @ w)
    margin = (16 * (d + 8) * size + 8 * (n + m + 32) * float(p @ np.abs(f) + q @ np.abs(w))) * EPS
    return total - margin


def block_means(
    points: np.ndarray, weights: np.ndarray | None, blocks: int, values: np.ndarray | None = None
) -> np.ndarray:
    """Means (blocks, k) of values (m, k), by default the points, over blocks of equal mass of points (m, d).

    Without weights the blocks hold whole points.
    """
    values = points if values is None else values
    if weights is None:
        order, starts, *_ = blocks_of(points, blocks)
        return np.add.reduceat(values[order], starts[:-1], axis=0) / np.diff(starts)[:, None]
    order, *_ = blocks_of(points, -(-len(points) // LEAF))
    ends = np.concatenate([[0.0], np.cumsum(weights[order])])
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values[order] * weights[order, None], axis=0)])
    cuts = np.linspace(0.0, ends[-1], blocks + 1)
    parts = np.column_stack([np.diff(np.interp(cuts, ends, column)) for column in sums.T])
    return parts * (blocks / ends[-1])


def local_scale(points: np.ndarray) -> float:
    """Mean squared spread of a leaf of some eight neighbours."""
    order, starts, *_ = blocks_of(points, -(-len(points) // LEAF))
    count, z = np.diff(starts)[:, None], points[order]
    z = z - np.repeat(np.add.reduceat(z, starts[:-1], axis=0) / count, count[:, 0], axis=0)
    return float((z * z).sum()) / len(points)
