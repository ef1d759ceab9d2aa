"""Costs of matching row with row by sorting, the inner problem of the third lower bound."""

from __future__ import annotations

from gwfast.kernels.pairs.flags import fast
from gwfast.kernels.pairs.layout import (
    CENTRED,
    CENTRED_STD,
    CENTRED_T,
    COLUMNS,
    FEATURE,
    HALF,
    MATRIX,
    MEAN,
    POINTS,
    RMS,
    ROW_WEIGHTS,
    ROWS,
    ROWS_T,
    SKEW,
    TOTAL,
    VECTOR,
    WEIGHT,
    WIDTH,
)
from gwfast.kernels.pairs.tile import product


@fast
def _merged_product(x, y, p, q, n, m):
    """Integral of the product of two quantile functions, values x, y with masses p, q, all sorted."""
    i, j, a, b, total = 0, 0, p[0], q[0], 0.0
    while True:
        if a < b:
            total += a * x[i] * y[j]
            b -= a
            i += 1
            if i == n:
                return total
            a = p[i]
        else:
            total += b * x[i] * y[j]
            a -= b
            j += 1
            if j == m:
                return total
            b = q[j]


@fast
def _refined(row, out, n, m):
    """Write the row (n,) averaged on m equal bins of its quantiles, over m: exact counts, no rounding of masses."""
    for j in range(len(out)):
        out[j] = 0.0
    share = 1.0 / (n * m)
    i, j, left, right = 0, 0, m, n
    while True:
        step = min(left, right)
        out[j] += share * step * row[i]
        left -= step
        right -= step
        if left == 0:
            i += 1
            left = m
            if i == n:
                return
        if right == 0:
            j += 1
            right = n


@fast
def row_costs(S, x, y, centred, columns, matrix, G):
    """Write W_2^2 between every row of x and every row of y into G (n, width).

    `centred`: of the doubly centred costs, without their constant; `columns`: columns in the place of rows.  Uniform
    weights: one matrix product of quantile functions; others: one merge for each pair of rows.
    """
    n, m = S.size[x, POINTS], S.size[y, POINTS]
    wide_x, width = S.size[x, WIDTH], S.size[y, WIDTH]
    at_x, at_y = S.size[x, MATRIX], S.size[y, MATRIX]
    vx, vy = S.size[x, VECTOR], S.size[y, VECTOR]
    plain, turned = (CENTRED, CENTRED_T) if centred else (ROWS, ROWS_T)
    first, second = S.matrix, S.matrix
    if columns and S.size[x, SKEW] >= 0:
        at_x, first = S.size[x, SKEW], S.skew
    if columns and S.size[y, SKEW] >= 0:
        at_y, second = S.size[y, SKEW], S.skew
    X = first[plain, at_x : at_x + n * wide_x].reshape(n, wide_x)
    if S.size[x, ROW_WEIGHTS] < 0 and S.size[y, ROW_WEIGHTS] < 0:
        YT = second[turned, at_y : at_y + m * width].reshape(m, width)
        U = matrix[HALF]
        for i in range(n):
            if n == m:
                for j in range(width):
                    U[i, j] = X[i, j] / n
            else:
                _refined(X[i], U[i], n, m)
        product(U, YT, G, m)
    else:
        Y = second[plain, at_y : at_y + m * width].reshape(m, width)
        side_x, side_y = 1 if centred else 0, 1 if centred else 0
        if columns and S.size[x, SKEW] >= 0:
            side_x += 2
        if columns and S.size[y, SKEW] >= 0:
            side_y += 2
        px, py = S.size[x, ROW_WEIGHTS], S.size[y, ROW_WEIGHTS]
        equal_p, equal_q = S.vector[WEIGHT, vx : vx + n], S.vector[WEIGHT, vy : vy + m]
        for i in range(n):
            p = equal_p if px < 0 else S.row_weights[side_x, px + i * wide_x : px + i * wide_x + n]
            for k in range(m):
                q = equal_q if py < 0 else S.row_weights[side_y, py + k * width : py + k * width + m]
                G[i, k] = _merged_product(X[i], Y[k], p, q, n, m)
    f = FEATURE + (COLUMNS if columns else 0) + (CENTRED_STD if centred else RMS)
    for i in range(n):
        a = S.vector[f, vx + i] ** 2
        for k in range(m):
            G[i, k] = a + S.vector[f, vy + k] ** 2 - 2.0 * G[i, k]
        for k in range(m, width):
            G[i, k] = 0.0


@fast
def add_effects(S, x, y, G):
    """Add the linear terms of the ANOVA identity to G: squared differences of the main effects."""
    n, m = S.size[x, POINTS], S.size[y, POINTS]
    vx, vy = S.size[x, VECTOR], S.size[y, VECTOR]
    shift = S.number[x, TOTAL] - S.number[y, TOTAL]
    for side in range(2):
        f = FEATURE + MEAN + COLUMNS * side
        for i in range(n):
            for k in range(m):
                d = S.vector[f, vx + i] - S.vector[f, vy + k] - shift
                G[i, k] += d * d
