"""The annealed entropic run for dense host costs, compiled in single precision: no overhead between the steps."""

from __future__ import annotations

import numpy as np

from gwfast.kernels.compiled import compiled

_LOG2E = np.float32(1.4426950408889634)
_TINY, _HUGE = np.float32(1e-34), np.float32(1e8)
# numbers below 1e-38 cost some processors a hundred times as much: kernels stop at 2^-84 of the largest entry of the
# row, which scalings of at most _HUGE leave without effect, and plans drop what is below _NOTHING
_FLOOR, _NOTHING = np.float32(-84.0), np.float32(1e-30)


@compiled(fastmath=True, error_model="numpy")
def _exp_row(row, scale, power):
    """Replace a row of numbers <= 0 by their exponentials, and return the sum; relative error below 1e-6.

    exp(x) = 2^k 2^f with a polynomial for 2^f and the exponent bits set directly, which vectorises.
    """
    bits = power.view(np.int32)
    for j in range(len(row)):
        x = max(row[j] * _LOG2E, _FLOOR)
        k = np.int32(x - np.float32(0.5))
        f = x - np.float32(k)
        y = np.float32(0.00133336) * f + np.float32(0.00961813)
        y = y * f + np.float32(0.0555041)
        y = y * f + np.float32(0.2402265)
        y = y * f + np.float32(0.6931472)
        row[j] = y * f + np.float32(1.0)
        bits[j] = (k + np.int32(127)) << np.int32(23)
    total = np.float32(0.0)
    for j in range(len(row)):
        row[j] *= power[j] * scale
        total += row[j]
    return total


@compiled(fastmath=True, error_model="numpy")
def _kernel(cost, g, epsilon, p, K, f, power):
    """Softmin kernel with row sums p, and the potential f that goes with it."""
    inverse = np.float32(1.0) / epsilon
    for i in range(cost.shape[0]):
        row = K[i]
        top = np.float32(-np.inf)
        for j in range(cost.shape[1]):
            row[j] = (g[j] - cost[i, j]) * inverse
            top = max(top, row[j])
        for j in range(cost.shape[1]):
            row[j] -= top
        share = p[i] / _exp_row(row, np.float32(1.0), power)
        for j in range(cost.shape[1]):
            row[j] *= share
        f[i] = epsilon * (np.log(share) - top)


@compiled(error_model="numpy")
def _scale(cost, p, q, g, epsilon, tol, most, K, f, power):
    """Sinkhorn scalings from the potential g; K becomes the plan, f and g its potentials."""
    n, m = cost.shape
    done, error = 0, np.float32(np.inf)
    while True:
        _kernel(cost, g, epsilon, p, K, f, power)
        a, b = np.ones(n, np.float32), np.ones(m, np.float32)
        columns = np.dot(a, K)
        lost = False
        while done < most:
            for j in range(m):
                b[j] = q[j] / max(columns[j], _TINY)
            image = np.dot(K, b)
            for i in range(n):
                a[i] = p[i] / image[i]
            columns = np.dot(a, K)
            done += 1
            if done % 5 == 0 or done == most:
                error = np.float32(0.0)
                for j in range(m):
                    error += abs(b[j] * columns[j] - q[j])
                lost = not (b.max() < _HUGE and a.max() < _HUGE)
                if error <= tol or lost:
                    break
        for j in range(m):
            g[j] += epsilon * np.log(max(b[j], _TINY))
        if lost and done < most:
            continue
        for i in range(n):
            f[i] += epsilon * np.log(a[i])
            for j in range(m):
                x = K[i, j] * a[i] * b[j]
                K[i, j] = x if x > _NOTHING else np.float32(0.0)
        return error


@compiled(error_model="numpy")
def _next_cost(C1, C2, C1t, C2t, symmetric, K, linear, alpha, cost):
    """Gradient at the plan K into `cost`; returns <K, C1 K C2'>."""
    n, m = cost.shape
    factor = np.float32(-2.0) * alpha
    image = np.dot(C1, np.dot(K, C2t))
    back = image if symmetric else np.dot(C1t, np.dot(K, C2))
    inner = 0.0
    for i in range(n):
        row = np.float32(0.0)
        for k in range(m):
            row += K[i, k] * image[i, k]
            cost[i, k] = factor * (image[i, k] + back[i, k]) + linear[i, k]
        inner += row
    return inner


@compiled(error_model="numpy")
def anneal_dense(C1, C2, symmetric, p, q, linear, alpha, cost, temperatures, tol, most, K, f, g, begun):
    """Mirror descent with falling temperatures; all arrays float32.

    `C1` (n, n), `C2` (m, m); `linear` is (1 - alpha) M; `cost` (n, m) the first gradient, overwritten.  The plan `K`
    (n, m) and its potentials `f` (n,), `g` (m,) are written; a run that was `begun` goes on from them.
    """
    power = np.empty(cost.shape[1], np.float32)
    C1t, C2t = np.ascontiguousarray(C1.T), np.ascontiguousarray(C2.T)
    for step in range(len(temperatures)):
        if begun or step:
            _next_cost(C1, C2, C1t, C2t, symmetric, K, linear, alpha, cost)
        _scale(cost, p, q, g, temperatures[step], tol, most, K, f, power)


@compiled(error_model="numpy")
def entropic_dense(C1, C2, symmetric, p, q, linear, alpha, cost, falling, epsilon, size, tol, most, scalings):
    """Mirror descent at one temperature until objective and marginals settle; float32 arrays as in `anneal_dense`.

    One step at each of the `falling` temperatures comes first.  Returns the plan, its column
    potential, the number of steps, and whether the tolerances were met.
    """
    n, m = cost.shape
    K, power = np.empty((n, m), np.float32), np.empty(m, np.float32)
    f, g = np.zeros(n, np.float32), np.zeros(m, np.float32)
    C1t, C2t = np.ascontiguousarray(C1.T), np.ascontiguousarray(C2.T)
    for step in range(len(falling)):
        _scale(cost, p, q, g, falling[step], np.float32(1e-3), 20, K, f, power)
        _next_cost(C1, C2, C1t, C2t, symmetric, K, linear, alpha, cost)
    value, inner = np.inf, 1e-2
    for step in range(most):
        error = _scale(cost, p, q, g, epsilon, np.float32(max(inner, tol / 2)), scalings, K, f, power)
        product = _next_cost(C1, C2, C1t, C2t, symmetric, K, linear, alpha, cost)
        old, value = value, alpha * (size - 2.0 * product)
        for i in range(n):
            row = np.float32(0.0)
            for k in range(m):
                row += K[i, k] * linear[i, k]
            value += row
        change = abs(old - value) / max(abs(value), 1e-12 * size)
        inner = min(inner, 0.1 * change)
        if change <= tol and error <= tol:
            return K, g, step + 1, True
    return K, g, most, False
