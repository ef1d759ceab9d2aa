"""Compiled assignment problems with duals: solved by the thousand, warm from known prices.

Nothing here is trusted: whoever needs a proof takes the prices `v` and evaluates the dual again.
"""

from __future__ import annotations

import numpy as np

from gwfast.kernels.compiled import compiled

_FAR = 1e300
_WIDE = 96  # points from which two passes that vectorise are faster than one that looks at the columns not done


@compiled()
def _relax(row, v, reach, u, i, closed, dist, pred):
    """Shorten the paths to the columns not closed by the edges from row i."""
    for j in range(len(row)):
        d = reach + (row[j] - v[j] - u)
        shorter = (d < dist[j]) & (closed[j] == 0.0)
        dist[j] = d if shorter else dist[j]
        pred[j] = i if shorter else pred[j]


@compiled(fastmath=True)
def _least(dist, closed):
    """Least distance of the columns not closed; a minimum has no rounding, so that its order does not matter."""
    low = 2 * _FAR
    for j in range(len(dist)):
        low = min(low, dist[j] + closed[j])
    return low


@compiled()
def assign(c, v, row_of, col_of, dist, pred, done, stack):
    """Solve the assignment problem of c (n, n), with prices v (n,) as start and result.

    Row reduction, one augmenting row reduction, then shortest augmenting paths (Jonker and Volgenant 1987).
    `row_of`, `col_of` receive the assignment; the other arrays (n,) are work space.
    """
    n = c.shape[0]
    wide = n >= _WIDE
    closed = np.empty(n if wide else 0)
    for j in range(n):
        row_of[j] = -1
        col_of[j] = -1
    free = 0
    for i in range(n):
        stack[i] = i
    waiting = n
    for _ in range(2):
        count, at, budget = waiting, 0, 3 * n
        waiting = 0
        while at < count:
            i = stack[at]
            at += 1
            best, second, j1, j2 = _FAR, _FAR, -1, -1
            for j in range(n):
                d = c[i, j] - v[j]
                if d < second:
                    if d < best:
                        second, j2 = best, j1
                        best, j1 = d, j
                    else:
                        second, j2 = d, j
            displaced = row_of[j1]
            lowered = v[j1] - (second - best) if j2 >= 0 else v[j1]
            cheaper = lowered < v[j1]
            if cheaper:
                v[j1] = lowered
            elif displaced >= 0 and j2 >= 0:
                j1 = j2
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
        free = waiting
    for s in range(free):
        start = stack[s]
        for j in range(n):
            dist[j], pred[j], done[j] = _FAR, -1, False
        closed[:] = 0.0
        i, last, reach = start, -1, 0.0
        u = _FAR
        for j in range(n):
            u = min(u, c[i, j] - v[j])
        while True:
            if wide:
                _relax(c[i], v, reach, u, i, closed, dist, pred)
                near, nearest = 0, _least(dist, closed)
                while near < n - 1 and dist[near] + closed[near] != nearest:
                    near += 1
                closed[near] = _FAR
            else:
                near, nearest = -1, _FAR
                for j in range(n):
                    if not done[j]:
                        d = reach + (c[i, j] - v[j] - u)
                        if d < dist[j]:
                            dist[j], pred[j] = d, i
                        if dist[j] < nearest:
                            nearest, near = dist[j], j
            reach, last = nearest, near
            done[near] = True
            if row_of[near] < 0:
                break
            i = row_of[near]
            u = c[i, near] - v[near]
        for j in range(n):
            if done[j]:
                v[j] += dist[j] - reach
        while True:
            i = pred[last]
            row_of[last] = i
            last, col_of[i] = col_of[i], last
            if i == start:
                break
