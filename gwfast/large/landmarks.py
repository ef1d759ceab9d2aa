"""Landmarks of any symmetric cost: points that stand for blocks of near ones, and a picture of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwfast.arrays import to_numpy
from gwfast.kernels.auction.kd_tree import blocks_of
from gwfast.large.sides import Side
from gwfast.spaces.pair_sums import single_rows
from gwfast.spaces.space import Space
from gwfast.transport import is_uniform

_FIRST, _LANDMARKS = 16, 256  # rows that tell which points are near, and landmarks
_RANK, _SHARE = 4, 0.02  # coordinates at most, and least eigenvalue over the largest


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Landmarks of a space.

    Attributes
    ----------
    points : array (l,)
        The points.
    p : array (l,)
        Mass of their blocks.
    costs : array (l, n)
        Costs to all points, in single precision.
    side : Side
        The landmarks as points whose squared distances are near their costs.
    mean : float
        Half of the mean cost.
    """

    points: np.ndarray
    p: np.ndarray
    costs: np.ndarray
    side: Side
    mean: float

    @property
    def among(self) -> np.ndarray:
        """Costs (l, l) between the landmarks."""
        return self.costs[:, self.points].astype(np.float64)


def landmarks_of(space: Space) -> Landmarks:
    """Points nearest to the means of blocks; O(n l) time and memory for l landmarks."""
    n, p = space.n, to_numpy(space.weights)
    some = np.random.default_rng(0).choice(n, min(_FIRST, n), replace=False)
    features = single_rows(space, some).T.astype(np.float64)
    features = features - p @ features
    _, axes = np.linalg.eigh((features.T * p) @ features)
    places = np.ascontiguousarray(features @ axes[:, -_RANK:])
    count = min(_LANDMARKS, n)
    order, starts, _, _ = blocks_of(places, count)
    mass = np.add.reduceat(p[order], starts[:-1])
    means = (np.add.reduceat((places.T * p).T[order], starts[:-1], axis=0).T / mass).T
    block = np.repeat(np.arange(count), np.diff(starts))
    apart = ((places[order] - means[block]) ** 2).sum(axis=1)
    by_block = np.lexsort((apart, block))
    points = order[by_block[starts[:-1]]]
    costs = single_rows(space, points)
    if is_uniform(p, p):
        mass = np.full(count, 1 / count)  # plans between them are permutations, which are found faster
    side, mean = _pictured(costs[:, points].astype(np.float64), mass)
    return Landmarks(points, mass, costs, side, mean)


def _pictured(C: np.ndarray, p: np.ndarray) -> tuple[Side, float]:
    r"""Points with :math:`C_{ij} \approx a_i + a_j - 2 \langle x_i, x_j \rangle`, and the mean of a."""
    means = C @ p
    total = float(p @ means)
    root = np.sqrt(p)
    kernel = -0.5 * (C - means - means[:, None] + total)
    sizes, axes = np.linalg.eigh(root[:, None] * (kernel + kernel.T) / 2 * root)
    kept = np.flatnonzero(sizes > _SHARE * max(sizes[-1], 1e-300))[::-1][:_RANK]
    X = np.zeros((len(p), 1)) if len(kept) == 0 else (axes[:, kept] * np.sqrt(sizes[kept])) / root[:, None]
    return Side(np.ascontiguousarray(X - p @ X), means - total, np.zeros((len(p), 0)), p), total / 2
