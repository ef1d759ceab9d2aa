"""The assignment problem without branches in its inner loops: inputs that differ from call to call mispredict them."""

from __future__ import annotations

from gwfast.kernels.pairs.flags import fast
from gwfast.kernels.pairs.layout import COL_OF, DIST, PRED, PRICES, ROW_OF, STACK, V1, V2

_FAR = 1e300


@fast
def _reduced(c, v, d, n):
    low = 2 * _FAR
    for j in range(n):
        x = c[j] - v[j]
        d[j] = x
        low = min(low, x)
    return low


@fast
def _least(d, n):
    low = 2 * _FAR
    for j in range(n):
        low = min(low, d[j])
    return low


@fast
def _relax(c, v, shift, dist, closed, pred, i, n):
    """Shorten the paths by row i (closed columns have the distance -FAR); returns the least open distance."""
    low = 2 * _FAR
    for j in range(n):
        d = c[j] - v[j] + shift
        old = dist[j]
        shorter = d < old
        x = d if shorter else old
        dist[j] = x
        pred[j] = i if shorter else pred[j]
        low = min(low, x + closed[j])
    return low


@fast
def assign(c, n, vector, whole):
    """Solve the assignment problem of c (n, >= n), warm from the prices; two row reductions, then shortest paths.

    Jonker and Volgenant 1987.  COL_OF receives the assignment, PRICES the dual.
    """
    v, dist, closed, done = vector[PRICES], vector[DIST], vector[V1], vector[V2]
    row_of, col_of, pred, stack = whole[ROW_OF], whole[COL_OF], whole[PRED], whole[STACK]
    for j in range(n):
        row_of[j] = -1
        col_of[j] = -1
        stack[j] = j
    waiting = n
    for _ in range(2):
        count, at, budget = waiting, 0, 3 * n
        waiting = 0
        while at < count:
            i = stack[at]
            at += 1
            best = _reduced(c[i], v, dist, n)
            j1 = 0
            while j1 < n - 1 and dist[j1] != best:
                j1 += 1
            dist[j1] = 2 * _FAR
            second = _least(dist, n)
            displaced = row_of[j1]
            lowered = v[j1] - (second - best) if n > 1 else v[j1]
            cheaper = lowered < v[j1]
            if cheaper:
                v[j1] = lowered
            elif displaced >= 0 and n > 1:
                j1 = 0
                while j1 < n - 1 and dist[j1] != second:
                    j1 += 1
                displaced = row_of[j1]
            col_of[i], row_of[j1] = j1, i
            if displaced >= 0:
                col_of[displaced] = -1
                budget -= 1
                if cheaper and budget > 0:
                    at -= 1
                    stack[at] = displaced
                else:
                    stack[waiting] = displaced
                    waiting += 1
    for s in range(waiting):
        start = stack[s]
        u = _reduced(c[start], v, dist, n)
        for j in range(n):
            dist[j], pred[j], closed[j], done[j] = _FAR, -1, 0.0, -_FAR
        i, last, reach = start, -1, 0.0
        for _ in range(n):
            low = _relax(c[i], v, reach - u, dist, closed, pred, i, n)
            near = 0
            while near < n - 1 and dist[near] + closed[near] != low:
                near += 1
            reach, last = low, near
            # closed: its distance moves to `done`, and nothing is below -FAR
            closed[near] = 2 * _FAR
            done[near] = low
            dist[near] = -_FAR
            if row_of[near] < 0:
                break
            i = row_of[near]
            u = c[i, near] - v[near]
        for j in range(n):
            if done[j] > -_FAR:
                v[j] += done[j] - reach
        for _ in range(n):  # back along the path, which ends at the row it began from
            i = pred[last]
            row_of[last] = i
            last, col_of[i] = col_of[i], last
            if i == start:
                break
