"""Point clouds as spaces: distances that are never stored as a matrix."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

from gwfast import checks
from gwfast.arrays import Array, asks_for_gradient, from_numpy, item, namespace, row_block, safe_sqrt, to_numpy
from gwfast.arrays.precision import EPS, TINY
from gwfast.kernels.rows.distances import distance_times, distance_variances
from gwfast.policy import POLICY
from gwfast.spaces.space import Moments, Space, std_with_error


@dataclass(frozen=True, eq=False)
class PointCloud(Space):
    """Points of R^d with their Euclidean or squared Euclidean distance, never stored as a matrix.

    Parameters
    ----------
    points : array (n, d)
        Coordinates.
    metric : {"euclidean", "sqeuclidean"}
        The distance or its square.
    weights : array (n,), optional
        Mass of each point, summing to 1.

    Raises
    ------
    InputError
        `points` is no finite matrix, or the metric is another one.

    Notes
    -----
    Squared distances: products with k columns in O(n k d), row statistics in O(n d^2), O(n d) memory.  Distances:
    O(n^2) time for both, in blocks of rows.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> space = gwfast.PointCloud(np.array([[0.0, 0.0], [3.0, 4.0]]), metric="sqeuclidean")
    >>> space.n, float(space.dense()[0, 1])
    (2, 25.0)
    """

    points: Array
    metric: str = "euclidean"
    weights: Array = None
    symmetric: bool = field(init=False, default=True, repr=False)
    labels: tuple[Any, ...] | None = field(init=False, default=None, repr=False)  # pyright: ignore

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", checks.names(self.points))
        checks.choice(self.metric, ("euclidean", "sqeuclidean"), "metric")
        power = 2 if self.metric == "sqeuclidean" else 1
        points = checks.matrix(self.points, "points", "coordinates of shape (n, d)", power=power)
        object.__setattr__(self, "points", points)

    @property
    def n(self) -> int:
        return self.points.shape[0]

    @property
    def like(self) -> Array:
        return self.points

    @property
    def extent(self) -> float:
        xp = namespace(self.points)
        return item(xp.max(xp.abs(self.points))) ** (2 if self.metric == "sqeuclidean" else 1)

    @cached_property
    def doubt(self) -> float:
        # each coordinate's difference and its square are right to a few units, their sum has no signs
        share = (self.points.shape[1] + 4) * EPS
        return share * item(self.moments.second) ** 0.5 + (TINY if self.extent > 0 else 0.0)

    def entry_error(self, cost: Array) -> float:
        xp = namespace(cost)
        largest = item(xp.max(cost))
        return (self.points.shape[1] + 4) * EPS * largest + (TINY if self.extent > 0 else 0.0)

    def matches(self, other: Space, i: Array, j: Array) -> bool:
        xp = namespace(self.points)
        if not isinstance(other, PointCloud) or other.metric != self.metric:
            return False
        first, second = xp.take(self.points, i, axis=0), xp.take(other.points, j, axis=0)
        return first.shape == second.shape and bool(xp.all(first == second))

    @property
    def factored(self) -> bool:
        return self.metric == "sqeuclidean" and 4 * self.points.shape[1] < self.n

    def _distances(self, x: Array, y: Array) -> Array:
        # one coordinate at a time: no cancellation, and no (n, n, d) array
        square = (x[:, None, 0] - y[None, :, 0]) ** 2
        for k in range(1, x.shape[1]):
            square = square + (x[:, None, k] - y[None, :, k]) ** 2
        return square if self.metric == "sqeuclidean" else safe_sqrt(square)

    def rows(self, start: int, stop: int) -> Array:
        return self._distances(self.points[start:stop], self.points)

    def gather(self, i: Array, j: Array) -> Array:
        xp = namespace(self.points)
        return self._distances(xp.take(self.points, i, axis=0), xp.take(self.points, j, axis=0))

    def diagonal(self) -> Array:
        return namespace(self.points).zeros_like(self.points[:, 0])

    def restricted(self, index: Array) -> Self:
        xp = namespace(self.points)
        weights = None if self.weights is None else xp.take(self.weights, index, axis=0)
        return self._with(points=xp.take(self.points, index, axis=0), weights=weights, labels=None)

    def scaled(self, root: float) -> Self:
        return self._with(points=self.points * (root if self.metric == "sqeuclidean" else root**2))

    @cached_property
    def _centred(self) -> tuple[Array, Array, Array]:
        """Centred points, their squared norms, and a bound on what is left of their mean."""
        p = 1.0 / self.n if self.weights is None else self.weights[:, None]
        xp = namespace(self.points)
        x = self.points - xp.sum(p * self.points, axis=0)
        left = 4 * (self.n + 4) * EPS * xp.sqrt(xp.max(xp.sum(x * x, axis=1)))
        x = x - xp.sum(p * x, axis=0)  # twice: the rounding of the first mean is of the size of the points
        return x, xp.sum(x * x, axis=1), left

    def times(self, x: Array) -> Array:
        """C @ x in O(n k d) for the squared distance, O(n^2 k) for the distance."""
        xp = namespace(x)
        if self.metric == "euclidean":
            if self.n >= POLICY.point_atoms and not asks_for_gradient(self.points) and not asks_for_gradient(x):
                return from_numpy(distance_times(to_numpy(self.points), to_numpy(x)), x)
            step = row_block(self.n)
            return xp.concat([self.rows(i, min(self.n, i + step)) @ x for i in range(0, self.n, step)])
        points, norms, _ = self._centred
        return norms[:, None] * xp.sum(x, axis=0) + norms @ x - 2 * (points @ (xp.matrix_transpose(points) @ x))

    @cached_property
    def moments(self) -> Moments:
        """Row statistics, O(n d^2) for the squared distance, O(n^2 d) otherwise."""
        if self.metric == "euclidean":
            if self.n >= POLICY.point_atoms and not asks_for_gradient(self.points):
                return self._distance_moments()
            return Space.moments.func(self)  # pyright: ignore
        xp, p = namespace(self.points), self.weights
        x, norms, left = self._centred
        xt = xp.matrix_transpose(x)
        spread = p @ norms
        covariance = (xt * p) @ x
        skew = xt @ (p * (norms - spread))
        quadratic = xp.sum((x @ covariance) * x, axis=1)
        fourth = p @ ((norms - spread) ** 2)
        mean, total = norms + spread, 2 * spread
        variance = fourth + 4 * quadratic - 4 * (x @ skew)
        second = p @ (variance + mean * mean)
        rounding = 8 * (self.n + x.shape[1] + 16) * EPS
        doubt = rounding * (fourth + 8 * norms * spread + 4 * xp.sqrt(norms * spread) * xp.sqrt(fourth + spread**2))
        std, std_error = std_with_error(p, variance, doubt)
        centred, centred_error = std_with_error(p, 4 * quadratic, doubt)
        # the formulas take the mean of the points for 0; it is at most `left`
        error = rounding * xp.sqrt(second) + 8 * left * (xp.sqrt(spread) + left)
        std_error = xp.maximum(std_error, centred_error)
        return Moments(mean, mean, total, second, std, centred, error, error + std_error)

    def _distance_moments(self) -> Moments:
        """Row statistics of many points' distances by compiled passes, on all processors."""
        X, p = to_numpy(self.points), to_numpy(self.weights)
        mean = distance_times(X, p[:, None])[:, 0]
        total = p @ mean
        plain, centred = distance_variances(X, p, mean, mean - total)
        second = p @ (plain + mean * mean)
        error = 8 * (self.n + X.shape[1] + 16) * EPS * second**0.5
        found = mean, mean, total, second, plain**0.5, centred**0.5, error, error
        return Moments(*(from_numpy(np.asarray(a), self.points) for a in found))
