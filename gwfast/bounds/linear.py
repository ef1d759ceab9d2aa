"""Minimum of a linear cost over couplings with a proved value, on the fast path for permutations."""

from __future__ import annotations

import numpy as np

from gwfast.arrays.precision import EPS
from gwfast.kernels.assignment import assign
from gwfast.transport import LinearSolution, is_uniform, solve_linear


def minimum(M: np.ndarray, p: np.ndarray, q: np.ndarray, prices: np.ndarray | None = None) -> LinearSolution:
    """Minimise <M, T> over couplings T of p (n,) and q (m,); `lower` is proved from the duals.

    Uniform weights and n = m: an assignment, warm from `prices` (m,), about O(n^2.5).  Otherwise `solve_linear`.
    """
    if not is_uniform(p, q):
        return solve_linear(M, p, q)
    n = len(p)
    v = np.zeros(n) if prices is None else prices.copy()
    row_of, col_of, pred, stack = (np.empty(n, dtype=np.int64) for _ in range(4))
    # the shift makes the rounding of the reduced costs relative to their spread
    low = float(M.min())
    cost = np.ascontiguousarray(M - low)
    assign(cost, v, row_of, col_of, np.empty(n), pred, np.empty(n, dtype=np.bool_), stack)
    u = (cost - v).min(axis=1)
    value = float(p @ u + q @ v)
    margin = (8 * n + 16) * EPS * (float(p @ np.abs(u) + q @ np.abs(v)) + float(np.abs(M).max()))
    return LinearSolution(np.arange(n), col_of, p, low + value - margin, (low + u, v))
