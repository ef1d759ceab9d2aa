"""Compiled branch and bound over permutations with the dual ascent of Hahn and Grant at every node.

The objective of a permutation s is lb + sum_i L[i, s_i] + sum_{i != j} C[i, s_i, j, s_j].  Moving cost between L, C
and lb, and between C[i, k, j, l] and C[j, l, i, k], leaves it unchanged; the ascent moves it so that lb grows while L
and C stay nonnegative up to rounding.  A child inherits its parent's arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gwfast.kernels.assignment import assign
from gwfast.kernels.compiled import compiled

BIG = 1e4  # cost of a forbidden pair; the caller scales the objective to about one


class Tree(NamedTuple):
    """Where a depth-first search stands, at each of n depths.

    Points left, rows and cols (n, n + 1), the last entry being the pair that the child fixes; bounds (n,) of the nodes;
    kids (n, n, 2) with kid_bounds (n, n), how many of them (counts) and the next to visit (at); best (n + 1,), the best
    permutation known and its value; state = (depth, node to be bounded or not, nodes so far).
    """

    rows: np.ndarray
    cols: np.ndarray
    bounds: np.ndarray
    kids: np.ndarray
    kid_bounds: np.ndarray
    counts: np.ndarray
    at: np.ndarray
    best: np.ndarray
    state: np.ndarray


@compiled()
def _solve(c, v, target, ints, dist, done):
    """Assignment of c (r, r) with prices v; returns its dual value and writes u into dist."""
    r = c.shape[0]
    assign(c, v, ints[0, :r], target, dist, ints[1, :r], done, ints[2, :r])
    value = 0.0
    for i in range(r):
        least = c[i, 0] - v[0]
        for j in range(1, r):
            least = min(least, c[i, j] - v[j])
        dist[i] = least
        value += least
    for j in range(r):
        value += v[j]
    return value


@compiled()
def reduce_leaders(L, target, ints, dist, done, v):
    """Move the value of the assignment problem of L into the bound; `target` receives the assignment."""
    r = L.shape[0]
    v[:r] = 0.0
    value = _solve(L, v[:r], target, ints, dist[:r], done[:r])
    for i in range(r):
        for k in range(r):
            L[i, k] -= dist[i] + v[k]
    return value


@compiled()
def _forbid(L, C, room):
    """Forbid pairs whose reduced cost alone exceeds the room left under the incumbent."""
    r = L.shape[0]
    for i in range(r):
        for k in range(r):
            if room <= L[i, k] < BIG / 2:
                L[i, k] = BIG
                for j in range(r):
                    for l in range(r):
                        C[j, l, i, k] = BIG


@compiled()
def _gather(L, C, i, c):
    """Costs of all inner problems of the rows (i, .) into c (r, r - 1, r - 1), their mirror images taken over.

    Rows that share i have no cost in common, so that the mirror images of all of them are read in one go, in the
    order in which they lie in memory.
    """
    r = L.shape[0]
    a = 0
    for j in range(r):
        if j == i:
            continue
        for l in range(r):
            mirror = C[j, l, i]
            for k in range(r):
                if k != l and L[i, k] < BIG / 2:
                    b = l - (l > k)
                    c[k, a, b] = C[i, k, j, l] + mirror[k] + L[i, k] / (r - 1)
                    mirror[k] = 0.0
        a += 1


@compiled()
def _put_back(C, i, k, c, dist, v):
    """Store the reduced costs of an inner problem whose potentials are dist and v."""
    r = C.shape[0]
    a = 0
    for j in range(r):
        if j == i:
            continue
        b = 0
        for l in range(r):
            if l != k:
                C[i, k, j, l] = c[a, b] - dist[a] - v[b]
                b += 1
        a += 1


@compiled()
def ascend(L, C, lb, cutoff, rounds, target, ints, dist, done, v):
    """Raise lb by up to `rounds` rounds of dual ascent; stops when it reaches `cutoff` or hardly moves."""
    r = L.shape[0]
    lb += reduce_leaders(L, target, ints, dist, done, v)
    _forbid(L, C, cutoff - lb)
    if r == 1:
        return lb
    c = np.empty((r, r - 1, r - 1))
    inner = np.empty(r - 1, np.int64)
    for _ in range(rounds):
        if lb >= cutoff:
            break
        before = lb
        for i in range(r):
            _gather(L, C, i, c)
            for k in range(r):
                if L[i, k] >= BIG / 2:
                    continue
                v[: r - 1] = 0.0
                L[i, k] = _solve(c[k], v[: r - 1], inner, ints, dist[: r - 1], done[: r - 1])
                _put_back(C, i, k, c[k], dist, v)
        lb += reduce_leaders(L, target, ints, dist, done, v)
        _forbid(L, C, cutoff - lb)
        if lb - before < 0.03 * (cutoff - before):
            break
    return lb


@compiled()
def reduce_rows(L, C, ints, dist, done, v):
    """Move the value of each inner assignment problem of C into L, without touching its mirror images."""
    r = L.shape[0]
    if r == 1:
        return
    c = np.empty((r - 1, r - 1))
    inner = np.empty(r - 1, np.int64)
    for i in range(r):
        for k in range(r):
            a = 0
            for j in range(r):
                if j == i:
                    continue
                b = 0
                for l in range(r):
                    if l != k:
                        c[a, b] = C[i, k, j, l]
                        b += 1
                a += 1
            v[: r - 1] = 0.0
            L[i, k] += _solve(c, v[: r - 1], inner, ints, dist[: r - 1], done[: r - 1])
            _put_back(C, i, k, c, dist, v)


@compiled()
def _child_leaders(L, C, i0, k0, L2):
    """Pair costs of the problem with the pair (i0, k0) fixed."""
    r = L2.shape[0]
    for a in range(r):
        i = a + (a >= i0)
        for b in range(r):
            k = b + (b >= k0)
            L2[a, b] = min(L[i, k] + C[i0, k0, i, k] + C[i, k, i0, k0], BIG)


@compiled()
def _child_costs(C, i0, k0, C2):
    """Costs of pairs of pairs of the problem with the pair (i0, k0) fixed."""
    r = C2.shape[0]
    for a in range(r):
        i = a + (a >= i0)
        for b in range(r):
            k = b + (b >= k0)
            for c in range(r):
                source, out = C[i, k, c + (c >= i0)], C2[a, b, c]
                for d in range(k0):
                    out[d] = source[d]
                for d in range(k0, r):
                    out[d] = source[d + 1]


@compiled()
def value_of(A, B, M, target):
    """Objective sum (A_ij - B_titj)^2 + sum M_iti of a permutation."""
    total = 0.0
    n = len(target)
    for i in range(n):
        total += M[i, target[i]]
        for j in range(n):
            d = A[i, j] - B[target[i], target[j]]
            total += d * d
    return total


@compiled()
def search(A, B, M, leaders, store, offset, tree, tolerance, rounds, budget):
    """Depth-first search from the node that `state` describes, for up to `budget` nodes; resumable.

    state = (depth, node to be bounded or not, nodes so far).  best (n + 1,): incumbent permutation and its value.
    Returns whether the tree is exhausted.
    """
    rows, cols, bounds, kids, kid_bounds, counts, at, best, state = tree
    n = A.shape[0]
    ints, dist, done, v = np.empty((3, n), np.int64), np.empty(n), np.empty(n, np.bool_), np.empty(n)
    target, whole = np.empty(n, np.int64), np.empty(n, np.int64)
    while budget > 0:
        depth = state[0]
        r = n - depth
        C = store[offset[depth] : offset[depth + 1]].reshape(r, r, r, r)
        L = leaders[depth, : r * r].reshape(r, r)
        cutoff = best[n] - tolerance
        if state[1] == 1:
            budget -= 1
            state[2] += 1
            state[1] = 0
            lb = ascend(L, C, bounds[depth], cutoff, rounds, target[:r], ints, dist, done, v)
            bounded(A, B, M, L, lb, r, tree, tolerance, target, whole)
        elif at[depth] < counts[depth]:
            s = at[depth]
            at[depth] += 1
            if kid_bounds[depth, s] >= cutoff:
                continue
            i0, k0 = kids[depth, s, 0], kids[depth, s, 1]
            L2 = leaders[depth + 1, : (r - 1) * (r - 1)].reshape(r - 1, r - 1)
            _child_leaders(L, C, i0, k0, L2)
            lb = kid_bounds[depth, s] + reduce_leaders(L2, target[: r - 1], ints, dist, done, v)
            if lb >= cutoff:  # pruned before its costs are copied
                budget -= 1
                state[2] += 1
                continue
            _child_costs(C, i0, k0, store[offset[depth + 1] : offset[depth + 2]].reshape(r - 1, r - 1, r - 1, r - 1))
            bounds[depth + 1] = lb
            for a in range(r - 1):
                rows[depth + 1, a] = rows[depth, a + (a >= i0)]
                cols[depth + 1, a] = cols[depth, a + (a >= k0)]
            rows[depth, n], cols[depth, n] = rows[depth, i0], cols[depth, k0]
            state[0] = depth + 1
            state[1] = 1
        else:
            if depth == 0:
                return True
            state[0] = depth - 1
    return False


@compiled()
def bounded(A, B, M, L, lb, r, tree, tolerance, target, whole):
    """Note the bound of a node of r points, take its assignment as a plan where that is the best, list its children."""
    n, depth, best = A.shape[0], tree.state[0], tree.best
    tree.bounds[depth] = lb
    tree.counts[depth], tree.at[depth] = 0, 0
    if lb >= best[n] - tolerance:
        return
    complete(n, r, depth, tree.rows, tree.cols, target, whole)
    value = value_of(A, B, M, whole)
    if value < best[n]:
        best[n] = value
        for i in range(n):
            best[i] = whole[i]
    cutoff = best[n] - tolerance
    if r > 1 and lb < cutoff:
        branch(L, lb, cutoff, depth, tree.kids, tree.kid_bounds, tree.counts)


@compiled()
def complete(n, r, depth, rows, cols, target, whole):
    """The permutation made of the pairs fixed above `depth` and the assignment at it."""
    for d in range(depth):
        whole[rows[d, n]] = cols[d, n]
    for a in range(r):
        whole[rows[depth, a]] = cols[depth, target[a]]


@compiled()
def branch(L, lb, cutoff, depth, kids, kid_bounds, counts):
    """Children along the row or column with fewest pairs left, ties to the dearest, cheapest child first."""
    r = L.shape[0]
    best_count, best_sum, line, by_row = r + 1, -1.0, 0, True
    for side in range(2):
        for i in range(r):
            count, total = 0, 0.0
            for k in range(r):
                x = L[i, k] if side == 0 else L[k, i]
                if lb + x < cutoff:
                    count += 1
                    total += x
            if count < best_count or (count == best_count and total > best_sum):
                best_count, best_sum, line, by_row = count, total, i, side == 0
    costs = np.empty(r)
    for k in range(r):
        costs[k] = L[line, k] if by_row else L[k, line]
    found = 0
    for k in np.argsort(costs):
        if lb + costs[k] < cutoff:
            kids[depth, found, 0] = line if by_row else k
            kids[depth, found, 1] = k if by_row else line
            kid_bounds[depth, found] = lb + costs[k]
            found += 1
    counts[depth] = found
