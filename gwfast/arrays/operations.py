"""The few operations that the array API standard lacks, written for both libraries."""

from __future__ import annotations

import sys

import numpy as np
import scipy.sparse

from gwfast.arrays.namespace import Array, is_torch, namespace

_BLOCK = 1 << 18  # numbers per block of rows: 2 MiB of float64, inside a core's cache


def row_block(columns: int) -> int:
    """How many rows of `columns` numbers make one block that stays in cache."""
    return max(1, _BLOCK // max(1, columns))


def safe_sqrt(x: Array) -> Array:
    """Square root of max(x, 0) whose derivative at 0 is 0 instead of infinity."""
    if not is_torch(x):
        return np.sqrt(np.maximum(x, 0.0))
    xp = namespace(x)
    positive = x > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, x, xp.ones_like(x))), xp.zeros_like(x))


def elementary(x: Array, name: str) -> Array:
    """Apply `exp` or `log` in place where the library allows it, to spare one array of the size of `x`."""
    if is_torch(x):
        return getattr(x, name + "_")()
    return getattr(np, name)(x, out=x)


def sum_by_index(index: Array, values: Array, size: int) -> Array:
    """Sum `values` (N,) into `size` bins given by `index` (N,)."""
    if is_torch(values):
        torch = sys.modules["torch"]
        return torch.zeros(size, dtype=values.dtype, device=values.device).index_add(0, index, values)
    return np.bincount(index, weights=values, minlength=size)


def atoms_to_dense(rows: Array, cols: Array, mass: Array, shape: tuple[int, int]) -> Array:
    """Return the dense (n, m) matrix with `mass` at (`rows`, `cols`), repeated places added up."""
    n, m = shape
    return sum_by_index(rows * m + cols, mass, n * m).reshape(n, m)


def nonzero_atoms(plan: Array) -> tuple[Array, Array, Array]:
    """Return rows, columns and values of the entries of `plan` (n, m) that are not zero."""
    rows, cols = namespace(plan).nonzero(plan)
    return rows, cols, plan[rows, cols]


def sparse_times_dense(rows: Array, cols: Array, mass: Array, shape: tuple[int, int], D: Array) -> Array:
    """Product (n, k) of the sparse matrix with atoms (rows, cols, mass) and the dense `D` (m, k), in D's dtype."""
    xp = namespace(D)
    n = shape[0]
    weights = xp.astype(mass, D.dtype)
    if rows.shape[0] == n and bool(xp.all(rows == xp.arange(n, device=D.device))):
        return weights[:, None] * xp.take(D, cols, axis=0)
    if is_torch(D):
        return xp.zeros((n, D.shape[1]), dtype=D.dtype, device=D.device).index_add(
            0, rows, weights[:, None] * xp.take(D, cols, axis=0)
        )
    return scipy.sparse.csr_array((weights, (rows, cols)), shape=shape) @ D
