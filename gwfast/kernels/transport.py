"""Compiled transport problems with duals: small dense ones solved by the thousand, warm from known prices.

Nothing here is trusted: whoever needs a proof takes the prices `v` and evaluates the dual again.
"""

from __future__ import annotations

from gwfast.kernels.compiled import compiled

_FAR = 1e300


@compiled()
def transport(c, p, q, v, flow, left, right, dist, pred, done, reached, origin):
    """Solve the transport problem of c (n, m) between p (n,) and q (m,), with prices v (m,) as start and result.

    Shortest augmenting paths.  `flow` (n, m) receives the plan; the other arrays are work space: `left`,
    `reached`, `origin` of length n, the rest of length m.
    """
    n, m = c.shape
    for i in range(n):
        left[i] = p[i]
        for j in range(m):
            flow[i, j] = 0.0
    for j in range(m):
        right[j] = q[j]
    for i in range(n):  # what the prices already pay for
        cheapest, least = 0, _FAR
        for j in range(m):
            if c[i, j] - v[j] < least:
                least, cheapest = c[i, j] - v[j], j
        moved = min(left[i], right[cheapest])
        flow[i, cheapest] = moved
        left[i] -= moved
        right[cheapest] -= moved
    budget = 20 * (n + m)
    for start in range(n):
        while left[start] > 0.0 and budget > 0:
            budget -= 1
            for j in range(m):
                dist[j], pred[j], done[j] = _FAR, -1, False
            for i in range(n):
                reached[i], origin[i] = False, -1
            reached[start] = True
            u = _FAR
            for j in range(m):
                u = min(u, c[start, j] - v[j])
            for j in range(m):
                dist[j], pred[j] = c[start, j] - v[j] - u, start
            reach, end = 0.0, -1
            while True:
                near, nearest = -1, _FAR
                for j in range(m):
                    if not done[j] and dist[j] < nearest:
                        nearest, near = dist[j], j
                if near < 0:
                    break
                reach = nearest
                done[near] = True
                if right[near] > 0.0:
                    end = near
                    break
                for i in range(n):
                    if flow[i, near] > 0.0 and not reached[i]:
                        reached[i], origin[i] = True, near
                        u = c[i, near] - v[near]
                        for j in range(m):
                            d = reach + (c[i, j] - v[j] - u)
                            if not done[j] and d < dist[j]:
                                dist[j], pred[j] = d, i
            for j in range(m):
                if done[j]:
                    v[j] += dist[j] - reach
            if end < 0:  # rounding: all demand is met
                left[start] = 0.0
                break
            moved = min(left[start], right[end])
            j = end
            while pred[j] != start:
                moved = min(moved, flow[pred[j], origin[pred[j]]])
                j = origin[pred[j]]
            j = end
            while True:
                i = pred[j]
                flow[i, j] += moved
                if i == start:
                    break
                j = origin[i]
                flow[i, j] -= moved
            left[start] -= moved
            right[end] -= moved
