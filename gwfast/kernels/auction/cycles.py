"""From any plan to a vertex that costs no more: flow is pushed around each cycle of its atoms until one is empty."""

from __future__ import annotations

import numpy as np

from gwfast.kernels.pairs.flags import fast


@fast
def cancel_cycles(rows, cols, mass, cost, n, m):
    """Parents (n + m,) and masses to them of a forest of atoms with the marginals of a plan of N atoms, integer masses.

    Nodes are the n rows and then the m columns; roots have the parent -1.  Atoms are added one by one; one that
    closes a cycle is paid for by the atoms of the cycle, in the direction that costs less.
    """
    nodes = n + m
    parent, flow, weight = np.full(nodes, -1, np.int64), np.zeros(nodes, np.int64), np.zeros(nodes)
    seen = np.full(nodes, -1, np.int64)
    for e in range(len(rows)):
        i, k, f, c = rows[e], n + cols[e], mass[e], cost[e]
        v = i
        while v >= 0:
            seen[v] = e
            v = parent[v]
        meet = k
        while meet >= 0 and seen[meet] != e:
            meet = parent[meet]
        if meet >= 0:
            # one more unit on the new atom takes one from the next atoms on both sides, gives one to those after them
            total, down_least, up_least = c, f, np.int64(1) << 62
            down_at, up_at = -1, -1
            for side in range(2):
                v, sign = (i, -1) if side == 0 else (k, -1)
                while v != meet:
                    total += sign * weight[v]
                    if sign < 0 and flow[v] < up_least:
                        up_least, up_at = flow[v], v
                    elif sign > 0 and flow[v] < down_least:
                        down_least, down_at = flow[v], v
                    v, sign = parent[v], -sign
            push, at = (-down_least, down_at) if total >= 0.0 else (up_least, up_at)
            for side in range(2):
                v, sign = (i, -1) if side == 0 else (k, -1)
                while v != meet:
                    flow[v] += sign * push
                    v, sign = parent[v], -sign
            f += push
            if at < 0:
                continue  # the new atom is the empty one
            # cut the empty atom; the new one joins the parts again
            v = i
            while v != meet and v != at:
                v = parent[v]
            if v != at:
                i, k = k, i
            parent[at] = -1
        # hang the tree of i by i, then under k
        v, up, g, w = i, k, f, c
        while v >= 0:
            above, g_above, w_above = parent[v], flow[v], weight[v]
            parent[v], flow[v], weight[v] = up, g, w
            v, up, g, w = above, v, g_above, w_above
    return parent, flow
