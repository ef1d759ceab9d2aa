"""Compiled branch and bound over permutations with the bound of Gilmore and Lawler: many cheap nodes."""

from __future__ import annotations

import numpy as np

from gwfast.kernels.compiled import compiled
from gwfast.kernels.hahn_grant import bounded, reduce_leaders


@compiled()
def _sorted_rest(C, order, index, place, r, out, squares):
    """Off-diagonal entries of the remaining rows of C, sorted, into out (r, r); their sums of squares."""
    for a in range(r):
        i, t = index[a], 0
        squares[a] = 0.0
        for x in order[i]:
            if place[x] >= 0 and x != i:
                out[a, t] = C[i, x]
                squares[a] += C[i, x] * C[i, x]
                t += 1


@compiled()
def _node_costs(A, B, order_a, order_b, rows, cols, r, linear, L, work_a, work_b, squares_a, squares_b, place):
    """Least cost of each pair of a remaining row and column, given what is fixed."""
    place[:] = -1
    for a in range(r):
        place[rows[a]] = a
    _sorted_rest(A, order_a, rows, place, r, work_a, squares_a)
    place[:] = -1
    for a in range(r):
        place[cols[a]] = a
    _sorted_rest(B, order_b, cols, place, r, work_b, squares_b)
    for a in range(r):
        for b in range(r):
            product = 0.0
            for t in range(r - 1):
                product += work_a[a, t] * work_b[b, t]
            L[a, b] = linear[rows[a], cols[b]] + squares_a[a] + squares_b[b] - 2 * product


@compiled()
def cheap_search(A, B, M, order_a, order_b, linear, fixed, tree, tolerance, budget):
    """Depth-first search, as `gwfast.kernels.hahn_grant.search`; linear (n, n, n) holds each level's pair costs."""
    rows, cols, bounds, kids, kid_bounds, counts, at, best, state = tree
    n = A.shape[0]
    ints, dist, done, v = np.empty((3, n), np.int64), np.empty(n), np.empty(n, np.bool_), np.empty(n)
    target, whole, place = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    work_a, work_b, squares_a, squares_b = np.empty((n, n)), np.empty((n, n)), np.empty(n), np.empty(n)
    while budget > 0:
        depth = state[0]
        r = n - depth
        cutoff = best[n] - tolerance
        if state[1] == 1:
            budget -= 1
            state[2] += 1
            state[1] = 0
            L = np.empty((r, r))
            _node_costs(
                A, B, order_a, order_b, rows[depth], cols[depth], r, linear[depth], L, work_a, work_b, squares_a,
                squares_b, place,
            )  # fmt: skip
            lb = fixed[depth] + reduce_leaders(L, target[:r], ints, dist, done, v)
            bounded(A, B, M, L, lb, r, tree, tolerance, target, whole)
        elif at[depth] < counts[depth]:
            s = at[depth]
            at[depth] += 1
            if kid_bounds[depth, s] >= cutoff:
                continue
            a0, b0 = kids[depth, s, 0], kids[depth, s, 1]
            i0, k0 = rows[depth, a0], cols[depth, b0]
            for a in range(r - 1):
                rows[depth + 1, a] = rows[depth, a + (a >= a0)]
                cols[depth + 1, a] = cols[depth, a + (a >= b0)]
            for a in range(r - 1):
                i = rows[depth + 1, a]
                for b in range(r - 1):
                    k = cols[depth + 1, b]
                    there, back = A[i0, i] - B[k0, k], A[i, i0] - B[k, k0]
                    linear[depth + 1, i, k] = linear[depth, i, k] + there * there + back * back
            rows[depth, n], cols[depth, n] = i0, k0
            fixed[depth + 1] = fixed[depth] + linear[depth, i0, k0]
            bounds[depth + 1] = kid_bounds[depth, s]
            state[0] = depth + 1
            state[1] = 1
        else:
            if depth == 0:
                return True
            state[0] = depth - 1
    return False
