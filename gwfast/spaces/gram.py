"""Inner products as spaces: co-activation graphs and kernels through their factor."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from gwfast import checks
from gwfast.arrays import Array, item, namespace
from gwfast.arrays.precision import EPS, TINY
from gwfast.errors import InputError
from gwfast.spaces.space import Moments, Space, std_with_error


@dataclass(frozen=True, eq=False)
class Gram(Space):
    """Inner products C = H' H of the columns of a factor H: co-activation graphs, kernels, PSD costs.

    Parameters
    ----------
    factor : array or scipy.sparse matrix (r, n)
        H, one column a point.  A sparse factor is used without ever forming an (n, n) or (r, n) dense array.
    weights : array (n,), optional
        Mass of each point, summing to 1.

    Raises
    ------
    InputError
        `factor` is empty or no finite matrix.

    Notes
    -----
    Products with k columns in O(n r k), or O(nnz k) for a sparse factor; the cost itself is never formed for them.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> gwfast.Gram(np.array([[1.0, 2.0]])).dense()
    array([[1., 2.],
           [2., 4.]])
    """

    factor: Any
    weights: Array = None
    symmetric: bool = field(init=False, default=True, repr=False)

    def __post_init__(self) -> None:
        factor: Any
        if sp.issparse(self.factor):
            factor = sp.csc_array(self.factor, dtype=np.float64)
            if factor.nnz:
                checks.matrix(factor.data[None, :], "factor", "a matrix (r, n)", power=2)
        else:
            factor = checks.matrix(self.factor, "factor", "a matrix (r, n), one column a point", power=2)
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
    def extent(self) -> float:
        xp = namespace(self.like)
        return item(xp.max(xp.abs(self.like))) ** 2 if self.like.shape[0] else 0.0

    @cached_property
    def doubt(self) -> float:
        # |h_i . h_j| <= |h_i| |h_j|, whose L2(p x p) norm is E |h|^2
        return self._share * item(self.diagonal() @ self.weights) + (TINY if self.extent > 0 else 0.0)

    def entry_error(self, cost: Array) -> float:
        xp = namespace(cost)
        return self._share * item(xp.max(self.diagonal())) + (TINY if self.extent > 0 else 0.0)

    @property
    def _share(self) -> float:
        """Error of a cost over the product of both norms."""
        terms = int(np.diff(self.factor.indptr).max()) if self.is_sparse else self.factor.shape[0]
        return (terms + 4) * EPS

    def matches(self, other: Space, i: Array, j: Array) -> bool:
        if not isinstance(other, Gram) or self.is_sparse != other.is_sparse:
            return False
        first, second = self.factor[:, i], other.factor[:, j]
        if first.shape != second.shape:
            return False
        return (first != second).nnz == 0 if self.is_sparse else bool(namespace(first).all(first == second))

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

    def diagonal(self) -> Array:
        h = self.factor
        return np.asarray(h.multiply(h).sum(axis=0)).ravel() if self.is_sparse else namespace(h).sum(h * h, axis=0)

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
        std, std_error = std_with_error(p, variance, doubt)
        centred, centred_error = std_with_error(p, centred, doubt)
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
        std, std_error = std_with_error(p, square - mean * mean, doubt)
        centred, centred_error = std_with_error(p, square - mean * mean - 2 * cross + spread, doubt)
        error = rounding * np.sqrt(p @ (size * size))
        std_error = error + max(std_error, centred_error)
        means, stds, centreds = np.zeros(self.n), np.zeros(self.n), np.full(self.n, np.sqrt(spread))
        means[used], stds[used], centreds[used] = mean, std, centred
        return Moments(means, means, total, second, stds, centreds, error, std_error)
