"""Where the descent of a pair begins: a linear cost whose best vertex is taken, or a plan.

The generator begins anew for every start of every pair, so that a table and a search for neighbours agree to the last
bit, whatever else is solved.
"""

from __future__ import annotations

import numpy as np

from gwfast.kernels.pairs.anneal import anneal
from gwfast.kernels.pairs.features import feature_cost
from gwfast.kernels.pairs.flags import fast, strict
from gwfast.kernels.pairs.layout import (
    COLUMN_WEIGHT,
    COLUMNS,
    COST32,
    FEATURE,
    FLOW,
    GRADIENT,
    IMAGE,
    LINEAR,
    MATRICES,
    MATRIX,
    NONE,
    ORDER,
    POINTS,
    PRICES32,
    ROW_WEIGHT,
    ROW_WEIGHTS,
    SECOND,
    SINGLE_MATRICES,
    SINGLES,
    SKEW,
    TOTAL,
    VECTOR,
    WEIGHT,
    WIDTH,
)
from gwfast.kernels.pairs.rows import add_effects, row_costs

# kinds of starts; a start is a row (kind, hot, cold, steps, scalings, noise, share of the row costs, number)
ANNEALED, ROW_COSTS, CENTRED_ROWS, SORTED_PLAN, PRODUCT_PLAN, RANDOM_VERTEX = range(6)
FIELDS = 8
_SEED, _STRIDE = 88172645463325252, 2654435761
_EXPONENT, _LARGE = 0x7FF << 52, (1023 + 100) << 52  # of float64: its bits, and those of 2^100
_LONGER = 40.0  # points of a pair above which anneals take more steps, at most three times as many


@fast
def _random(state):
    """Uniform in [0, 1), by xorshift."""
    x = state[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    state[0] = x
    return np.float64(x >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@strict
def _sound(cost, prices):
    """Whether all numbers are finite and of a size that linear programs take; seen in their bits, as NaN has no order.

    The compiler may take a comparison of what fast kernels computed for one without NaN.
    """
    good = True
    for row in cost.view(np.int64):
        for bits in row:
            good &= (bits & _EXPONENT) < _LARGE
    for bits in prices.view(np.int64):
        good &= (bits & _EXPONENT) < _LARGE
    return good


@fast
def _monotone(T, n, m, f, g, p, q, wp, wq):
    """Write the monotone plan of the orders f, g: merged by integer weights, masses from the others."""
    for i in range(n):
        row = T[i]
        for j in range(T.shape[1]):
            row[j] = 0.0
    i, j = 0, 0
    a, b = wp[f[0]], wq[g[0]]
    left, right = p[f[0]], q[g[0]]
    while i < n and j < m:
        if a < b:
            T[f[i], g[j]] += left
            right = max(right - left, 0.0)
            b -= a
            a = 0
        elif b < a:
            T[f[i], g[j]] += right
            left = max(left - right, 0.0)
            a -= b
            b = 0
        else:
            T[f[i], g[j]] += right if i == n - 1 else left
            a, b = 0, 0
        if a == 0:
            i += 1
            if i < n:
                a, left = wp[f[i]], p[f[i]]
        if b == 0:
            j += 1
            if j < m:
                b, right = wq[g[j]], q[g[j]]


@fast
def begin_block(S, fused, first, second, starts, doubles, singles, integers, state, begun, places, prices):
    """Write, for every pair and its start, the cost or plan it begins from into `begun` at `places`.

    `starts` has one row a pair; `prices` (r, width) receives where linear programs should look.
    """
    for r in range(len(first)):
        x, y = first[r], second[r]
        n, m = S.size[x, POINTS], S.size[y, POINTS]
        wide_x, width = S.size[x, WIDTH], S.size[y, WIDTH]
        vx, vy = S.size[x, VECTOR], S.size[y, VECTOR]
        area, length = n * width, wide_x + width
        matrix = doubles[: MATRICES * area].reshape(MATRICES, n, width)
        single = singles[: SINGLE_MATRICES * area].reshape(SINGLE_MATRICES, n, width)
        narrow = singles[SINGLE_MATRICES * area : SINGLE_MATRICES * area + SINGLES * length].reshape(SINGLES, length)
        out = begun[places[r] : places[r] + area].reshape(n, width)
        p, q = S.vector[WEIGHT, vx : vx + n], S.vector[WEIGHT, vy : vy + m]
        kind, rows = int(starts[r, 0]), starts[r, 6]
        alpha = 1.0 if fused.metric == NONE else fused.alpha
        L = matrix[LINEAR]
        loss = alpha * (S.number[x, SECOND] + S.number[y, SECOND] - 2.0 * S.number[x, TOTAL] * S.number[y, TOTAL])
        if fused.metric != NONE:
            loss += 0.25 * feature_cost(S, fused, x, y, L)
        state[0] = np.uint64(_SEED) ^ (np.uint64(_STRIDE) * np.uint64(starts[r, 7] + 1.0))
        for j in range(m):
            prices[r, j] = 0.0
        if kind in (ROW_COSTS, CENTRED_ROWS) or (kind == ANNEALED and rows > 0.0):
            G = matrix[GRADIENT]
            centred = kind == CENTRED_ROWS
            both = S.size[x, SKEW] >= 0 or S.size[y, SKEW] >= 0
            for side in range(2 if both else 1):
                H = matrix[IMAGE] if side else G
                row_costs(S, x, y, centred, side == 1, matrix, H)
            chosen = int(starts[r, 1]) if kind != ANNEALED else 0  # 0 mean of rows and columns, 1 rows, 2 columns
            for i in range(n):
                for j in range(width):
                    if both and chosen == 0:
                        G[i, j] = 0.5 * (G[i, j] + matrix[IMAGE, i, j])
                    elif both and chosen == 2:
                        G[i, j] = matrix[IMAGE, i, j]
            if centred:
                add_effects(S, x, y, G)
            # the gradient of an anneal is twice the row costs, and the linear term once
            share = 0.5 if kind == ANNEALED else 1.0
            for i in range(n):
                for j in range(width):
                    out[i, j] = alpha * G[i, j] + share * L[i, j] if alpha != 1.0 else G[i, j]
            if kind != ANNEALED:
                for j in range(m):
                    low = out[0, j]
                    for i in range(1, n):
                        low = min(low, out[i, j])
                    prices[r, j] = low
        if kind == ANNEALED:
            at_x, at_y = S.size[x, MATRIX], S.size[y, MATRIX]
            A1 = S.single[1, at_x : at_x + n * wide_x].reshape(n, wide_x)
            A2 = S.single[0, at_y : at_y + m * width].reshape(m, width)
            kx, ky = max(S.size[x, SKEW], 0), max(S.size[y, SKEW], 0)
            both = S.size[x, SKEW] >= 0 and S.size[y, SKEW] >= 0
            rows1, rows2 = n if both else 0, m if both else 0
            B1 = S.skew_single[1, kx : kx + rows1 * wide_x].reshape(rows1, wide_x)
            B2 = S.skew_single[0, ky : ky + rows2 * width].reshape(rows2, width)
            cost, noise = single[COST32], starts[r, 5] * loss
            flat = not loss > 1e-13 * (loss + 2.0 * alpha * abs(S.number[x, TOTAL] * S.number[y, TOTAL]))
            for i in range(n):
                narrow[ROW_WEIGHT, i] = p[i]
                f = -2.0 * alpha * S.vector[FEATURE, vx + i]
                g = -2.0 * alpha * S.vector[FEATURE + COLUMNS, vx + i]
                for j in range(m):
                    z = f * S.vector[FEATURE, vy + j] + g * S.vector[FEATURE + COLUMNS, vy + j]
                    if alpha != 1.0:
                        z += L[i, j]
                    if rows > 0.0:
                        z = (1.0 - rows) * z + 2.0 * rows * out[i, j]
                    if noise > 0.0:
                        z += noise * (_random(state) - 0.5)
                    cost[i, j] = z
                for j in range(m, width):
                    cost[i, j] = 0.0
            for j in range(width):
                narrow[COLUMN_WEIGHT, j] = q[j] if j < m else 0.0
            hot, cold = starts[r, 1] * loss, starts[r, 2] * loss
            steps = int(starts[r, 3] * min(3.0, max(1.0, (n + m) / _LONGER)))
            if not flat:  # else nothing tells one plan from another
                anneal(A1, A2, B1, B2, alpha, L, single, narrow, m, hot, cold, steps, int(starts[r, 4]))
            for i in range(n):
                for j in range(width):
                    out[i, j] = cost[i, j]
            for j in range(m):
                prices[r, j] = narrow[PRICES32, j]
            if not _sound(out, prices[r, :m]):  # single precision does not hold these costs together
                for i in range(n):
                    for j in range(width):
                        out[i, j] = L[i, j] if alpha != 1.0 else 0.0
                for j in range(m):
                    prices[r, j] = 0.0
        elif kind == PRODUCT_PLAN:
            for i in range(n):
                for j in range(width):
                    out[i, j] = p[i] * q[j] if j < m else 0.0
        elif kind in (SORTED_PLAN, RANDOM_VERTEX):
            same = S.size[x, ROW_WEIGHTS] < 0 and S.size[y, ROW_WEIGHTS] < 0
            orders = integers[: 4 * length].reshape(4, length)
            for side in range(2):
                count, other, v = (m, n, vy) if side else (n, m, vx)
                order = orders[side]
                for i in range(count):
                    orders[2 + side, i] = other if same else S.integer[FLOW, v + i]
                    order[i] = i if kind == RANDOM_VERTEX else S.integer[ORDER + int(starts[r, 1]), v + i]
                if kind == RANDOM_VERTEX:
                    for i in range(count - 1, 0, -1):
                        k = int(_random(state) * (i + 1))
                        order[i], order[k] = order[k], order[i]
            _monotone(out, n, m, orders[0], orders[1], p, q, orders[2], orders[3])
