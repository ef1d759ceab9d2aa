"""Exchanges of two atoms of a plan, best first, until none lowers the objective.

IMAGE holds alpha (S1 T S2 - K1 T K2) - L / 4, so that the gradient is -4 times it; S and K are the symmetric and skew
parts of the costs, L the linear term.
"""

from __future__ import annotations

from gwfast.kernels.pairs.flags import fast
from gwfast.kernels.pairs.layout import (
    ATOM_I,
    ATOM_J,
    COL_OF,
    GAIN,
    HALF,
    IMAGE,
    PLAN,
    V1,
    V2,
    V3,
    V4,
    V5,
    VERTEX,
    VERTEX_IMAGE,
)

_FAR = 1e300


@fast
def _scan(p, t, c1, c2, d1, d2, diagonal, pa, d1a, d2a, w, alpha, n, gain):
    """Change of the objective by swapping the targets of a and b, for every b; returns the least."""
    low = _FAR
    for b in range(n):
        x = d1a - 2.0 * c1[b] + d1[b]
        y = d2a - 2.0 * c2[b] + d2[b]
        g = w * (-4.0 * (p[b] + t[b] - pa - diagonal[b]) - 2.0 * w * alpha * x * y)
        gain[b] = g
        low = min(low, g)
    return low


@fast
def _rank_one(P, left, right, n):
    for i in range(n):
        x, row = left[i], P[i]
        for j in range(n):
            row[j] += x * right[j]


@fast
def swaps(C1, C2, K1, K2, alpha, n, matrix, vector, whole, tol, most):
    """Swap targets of the permutation in PLAN, the best partner for each point in turn; returns how many.

    The image is kept with its columns in the order of the targets, and transposed, so that every loop runs over a row.
    """
    T, image, P, Q, D = matrix[PLAN], matrix[IMAGE], matrix[VERTEX], matrix[HALF], matrix[VERTEX_IMAGE]
    target, gain = whole[COL_OF], vector[GAIN]
    d1, d2, diagonal, left, right = vector[V1], vector[V2], vector[V3], vector[V4], vector[V5]
    skew = len(K1) > 0
    w = 0.0
    for i in range(n):
        target[i] = -1
        for k in range(n):
            if T[i, k] > 0.0:
                if target[i] >= 0:
                    return 0
                target[i] = k
                w = T[i, k]
    for i in range(n):
        d1[i] = C1[i, i]
        ti = target[i]
        d2[i] = C2[ti, ti]
        for k in range(n):
            P[i, k] = image[i, target[k]]
            Q[k, i] = P[i, k]
            D[i, k] = C2[ti, target[k]]
        diagonal[i] = P[i, i]
    count, since, a = 0, 0, 0
    while since < n and count < most:
        low = _scan(P[a], Q[a], C1[a], D[a], d1, d2, diagonal, diagonal[a], d1[a], d2[a], w, alpha, n, gain)
        if low >= -tol:
            since += 1
            a = a + 1 if a + 1 < n else 0
            continue
        b = 0
        while b < n - 1 and gain[b] != low:
            b += 1
        scale = w * alpha
        for j in range(n):
            left[j] = scale * (C1[a, j] - C1[b, j])
            right[j] = D[b, j] - D[a, j]
        _rank_one(P, left, right, n)
        _rank_one(Q, right, left, n)
        if skew:  # -K1 T K2: the columns of K1 are minus its rows
            ta, tb = target[a], target[b]
            for j in range(n):
                left[j] = scale * (K1[a, j] - K1[b, j])
                right[j] = K2[tb, target[j]] - K2[ta, target[j]]
            _rank_one(P, left, right, n)
            _rank_one(Q, right, left, n)
        for j in range(n):
            P[j, a], P[j, b] = P[j, b], P[j, a]
            D[a, j], D[b, j] = D[b, j], D[a, j]
            Q[a, j], Q[b, j] = Q[b, j], Q[a, j]
        for j in range(n):
            D[j, a], D[j, b] = D[j, b], D[j, a]
            diagonal[j] = P[j, j]
        d2[a], d2[b] = d2[b], d2[a]
        target[a], target[b] = target[b], target[a]
        count += 1
        since = 0
        a = a + 1 if a + 1 < n else 0
    if count > 0:
        for i in range(n):
            for j in range(T.shape[1]):
                T[i, j] = 0.0
            T[i, target[i]] = w
            for k in range(n):
                image[i, target[k]] = P[i, k]
    return count


@fast
def _atoms(T, n, m, i_of, j_of):
    """List the atoms of a plan; returns how many, -1 where they are too many."""
    count = 0
    for i in range(n):
        for k in range(m):
            if T[i, k] > 0.0:
                if count == len(i_of):
                    return -1
                i_of[count], j_of[count] = i, k
                count += 1
    return count


@fast
def four_cycles(C1, C2, K1, K2, alpha, n, m, matrix, whole, tol, most):
    """Move mass around the best four-cycle of each atom of PLAN in turn; returns how many moves were made."""
    T, image = matrix[PLAN], matrix[IMAGE]
    i_of, j_of = whole[ATOM_I], whole[ATOM_J]
    count = _atoms(T, n, m, i_of, j_of)
    moves, since, s = 0, 0, 0
    while since < count and moves < most:
        i, k = i_of[s], j_of[s]
        w = T[i, k]
        best, chosen = -tol, -1
        base = image[i, k]
        for t in range(count):
            j, l = i_of[t], j_of[t]
            d = min(w, T[j, l])
            slope = image[i, l] + image[j, k] - base - image[j, l]
            x = C1[i, i] - 2.0 * C1[i, j] + C1[j, j]
            y = C2[k, k] - 2.0 * C2[k, l] + C2[l, l]
            change = d * (-4.0 * slope - 2.0 * d * alpha * x * y)
            if change < best and i != j and k != l:
                best, chosen = change, t
        if chosen < 0:
            since += 1
            s = s + 1 if s + 1 < count else 0
            continue
        j, l = i_of[chosen], j_of[chosen]
        d = min(w, T[j, l])
        for a in range(n):
            left = alpha * d * (C1[a, i] - C1[a, j])
            for b in range(m):
                image[a, b] += left * (C2[l, b] - C2[k, b])
            if len(K1) > 0:
                left = alpha * d * (K1[a, i] - K1[a, j])
                for b in range(m):
                    image[a, b] -= left * (K2[l, b] - K2[k, b])
        rest, other = w - d, T[j, l] - d
        T[i, k] = max(rest, 0.0)
        T[j, l] = max(other, 0.0)
        T[i, l] += d
        T[j, k] += d
        moves += 1
        since = 0
        count = _atoms(T, n, m, i_of, j_of)
        s = s + 1 if s + 1 < count else 0
    return moves
