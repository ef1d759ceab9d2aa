"""Compiled iterated local search over permutations: exchanges of two targets, kicks, best kept."""

from __future__ import annotations

from gwfast.kernels.compiled import compiled


@compiled()
def _change(A, B, M, t, a, b):
    """Change of sum (A_ij - B_titj)^2 + sum M_iti when the targets of a and b are exchanged; O(n)."""
    x, y = t[a], t[b]
    d = (A[a, a] - A[b, b]) * (B[x, x] - B[y, y]) + (A[a, b] - A[b, a]) * (B[x, y] - B[y, x])
    for j in range(len(t)):
        if j != a and j != b:
            z = t[j]
            d += (A[a, j] - A[b, j]) * (B[x, z] - B[y, z]) + (A[j, a] - A[j, b]) * (B[z, x] - B[z, y])
    return 2 * d + M[a, y] + M[b, x] - M[a, x] - M[b, y]


@compiled()
def _descend(A, B, M, t, least):
    """Exchange while one lowers the objective by more than `least`; returns the total change."""
    n, total, improved = len(t), 0.0, True
    while improved:
        improved = False
        for a in range(n):
            for b in range(a):
                d = _change(A, B, M, t, a, b)
                if d < -least:
                    t[a], t[b] = t[b], t[a]
                    total += d
                    improved = True
    return total


@compiled()
def iterated(A, B, M, target, kicks, least):
    """Improve `target` (n,) in place: descend, then for every row of kicks (k, 2 s) exchange s pairs and descend again.

    A kick that ends higher than the best is undone.  O(n^3) a kick in practice.
    """
    _descend(A, B, M, target, least)
    best, level = target.copy(), 0.0
    for k in range(len(kicks)):
        current = best.copy()
        change = 0.0
        for s in range(kicks.shape[1] // 2):
            a, b = kicks[k, 2 * s], kicks[k, 2 * s + 1]
            if a != b:
                change += _change(A, B, M, current, a, b)
                current[a], current[b] = current[b], current[a]
        change += _descend(A, B, M, current, least)
        if level + change <= level:
            best = current
    target[:] = best
