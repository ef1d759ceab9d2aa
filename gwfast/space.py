"""Spaces: a cost between points, weights on them, and what each kind can answer without an n x n matrix."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from gwfast import _check
from gwfast._array import Array, detach, is_array, namespace, row_block, safe_sqrt, to_numpy
from gwfast.errors import InputError

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Moments:
    """Row statistics of a cost C under its weights p; everything the sorting bounds need.

    Attributes
    ----------
    mean, comean : arrays (n,)
        C p and C' p: mean cost of each row and of each column.
    total, second : scalars
        p' C p and p' (C * C) p.
    std : array (n,)
        Standard deviation of each row.
    centred_std : array (n,)
        Standard deviation of each row of the doubly centred cost C - a 1' - 1 a'' - total.
    error : scalar
        Proved bound on the rounding error of total, mean and comean (the latter two in L2(p)).
    std_error : scalar
        The same for std and centred_std.
    """

    mean: Array
    comean: Array
    total: Array
    second: Array
    std: Array
    centred_std: Array
    error: Array
    std_error: Array

    @property
    def rms(self) -> Array:
        """Root mean square (n,) of each row, the eccentricity of order 2."""
        return safe_sqrt(self.mean * self.mean + self.std * self.std)


class Space:
    """Points with weights and a square cost between them; the base of every kind of space."""

    weights: Array
    symmetric: bool

    @property
    def factored(self) -> bool:
        """Whether `times` costs much less than a product with the dense cost."""
        return False

    @property
    def n(self) -> int:
        """Number of points."""
        raise TypeError("Space is the base class: use Dense, PointCloud, Gram or Graph")

    @property
    def like(self) -> Array:
        """An array of the library and device of the space."""
        raise TypeError("Space is the base class: use Dense, PointCloud, Gram or Graph")

    def rows(self, start: int, stop: int) -> Array:
        """Rows `start` to `stop` of the cost, (stop - start, n)."""
        raise TypeError("Space is the base class: use Dense, PointCloud, Gram or Graph")

    def gather(self, i: Array, j: Array) -> Array:
        """The costs C[i][:, j], (len(i), len(j))."""
        raise TypeError("Space is the base class: use Dense, PointCloud, Gram or Graph")

    def restricted(self, index: Array) -> Self:
        """The space on the points `index` only."""
        raise TypeError("Space is the base class: use Dense, PointCloud, Gram or Graph")

    def dense(self) -> Array:
        """The whole cost (n, n)."""
        return self.rows(0, self.n)

    def times(self, x: Array) -> Array:
        """C @ x for x (n, k)."""
        return self.dense() @ x

    @property
    def T(self) -> Space:
        """The space with the transposed cost."""
        return self

    def weighted(self, weights: Array) -> Self:
        """The same space with the weights (n,)."""
        return self._with(weights=weights)

    def scaled(self, root: float) -> Self:
        """The same points with all costs multiplied by the square of `root`."""
        raise TypeError("Space is the base class: use Dense, PointCloud, Gram or Graph")

    def arrays(self) -> list[Array]:
        """The arrays that define the space."""
        return [v for f in fields(self) if is_array(v := getattr(self, f.name))]  # pyright: ignore

    def detached(self) -> Self:
        """The same space cut from torch's gradient tape."""
        return self._with(
            **{
                f.name: detach(v)
                for f in fields(self)  # pyright: ignore[reportArgumentType]
                if is_array(v := getattr(self, f.name))
            }
        )

    def hosted(self) -> Self:
        """The same space in host memory, as numpy arrays."""
        return self._with(
            **{
                f.name: to_numpy(v)
                for f in fields(self)  # pyright: ignore[reportArgumentType]
                if is_array(v := getattr(self, f.name))
            }
        )

    def _with(self, **changes: Any) -> Self:
        # dataclasses.replace would run the checks of __post_init__ over the whole matrix again
        new = object.__new__(type(self))
        for f in fields(self):  # pyright: ignore[reportArgumentType]
            object.__setattr__(new, f.name, changes.get(f.name, getattr(self, f.name)))
        return new

    @cached_property
    def moments(self) -> Moments:
        """Row statistics by two passes over blocks of rows, O(n^2) time, O(n) memory."""
        xp, p, n = namespace(self.like), self.weights, self.n
        blocks = [(i, min(n, i + row_block(n))) for i in range(0, n, row_block(n))]
        mean = xp.concat([self.rows(*b) @ p for b in blocks])
        comean = mean if self.symmetric else sum(p[i:j] @ self.rows(i, j) for i, j in blocks)
        total = p @ mean
        effect = comean - total
        variance, centred = [], []
        for i, j in blocks:
            deviation = self.rows(i, j) - mean[i:j, None]
            variance.append((deviation * deviation) @ p)
            deviation = deviation - effect
            centred.append((deviation * deviation) @ p)
        variance, centred = xp.concat(variance), xp.concat(centred)
        second = p @ (variance + mean * mean)
        error = 8 * (n + 16) * EPS * xp.sqrt(second)
        return Moments(mean, comean, total, second, safe_sqrt(variance), safe_sqrt(centred), error, error)


def _std_with_error(p: Array, square: Array, doubt: Array) -> tuple[Array, Array]:
    """Root of `square` known to +-`doubt` (both (n,)), and the L2(p) norm of its error."""
    xp = namespace(p)
    root = safe_sqrt(square)
    positive = xp.where(root > 0, root, xp.ones_like(root))
    worst = xp.where(root > 0, xp.minimum(xp.sqrt(doubt), doubt / positive), xp.sqrt(doubt))
    return root, xp.sqrt(p @ (worst * worst))


@dataclass(frozen=True, eq=False)
class Dense(Space):
    """A space given by its cost matrix.

    Parameters
    ----------
    cost : array (n, n)
        Cost between points, symmetric or not, of any sign and unit.
    weights : array (n,), optional
        Mass of each point, summing to 1.
    """

    cost: Array
    weights: Array = None
    name: str = field(default="C", repr=False)
    symmetric: bool = field(init=False, default=True, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cost", _check.cost_matrix(self.cost, self.name))
        object.__setattr__(self, "symmetric", _is_symmetric(self.cost))

    @property
    def n(self) -> int:
        return self.cost.shape[0]

    @property
    def like(self) -> Array:
        return self.cost

    def rows(self, start: int, stop: int) -> Array:
        return self.cost[start:stop]

    def gather(self, i: Array, j: Array) -> Array:
        xp = namespace(self.cost)
        return xp.take(xp.take(self.cost, i, axis=0), j, axis=1)

    def dense(self) -> Array:
        return self.cost

    def restricted(self, index: Array) -> Self:
        weights = None if self.weights is None else namespace(self.cost).take(self.weights, index, axis=0)
        return self._with(cost=self.gather(index, index), weights=weights)

    def scaled(self, root: float) -> Self:
        return self._with(cost=self.cost * root**2)

    @property
    def T(self) -> Space:
        return self if self.symmetric else self._with(cost=namespace(self.cost).matrix_transpose(self.cost))


def _is_symmetric(C: Array, tile: int = 256) -> bool:
    # tiles keep both the block and its mirror image in cache
    xp, n = namespace(C), C.shape[0]
    for i in range(0, n, tile):
        for j in range(0, i + tile, tile):
            mirror = xp.matrix_transpose(C[j : j + tile, i : i + tile])
            if not bool(xp.all(C[i : i + tile, j : j + tile] == mirror)):
                return False
    return True


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
    """

    points: Array
    metric: str = "euclidean"
    weights: Array = None
    symmetric: bool = field(init=False, default=True, repr=False)

    def __post_init__(self) -> None:
        points = _check.matrix(self.points, "points", "coordinates of shape (n, d)")
        _check.choice(self.metric, ("euclidean", "sqeuclidean"), "metric")
        object.__setattr__(self, "points", points)

    @property
    def n(self) -> int:
        return self.points.shape[0]

    @property
    def like(self) -> Array:
        return self.points

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

    def restricted(self, index: Array) -> Self:
        xp = namespace(self.points)
        weights = None if self.weights is None else xp.take(self.weights, index, axis=0)
        return self._with(points=xp.take(self.points, index, axis=0), weights=weights)

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
        if self.metric == "euclidean":
            return self.dense() @ x
        xp = namespace(x)
        points, norms, _ = self._centred
        return norms[:, None] * xp.sum(x, axis=0) + norms @ x - 2 * (points @ (xp.matrix_transpose(points) @ x))

    @cached_property
    def moments(self) -> Moments:
        """Row statistics, O(n d^2) for the squared distance, O(n^2 d) otherwise."""
        if self.metric == "euclidean":
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
        doubt = rounding * (fourth + 8 * norms * spread + 4 * xp.sqrt(norms * spread * (fourth + spread**2)))
        std, std_error = _std_with_error(p, variance, doubt)
        centred, centred_error = _std_with_error(p, 4 * quadratic, doubt)
        # the formulas take the mean of the points for 0; it is at most `left`
        error = rounding * xp.sqrt(second) + 8 * left * (xp.sqrt(spread) + left)
        std_error = xp.maximum(std_error, centred_error)
        return Moments(mean, mean, total, second, std, centred, error, error + std_error)


@dataclass(frozen=True, eq=False)
class Gram(Space):
    """Inner products C = H' H of the columns of a factor H: co-activation graphs, kernels, PSD costs.

    Parameters
    ----------
    factor : array or scipy.sparse matrix (r, n)
        H, one column a point.  A sparse factor is used without ever forming an (n, n) or (r, n) dense array.
    weights : array (n,), optional
        Mass of each point, summing to 1.
    """

    factor: Any
    weights: Array = None
    symmetric: bool = field(init=False, default=True, repr=False)

    def __post_init__(self) -> None:
        factor: Any
        if sp.issparse(self.factor):
            factor = sp.csc_array(self.factor, dtype=np.float64)
            if factor.nnz:
                _check.matrix(factor.data[None, :], "factor", "a matrix (r, n)")
        else:
            factor = _check.matrix(self.factor, "factor", "a matrix (r, n), one column a point")
        if 0 in tuple(factor.shape):
            raise InputError(f"factor: expected a matrix (r, n) that is not empty, found {factor.shape}")
        object.__setattr__(self, "factor", factor)

    @property
    def is_sparse(self) -> bool:
        """Whether the factor is a scipy sparse matrix."""
        return sp.issparse(self.factor)

    @property
    def n(self) -> int:
        return self.factor.shape[1]

    @property
    def like(self) -> Array:
        return self.factor.data if self.is_sparse else self.factor

    @property
    def factored(self) -> bool:
        return self.is_sparse or 4 * self.factor.shape[0] < self.n

    def _product(self, left: Any, right: Any) -> Array:
        product = left.T @ right
        return product.toarray() if self.is_sparse else product

    def rows(self, start: int, stop: int) -> Array:
        return self._product(self.factor[:, start:stop], self.factor)

    def gather(self, i: Array, j: Array) -> Array:
        return self._product(self.factor[:, i], self.factor[:, j])

    def restricted(self, index: Array) -> Self:
        weights = None if self.weights is None else self.weights[index]
        return self._with(factor=self.factor[:, index], weights=weights)

    def scaled(self, root: float) -> Self:
        return self._with(factor=self.factor * root)

    def times(self, x: Array) -> Array:
        """C @ x in O(n r k)."""
        return self.factor.T @ (self.factor @ x)

    @cached_property
    def moments(self) -> Moments:
        """Row statistics, O(n r^2) for a dense factor, O(sum of squared row counts) for a sparse one."""
        return self._sparse_moments() if self.is_sparse else self._dense_moments()

    def _dense_moments(self) -> Moments:
        xp, p, h = namespace(self.factor), self.weights, self.factor
        ht = xp.matrix_transpose(h)
        centre = h @ p
        tilde = h - centre[:, None]
        covariance = (tilde * p) @ xp.matrix_transpose(tilde)
        mean = ht @ centre
        total = p @ mean
        variance = xp.sum((covariance @ h) * h, axis=0)
        centred = xp.sum((covariance @ tilde) * tilde, axis=0)
        norms = xp.sum(h * h, axis=0)
        spread = p @ norms
        second = p @ (variance + mean * mean)
        rounding = 8 * (self.n + 2 * h.shape[0] + 16) * EPS
        doubt = rounding * (norms * spread + spread * spread)
        std, std_error = _std_with_error(p, variance, doubt)
        centred, centred_error = _std_with_error(p, centred, doubt)
        error = rounding * spread  # |h_i . h_j| <= |h_i| |h_j|, whose L2(p x p) norm is the spread
        return Moments(mean, mean, total, second, std, centred, error, error + xp.maximum(std_error, centred_error))

    def _sparse_moments(self) -> Moments:
        # points without any entry all have the same statistics: compute on the others only
        used = np.flatnonzero(np.diff(self.factor.indptr))
        p, h = self.weights[used], self.factor[:, used]
        cost = h.T @ h
        mean = cost @ p
        total = p @ mean
        effect = mean - total
        square = cost.multiply(cost) @ p
        unused = max(0.0, 1.0 - p.sum())
        spread = p @ (effect * effect) + unused * total * total
        cross = cost @ (p * effect)
        second = p @ square
        longest = int(np.bincount(h.indices, minlength=1).max()) if h.nnz else 1
        rounding = 8 * (longest + h.shape[0] + 16) * EPS
        size = abs(h).T @ (abs(h) @ p)  # row sums of |H|'|H| >= |C|
        doubt = rounding * (square + size * size + 2 * (abs(cost) @ (p * abs(effect))) + spread)
        std, std_error = _std_with_error(p, square - mean * mean, doubt)
        centred, centred_error = _std_with_error(p, square - mean * mean - 2 * cross + spread, doubt)
        error = rounding * np.sqrt(p @ (size * size))
        std_error = error + max(std_error, centred_error)
        means, stds, centreds = np.zeros(self.n), np.zeros(self.n), np.full(self.n, np.sqrt(spread))
        means[used], stds[used], centreds[used] = mean, std, centred
        return Moments(means, means, total, second, stds, centreds, error, std_error)
