"""The compiled merge behind `sorted_row_products`; imported only when it is needed."""

from __future__ import annotations

import numba
import numpy as np

from gwfast._array.compiled import compiled


@compiled()
def _half(x, p, y, q, step):
    """Sum of x y over the half of the mass at one end; `step` is 1 from the left end, -1 from the right."""
    a = 0 if step == 1 else len(x) - 1
    b = 0 if step == 1 else len(y) - 1
    left_a, left_b, rest, total = p[a], q[b], 0.5, 0.0
    while True:
        width = min(left_a, left_b, rest)
        total += width * x[a] * y[b]
        rest -= width
        if rest <= 0.0:
            return total
        left_a -= width
        left_b -= width
        if left_a <= 0.0:
            a += step
            if a < 0 or a == len(x):
                return total
            left_a = p[a]
        if left_b <= 0.0:
            b += step
            if b < 0 or b == len(y):
                return total
            left_b = q[b]


@compiled(parallel=True)
def merge_products(X: np.ndarray, P: np.ndarray, Y: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Sorted products of all pairs of rows, O(N M (n + m)).

    `X` (N, n) and `Y` (M, m) have sorted rows, `P` and `Q` the weights in the same order.
    """
    out = np.empty((X.shape[0], Y.shape[0]))
    for i in numba.prange(X.shape[0]):
        for k in range(Y.shape[0]):
            out[i, k] = _half(X[i], P[i], Y[k], Q[k], 1) + _half(X[i], P[i], Y[k], Q[k], -1)
    return out
