"""Descent: exchanges and conditional gradient in turn, for one pair after the other, the best plan kept.

IMAGE holds alpha (S1 T S2 - K1 T K2) - L / 4, so that the gradient is -4 times it; S and K are the symmetric and skew
parts of the costs, L the linear term.
"""

from __future__ import annotations

import numpy as np

from gwfast.kernels.pairs.begin import PRODUCT_PLAN, RANDOM_VERTEX, SORTED_PLAN
from gwfast.kernels.pairs.exchange import four_cycles, swaps
from gwfast.kernels.pairs.features import feature_cost
from gwfast.kernels.pairs.flags import fast
from gwfast.kernels.pairs.layout import (
    ATOM_I,
    ATOM_J,
    COST,
    DOUBLES,
    GRADIENT,
    IMAGE,
    LINEAR,
    MATRICES,
    MATRIX,
    NONE,
    PLAN,
    POINTS,
    POTENTIAL,
    PRICES,
    REST,
    SECOND,
    SKEW,
    VECTOR,
    VERTEX,
    VERTEX_IMAGE,
    WEIGHT,
    WHOLE,
    WIDTH,
)
from gwfast.kernels.pairs.program import supplies, vertex
from gwfast.kernels.pairs.value import image, inner, plan_value

_STATIONARY, _STEP, _EXCHANGE = 1e-9, 1e-10, 1e-11  # shares of the scale that gaps, steps and exchanges must exceed
_ZERO = 1e-13  # share of the scale below which a value is 0, and no other start is tried


@fast
def descend_block(
    S,
    fused,
    first,
    second,
    slots,
    starts,
    begun,
    places,
    prices,
    programs,
    exchanges,
    doubles,
    integers,
    value,
    chosen,
    gaps,
    best,
):
    """Improve what `begin_block` wrote; a plan that is better than the one of its slot takes its place.

    Parameters
    ----------
    slots : integer array (r, 2)
        Number of the pair in `value`, `chosen` and `gaps`, the gap of the last linear program; where its plan begins
        in `best`.
    programs : int
        Linear programs at most; 0 takes starts as they are, -1 solves the linear program of the start alone and
        hands back its column dual in `prices`.
    """
    for r in range(len(first)):
        x, y, slot = first[r], second[r], slots[r, 0]
        n, m = S.size[x, POINTS], S.size[y, POINTS]
        wide_x, width = S.size[x, WIDTH], S.size[y, WIDTH]
        at_x, at_y = S.size[x, MATRIX], S.size[y, MATRIX]
        area, length = n * width, wide_x + width
        matrix = doubles[: MATRICES * area].reshape(MATRICES, n, width)
        vector = doubles[MATRICES * area : MATRICES * area + DOUBLES * length].reshape(DOUBLES, length)
        whole = integers[: WHOLE * length].reshape(WHOLE, length)
        C1 = S.matrix[COST, at_x : at_x + n * wide_x].reshape(n, wide_x)
        C2 = S.matrix[COST, at_y : at_y + m * width].reshape(m, width)
        kx, ky = S.size[x, SKEW], S.size[y, SKEW]
        rows1, rows2 = n if kx >= 0 else 0, m if ky >= 0 else 0
        D1 = S.skew[COST, max(kx, 0) : max(kx, 0) + rows1 * wide_x].reshape(rows1, wide_x)
        D2 = S.skew[COST, max(ky, 0) : max(ky, 0) + rows2 * width].reshape(rows2, width)
        both = kx >= 0 and ky >= 0  # beside a symmetric cost no plan sees the skew part of the other
        K1, K2 = D1[: rows1 if both else 0], D2[: rows2 if both else 0]
        vx, vy = S.size[x, VECTOR], S.size[y, VECTOR]
        p, q = S.vector[WEIGHT, vx : vx + n], S.vector[WEIGHT, vy : vy + m]
        alpha = 1.0 if fused.metric == NONE else fused.alpha
        size = S.number[x, SECOND] + S.number[y, SECOND]
        scale = alpha * size
        if fused.metric != NONE:
            scale += feature_cost(S, fused, x, y, matrix[LINEAR])
        if programs >= 0 and value[slot] <= _ZERO * scale:
            continue
        T, V, img, v_img, G = matrix[PLAN], matrix[VERTEX], matrix[IMAGE], matrix[VERTEX_IMAGE], matrix[GRADIENT]
        unit = supplies(S, x, y, n, m, whole)
        permutations = unit > 0.0 and n == m
        kind = int(starts[r, 0])
        given = kind in (SORTED_PLAN, PRODUCT_PLAN, RANDOM_VERTEX)
        out = begun[places[r] : places[r] + area].reshape(n, width)
        for i in range(n):
            for j in range(width):
                if given:
                    V[i, j] = out[i, j]
                else:
                    G[i, j] = out[i, j]
        for j in range(m):
            vector[PRICES, j] = prices[r, j]
        fresh, warm, better, done, inside, last = True, False, True, 0, 0.0, np.nan
        while True:
            if not fresh:
                moved = 0
                if exchanges > 0:
                    if permutations:
                        moved = swaps(C1, C2, K1, K2, alpha, n, matrix, vector, whole, _EXCHANGE * scale, exchanges)
                    else:
                        moved = four_cycles(C1, C2, K1, K2, alpha, n, m, matrix, whole, _EXCHANGE * scale, exchanges)
                if done > 0 and moved == 0:
                    break
                inside = inner(T, img)
            better = False
            while fresh or done < programs:
                if not fresh:
                    done += 1
                    for i in range(n):
                        g, row = G[i], img[i]
                        for j in range(width):
                            g[j] = -4.0 * row[j]
                if not (fresh and given):
                    vertex(G, n, m, p, q, permutations, unit, warm, scale, matrix, vector, whole)
                    warm = True
                if programs < 0:
                    break
                gap = 0.0
                if not fresh:
                    gap = -4.0 * inside - inner(G, V)
                    last = gap
                    if gap <= _STATIONARY * scale:
                        break
                image(C1, C2, K1, K2, alpha, n, m, V, v_img, matrix)
                step = 1.0
                if not fresh:
                    end, cross = inner(V, v_img), inner(V, img) + inner(T, v_img)
                    bend = -2.0 * (end - cross + inside)
                    if bend > 0.0:
                        step = min(1.0, gap / (2.0 * bend))
                    if step * (gap - step * bend) <= _STEP * scale:
                        break
                better = True
                for i in range(n):
                    for j in range(width):
                        if step == 1.0:
                            T[i, j], img[i, j] = V[i, j], v_img[i, j]
                        else:
                            T[i, j] += step * (V[i, j] - T[i, j])
                            img[i, j] += step * (v_img[i, j] - img[i, j])
                if fresh:
                    break
                inside = inner(T, img)
            if programs <= 0 or (not fresh and (done >= programs or not better)):
                break
            fresh = False
        if programs < 0:
            for j in range(m):
                prices[r, j] = vector[PRICES, j] if permutations else vector[POTENTIAL, n + j]
            continue
        found = plan_value(
            C1, C2, D1, D2, alpha, size, n, m, T, img, matrix[LINEAR], whole[ATOM_I], whole[ATOM_J], vector[REST]
        )
        if found < value[slot]:
            value[slot], chosen[slot], gaps[slot] = found, int(starts[r, 7]), last
            at = slots[r, 1]
            for i in range(n):
                for j in range(m):
                    best[at] = T[i, j]
                    at += 1
