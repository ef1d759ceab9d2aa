"""Sorted products of all pairs of rows and their gradient, compiled."""

from __future__ import annotations

import numba
import numpy as np

from gwfast.kernels.compiled import compiled

_PARALLEL = 2_000_000  # steps from which threads pay: waking them can take milliseconds where cores are busy


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


@compiled()
def _row(i, X, P, Y, Q, out):
    for k in range(Y.shape[0]):
        out[i, k] = _half(X[i], P[i], Y[k], Q[k], 1) + _half(X[i], P[i], Y[k], Q[k], -1)


@compiled()
def _serial(X, P, Y, Q, out):
    for i in range(X.shape[0]):
        _row(i, X, P, Y, Q, out)


@compiled(parallel=True)
def _parallel(X, P, Y, Q, out):
    for i in numba.prange(X.shape[0]):
        _row(i, X, P, Y, Q, out)


def merge_products(X: np.ndarray, P: np.ndarray, Y: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Sorted products of all pairs of rows, O(N M (n + m)).

    `X` (N, n) and `Y` (M, m) have sorted rows, `P` and `Q` the weights in the same order.
    """
    out = np.empty((X.shape[0], Y.shape[0]))
    steps = X.shape[0] * Y.shape[0] * (X.shape[1] + Y.shape[1])
    run = _parallel if steps > _PARALLEL else _serial
    run(X, P, Y, Q, out)
    return out


@compiled()
def rearranged(order, wx, y, wy, rows, cols, mass, out):
    """Add to out (n, n), for every atom (i, k) of a plan, row k of y moved along the coupling that sorts row i.

    `order` (n, n) sorts the rows of the first cost; the result is the gradient of sum_ik T_ik G_ik in them.
    """
    N, M = wx.shape[1], wy.shape[1]
    for s in range(len(rows)):
        i, k, w = rows[s], cols[s], mass[s]
        a, b, left, right = 0, 0, wx[i, 0], wy[k, 0]
        while True:
            if left < right:
                out[i, order[i, a]] += w * left * y[k, b]
                right -= left
                a += 1
                if a == N:
                    break
                left = wx[i, a]
            else:
                out[i, order[i, a]] += w * right * y[k, b]
                left -= right
                b += 1
                if b == M:
                    break
                right = wy[k, b]
