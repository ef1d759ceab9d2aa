"""Proved lower bounds of many pairs: those without a linear program, and the values of its duals.

The margins are those of `gwfast.bounds`.  Merges of unequal masses lose a few units of rounding of mass, which may lie
where two costs differ most: `_strays` bounds what that is worth.
"""

from __future__ import annotations

import numpy as np

from gwfast.kernels.pairs.features import cheapest_partner, feature_cost
from gwfast.kernels.pairs.flags import fast
from gwfast.kernels.pairs.layout import (
    CENTRED_STD,
    COLUMNS,
    ERROR,
    EXTENT,
    LAW,
    LAW_LENGTH,
    LIFT,
    MEAN,
    NONE,
    NORM,
    POINTS,
    ROW_WEIGHTS,
    SECOND,
    SKEW,
    SKEW_PART,
    SORTED,
    SORTED_WEIGHT,
    SPECTRUM,
    STD,
    SYMMETRIC_PART,
    TOTAL,
    VECTOR,
    WEIGHT,
    WIDTH,
)
from gwfast.kernels.pairs.simplex import row_least

_EPS = float(np.finfo(np.float64).eps)
CHEAP = (
    "first-lower-bound",
    "mean-std",
    "anova-first",
    "anova-std",
    "second-lower-bound",
    "eigenvalues",
    "projected-eigenvalues",
)
_FIRST, _MEAN_STD, _ANOVA_FIRST, _ANOVA_STD, _ENTRIES, _EIGENVALUES, _PROJECTED = range(7)


@fast
def _merged_w2(f, g, p, q, n, m, shift):
    """W_2^2 between values f - shift with masses p and values g with masses q, both sorted."""
    i, j, a, b, total = 0, 0, p[0], q[0], 0.0
    while True:
        d = f[i] - g[j] - shift
        if a < b:
            total += a * d * d
            b -= a
            i += 1
            if i == n:
                return total
            a = p[i]
        else:
            total += b * d * d
            a -= b
            j += 1
            if j == m:
                return total
            b = q[j]


@fast
def _lowered(square, unit, error):
    """Square of a distance known up to `error` and a relative `unit`, rounded down."""
    return max(np.sqrt(max(square, 0.0)) * (1.0 - unit) - error, 0.0) ** 2


@fast
def _spectral(x, y, n, m):
    """Least sum of squares over pairings of like signs, padded with zeros; x and y ascend."""
    total = 0.0
    i, j = 0, 0
    while (i < n and x[i] < 0.0) or (j < m and y[j] < 0.0):
        a = x[i] if i < n and x[i] < 0.0 else 0.0
        b = y[j] if j < m and y[j] < 0.0 else 0.0
        total += (a - b) * (a - b)
        i += 1
        j += 1
    i, j = n - 1, m - 1
    while (i >= 0 and x[i] > 0.0) or (j >= 0 and y[j] > 0.0):
        a = x[i] if i >= 0 and x[i] > 0.0 else 0.0
        b = y[j] if j >= 0 and y[j] > 0.0 else 0.0
        total += (a - b) * (a - b)
        i -= 1
        j -= 1
    return total


@fast
def _feature_w2(S, x, y, number, shift):
    n, m = S.size[x, POINTS], S.size[y, POINTS]
    vx, vy = S.size[x, VECTOR], S.size[y, VECTOR]
    f, g = S.vector[SORTED + number, vx : vx + n], S.vector[SORTED + number, vy : vy + m]
    p, q = S.vector[SORTED_WEIGHT + number, vx : vx + n], S.vector[SORTED_WEIGHT + number, vy : vy + m]
    return _merged_w2(f, g, p, q, n, m, shift)


@fast
def _strays(S, x, y):
    """What masses lost to rounding are worth at most; 0 where merges are exact."""
    n, m = S.size[x, POINTS], S.size[y, POINTS]
    if n == m and S.size[x, ROW_WEIGHTS] < 0 and S.size[y, ROW_WEIGHTS] < 0:
        return 0.0
    reach = 4.0 * (S.number[x, EXTENT] + S.number[y, EXTENT])
    return 4.0 * (n + m + 8) * _EPS * reach * reach


@fast
def cheap_block(S, fused, first, second, doubles, out):
    """Write the seven bounds that need no linear program into `out` (r, 7), in the order of `CHEAP`."""
    for r in range(len(first)):
        x, y = first[r], second[r]
        n, m, width = S.size[x, POINTS], S.size[y, POINTS], S.size[y, WIDTH]
        vx, vy = S.size[x, VECTOR], S.size[y, VECTOR]
        size = S.number[x, SECOND] + S.number[y, SECOND]
        error = S.number[x, ERROR] + S.number[y, ERROR]
        unit = 8.0 * (n + m + 32) * _EPS
        allowance, strays = unit * size, _strays(S, x, y)
        symmetric = S.size[x, SKEW] < 0 and S.size[y, SKEW] < 0
        shift = S.number[x, TOTAL] - S.number[y, TOTAL]
        constant = max(abs(shift) * (1.0 - unit) - error, 0.0) ** 2
        effects = constant
        for side in range(2):
            effect = _feature_w2(S, x, y, MEAN + COLUMNS * side, shift) - strays
            effects += _lowered(effect, unit, 2.0 * error)
        low = out[r]
        for k in range(7):
            low[k] = 0.0
        for side in range(1 if symmetric else 2):
            f = COLUMNS * side
            row = _lowered(_feature_w2(S, x, y, MEAN + f, 0.0) - strays, unit, error)
            std = _lowered(_feature_w2(S, x, y, STD + f, 0.0) - strays, unit, error)
            rest = _lowered(_feature_w2(S, x, y, CENTRED_STD + f, 0.0) - strays, unit, error)
            low[_FIRST] = max(low[_FIRST], row)
            low[_MEAN_STD] = max(low[_MEAN_STD], row + std)
            low[_ANOVA_STD] = max(low[_ANOVA_STD], effects + rest)
        low[_ANOVA_FIRST] = effects
        e, g, k, l = S.size[x, LAW], S.size[y, LAW], S.size[x, LAW_LENGTH], S.size[y, LAW_LENGTH]
        law = _merged_w2(S.law[0, e : e + k], S.law[0, g : g + l], S.law[1, e : e + k], S.law[1, g : g + l], k, l, 0.0)
        reach = S.number[x, EXTENT] + S.number[y, EXTENT]
        low[_ENTRIES] = law - 8.0 * (n * n + m * m) * _EPS * size - 4.0 * (k + l + 8) * _EPS * reach * reach
        error = S.number[x, NORM] + S.number[y, NORM]
        for centred in range(2):
            f = SPECTRUM + LIFT + centred
            whole = _lowered(_spectral(S.vector[f, vx : vx + n], S.vector[f, vy : vy + m], n, m), 0.0, error)
            if not symmetric:
                parts = 0.0
                for part in (SYMMETRIC_PART, SKEW_PART):
                    f = SPECTRUM + part + centred
                    found = _spectral(S.vector[f, vx : vx + n], S.vector[f, vy : vy + m], n, m)
                    parts += _lowered(found, 0.0, error)
                whole = max(whole, parts)
            low[_EIGENVALUES + centred] = whole + (effects if centred else 0.0) - 3.0 * allowance
        linear, lost, alpha = 0.0, 0.0, 1.0
        if fused.metric != NONE:
            alpha = fused.alpha
            L = doubles[: n * width].reshape(n, width)
            top = feature_cost(S, fused, x, y, L)
            linear = cheapest_partner(S, x, y, L)
            lost = (4.0 * (n + m) + S.features.shape[1] + 16) * _EPS * top
        for k in range(7):
            low[k] = alpha * max(low[k] - allowance, 0.0) + linear - lost


@fast
def dual_block(S, fused, first, second, centred, begun, places, prices, out):
    """Write what the column duals in `prices` prove of the linear programs in `begun` into `out` (r,).

    Row duals are taken from the costs again, so that the pair is feasible whatever the solver did.
    """
    for r in range(len(first)):
        x, y = first[r], second[r]
        n, m, width = S.size[x, POINTS], S.size[y, POINTS], S.size[y, WIDTH]
        vx, vy = S.size[x, VECTOR], S.size[y, VECTOR]
        G = begun[places[r] : places[r] + n * width].reshape(n, width)
        v = prices[r]
        total, spread, top = 0.0, 0.0, 0.0
        for i in range(n):
            u, p = row_least(G[i], v, m), S.vector[WEIGHT, vx + i]
            total += p * u
            spread += p * abs(u)
            for j in range(m):
                top = max(top, abs(G[i, j]))
        for j in range(m):
            q = S.vector[WEIGHT, vy + j]
            total += q * v[j]
            spread += q * abs(v[j])
        size = S.number[x, SECOND] + S.number[y, SECOND]
        alpha, lost = 1.0, 0.0
        if fused.metric != NONE:
            alpha, lost = fused.alpha, (S.features.shape[1] + 16) * _EPS * top
        allowance = 8.0 * (n + m + 32) * _EPS * size
        low = total - (8.0 * (n + m) + 32) * _EPS * (spread + top) - lost
        if centred:
            error = S.number[x, ERROR] + S.number[y, ERROR]
            shift = abs(S.number[x, TOTAL] - S.number[y, TOTAL])
            low += alpha * max(shift * (1.0 - 8.0 * (n + m + 32) * _EPS) - error, 0.0) ** 2
        out[r] = low - 4.0 * alpha * (allowance + _strays(S, x, y))
