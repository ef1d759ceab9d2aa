"""The annealed entropic run of one pair in single precision: a fixed number of steps, nothing allocated."""

from __future__ import annotations

import numpy as np

from gwfast.kernels.pairs.flags import fast
from gwfast.kernels.pairs.layout import (
    COLUMN_SCALE,
    COLUMN_SUM,
    COLUMN_WEIGHT,
    COST32,
    KERNEL,
    POWER,
    PRICES32,
    PRODUCT,
    ROW_SCALE,
    ROW_WEIGHT,
)
from gwfast.kernels.pairs.tile import product

_LOG2E, _TINY = np.float32(1.4426950408889634), np.float32(1e-34)
_FLOOR, _NOTHING = np.float32(-84.0), np.float32(1e-30)  # as in kernels.sinkhorn
_CLOSED = np.float32(-1e30)  # potential of the padded columns


@fast
def _exponentials(x, power):
    """Replace numbers <= 0 by mantissas of their exponentials; `power` holds 2^k as the bits of a float."""
    for j in range(len(x)):
        y = max(x[j] * _LOG2E, _FLOOR)
        k = np.int32(y - np.float32(0.5))
        f = y - np.float32(k)
        z = np.float32(0.00133336) * f + np.float32(0.00961813)
        z = z * f + np.float32(0.0555041)
        z = z * f + np.float32(0.2402265)
        z = z * f + np.float32(0.6931472)
        x[j] = z * f + np.float32(1.0)
        power[j] = (k + np.int32(127)) << np.int32(23)


@fast
def _scalings(single, narrow, m, epsilon, count):
    """Sinkhorn scalings from the column potential; the kernel becomes the plan, with exact rows."""
    K, cost, power = single[KERNEL], single[COST32], single[POWER]
    a, b, g = narrow[ROW_SCALE], narrow[COLUMN_SCALE], narrow[PRICES32]
    p, q, columns = narrow[ROW_WEIGHT], narrow[COLUMN_WEIGHT], narrow[COLUMN_SUM]
    n, width = K.shape
    inverse = np.float32(1.0) / epsilon
    for j in range(width):
        columns[j] = 0
        a[j] = g[j] * inverse
    for i in range(n):
        row, c = K[i], cost[i]
        top = np.float32(-1e30)
        for j in range(width):
            x = a[j] - c[j] * inverse
            row[j] = x
            top = max(top, x)
        for j in range(width):
            row[j] -= top
    _exponentials(K.reshape(-1), power.reshape(-1).view(np.int32))
    for i in range(n):
        row, s = K[i], power[i]
        total = np.float32(0.0)
        for j in range(width):
            row[j] *= s[j]
            total += row[j]
        share = p[i] / total
        for j in range(width):
            row[j] *= share
            columns[j] += row[j]
    for _ in range(count):
        for j in range(width):
            b[j] = q[j] / max(columns[j], _TINY)
            columns[j] = 0
        for i in range(n):
            row = K[i]
            s = np.float32(0.0)
            for j in range(width):
                s += row[j] * b[j]
            x = p[i] / max(s, _TINY)
            a[i] = x
            for j in range(width):
                columns[j] += x * row[j]
    for j in range(m):
        g[j] += epsilon * np.log(max(b[j], _TINY))
    for i in range(n):
        x, row = a[i], K[i]
        for j in range(width):
            y = row[j] * x * b[j]
            row[j] = y if y > _NOTHING else np.float32(0.0)


@fast
def anneal(C1, C2, K1, K2, alpha, L, single, narrow, m, hot, cold, steps, scalings):
    """Mirror descent with a falling temperature; COST32 holds the first gradient, on return the last.

    `C1` is -4 times the symmetric part of the first cost, `K1` 4 times its skew part, so that products are
    gradients; `K1` is empty for symmetric pairs.
    """
    n, width = single.shape[1], single.shape[2]
    g = narrow[PRICES32]
    for j in range(width):
        g[j] = 0 if j < m else _CLOSED
    ratio = (cold / hot) ** (1.0 / max(1, steps - 1))
    epsilon = hot
    for _ in range(steps):
        _scalings(single, narrow, m, np.float32(epsilon), scalings)
        product(single[KERNEL], C2, single[PRODUCT], m)
        product(C1, single[PRODUCT], single[COST32], n)
        if len(K1) > 0:
            product(single[KERNEL], K2, single[PRODUCT], m)
            product(K1, single[PRODUCT], single[POWER], n)
            for i in range(n):
                for j in range(width):
                    single[COST32, i, j] += single[POWER, i, j]
        if alpha != 1.0:
            for i in range(n):
                for j in range(width):
                    single[COST32, i, j] = np.float32(alpha * single[COST32, i, j] + L[i, j])
        epsilon *= ratio
