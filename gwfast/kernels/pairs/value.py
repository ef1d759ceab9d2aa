"""The image of a plan, and its objective."""

from __future__ import annotations

from gwfast.kernels.pairs.flags import fast
from gwfast.kernels.pairs.layout import GRADIENT, HALF, LINEAR
from gwfast.kernels.pairs.tile import product


@fast
def inner(X, Y):
    """Sum of the products of the entries."""
    total = 0.0
    for i in range(X.shape[0]):
        x, y = X[i], Y[i]
        for j in range(X.shape[1]):
            total += x[j] * y[j]
    return total


@fast
def image(C1, C2, K1, K2, alpha, n, m, X, out, matrix):
    """Write alpha (S1 X S2 - K1 X K2) - L / 4 into `out`, for a plan with few entries."""
    U = matrix[HALF]
    width = U.shape[1]
    for turn in range(2 if len(K1) > 0 else 1):
        right = K2 if turn else C2
        for i in range(n):
            u, x = U[i], X[i]
            for j in range(width):
                u[j] = 0.0
            for k in range(m):
                w = x[k]
                if w != 0.0:
                    c = right[k]
                    for j in range(width):
                        u[j] += w * c[j]
        if turn == 0:
            product(C1, U, out, n)
            if alpha != 1.0:
                for i in range(n):
                    for j in range(width):
                        out[i, j] = alpha * out[i, j] - 0.25 * matrix[LINEAR, i, j]
        else:
            other = matrix[GRADIENT]
            product(K1, U, other, n)
            for i in range(n):
                for j in range(width):
                    out[i, j] -= alpha * other[i, j]


@fast
def plan_value(C1, C2, K1, K2, alpha, size, n, m, T, image, L, i_of, j_of, mass):
    """Objective of a plan as a sum of squares over its pairs of atoms, which cannot cancel.

    Plans of more atoms than a vertex has are valued by their image, with `size` the mean square of both costs.
    """
    count = 0
    linear = 0.0
    for i in range(n):
        for k in range(m):
            if T[i, k] > 0.0:
                if count < len(i_of):
                    i_of[count], j_of[count], mass[count] = i, k, T[i, k]
                count += 1
                if alpha != 1.0:
                    linear += T[i, k] * L[i, k]
    total = 0.0
    if count > len(i_of):
        return max(alpha * size - 2.0 * inner(T, image) + 0.5 * linear, min(linear, 0.0))
    first, second = len(K1) > 0, len(K2) > 0
    for s in range(count):
        i, k = i_of[s], j_of[s]
        c1, c2 = C1[i], C2[k]
        part = 0.0
        for t in range(count):
            d = c1[i_of[t]] - c2[j_of[t]]
            if first:
                d += K1[i, i_of[t]]
            if second:
                d -= K2[k, j_of[t]]
            part += mass[t] * d * d
        total += mass[s] * part
    return linear + alpha * total
