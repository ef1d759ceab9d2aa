"""Compiled evaluation of a stored dual of the level-1 reformulation: one small transport problem a row."""

from __future__ import annotations

import numpy as np

from gwfast.kernels.assignment import assign
from gwfast.kernels.compiled import compiled
from gwfast.kernels.transport import transport

_EPS = float(np.finfo(np.float64).eps)


@compiled()
def _row_cost(i, k, first, second, paired, A, B, cost, room):
    """Cost of row (i, k) into cost (n, m), each entry lowered by its own rounding error where `room`."""
    n, m = cost.shape
    a, b = A[i], B[k]
    for j in range(n):
        for l in range(m):
            if paired:
                one, two = first[i, j] * second[k, l], first[j, i] * second[l, k]
                size = abs(one) + abs(two)
                product = -one - two
            else:
                product = -2.0 * first[i, j] * second[k, l]
                size = abs(product)
            c = product + a[j, l] + b[j, l]
            if room:
                c -= 4 * _EPS * (size + abs(a[j, l]) + abs(b[j, l]))
            cost[j, l] = c


@compiled()
def improve_rows(low, high, first, second, paired, A, B, p, q, uniform, V):
    """Solve the inner transport problems of rows (i, .), low <= i < high, warm from V (n, m, m), which they replace."""
    n, m = len(p), len(q)
    cost = np.empty((n, m))
    flow = np.empty((n, m))
    dist, pred, done, right = np.empty(m), np.empty(m, np.int64), np.empty(m, np.bool_), np.empty(m)
    row_of, col_of, stack = np.empty(m, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    left, reached = np.empty(n), np.empty(n, np.bool_)
    for i in range(low, high):
        for k in range(m):
            _row_cost(i, k, first, second, paired, A, B, cost, True)
            if uniform:
                assign(cost, V[i, k], row_of, col_of, dist, pred, done, stack)
            else:
                transport(cost, p, q, V[i, k], flow, left, right, dist, pred, done, reached, stack)


@compiled()
def _value(cost, p, q, v):
    """Dual value of a transport problem at the prices v (m,), rounded down."""
    n, m = cost.shape
    total, size = 0.0, 0.0
    for j in range(n):
        least = cost[j, 0] - v[0]
        for l in range(1, m):
            least = min(least, cost[j, l] - v[l])
        total += p[j] * least
        size += p[j] * abs(least)
    for l in range(m):
        total += q[l] * v[l]
        size += q[l] * abs(v[l])
    return total - 4 * (n + m + 8) * _EPS * size


@compiled()
def evaluate_rows(low, high, first, second, paired, A, B, p, q, V, values):
    """Dual values of the inner problems at the prices V (n, m, m), rounded down, into values (n, m)."""
    n, m = len(p), len(q)
    cost = np.empty((n, m))
    for i in range(low, high):
        for k in range(m):
            _row_cost(i, k, first, second, paired, A, B, cost, True)
            values[i, k] = _value(cost, p, q, V[i, k])


@compiled()
def improve_dense_rows(low, high, costs, p, q, uniform, V):
    """Like `improve_rows` for costs given as an array (n m, n m)."""
    n, m = len(p), len(q)
    flow = np.empty((n, m))
    dist, pred, done, right = np.empty(m), np.empty(m, np.int64), np.empty(m, np.bool_), np.empty(m)
    row_of, col_of, stack = np.empty(m, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    left, reached = np.empty(n), np.empty(n, np.bool_)
    for i in range(low, high):
        for k in range(m):
            cost = costs[i * m + k].reshape(n, m)
            if uniform:
                assign(cost, V[i, k], row_of, col_of, dist, pred, done, stack)
            else:
                transport(cost, p, q, V[i, k], flow, left, right, dist, pred, done, reached, stack)


@compiled()
def evaluate_dense_rows(low, high, costs, p, q, V, values):
    """Like `evaluate_rows` for costs given as an array (n m, n m)."""
    n, m = len(p), len(q)
    for i in range(low, high):
        for k in range(m):
            values[i, k] = _value(costs[i * m + k].reshape(n, m), p, q, V[i, k])
