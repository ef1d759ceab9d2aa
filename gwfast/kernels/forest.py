"""Exact masses for the vertices of the transport polytope, whose atoms form a forest."""

from __future__ import annotations

import numpy as np

from gwfast.kernels.compiled import compiled


@compiled()
def forest_masses(rows: np.ndarray, cols: np.ndarray, mass: np.ndarray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Masses (N,) that meet every marginal to an accuracy relative to its own weight.

    The simplex keeps flows to an absolute accuracy, which is all of a weight of 1e-12.  Leaves of the forest know
    their mass: take them off one by one; what rounding leaves over ends at the heaviest point of each tree.  Atoms on
    a cycle (no vertex, or rounding) keep the mass they have.  O(N + n + m).
    """
    n, count = len(p), len(rows)
    nodes = n + len(q)
    rest = np.concatenate((p, q))
    degree, start = np.zeros(nodes, np.int64), np.zeros(nodes + 1, np.int64)
    for e in range(count):
        degree[rows[e]] += 1
        degree[n + cols[e]] += 1
    for v in range(nodes):
        start[v + 1] = start[v] + degree[v]
    slot, edges = start[:-1].copy(), np.empty(2 * count, np.int64)
    for e in range(count):
        for v in (rows[e], n + cols[e]):
            edges[slot[v]] = e
            slot[v] += 1
    # the heaviest point of each tree is its root, which is never taken off as a leaf
    tree, root = np.full(nodes, -1, np.int64), np.zeros(nodes, np.bool_)
    stack = np.empty(nodes, np.int64)
    for first in range(nodes):
        if tree[first] >= 0:
            continue
        heaviest, top = first, 1
        stack[0], tree[first] = first, first
        while top > 0:
            top -= 1
            v = stack[top]
            if rest[v] > rest[heaviest]:
                heaviest = v
            for k in range(start[v], start[v + 1]):
                e = edges[k]
                w = n + cols[e] if v < n else rows[e]
                if tree[w] < 0:
                    tree[w] = first
                    stack[top] = w
                    top += 1
        root[heaviest] = True
    out, done, top = mass.copy(), np.zeros(count, np.bool_), 0
    for v in range(nodes):
        if degree[v] == 1 and not root[v]:
            stack[top] = v
            top += 1
    while top > 0:
        top -= 1
        v = stack[top]
        for k in range(start[v], start[v + 1]):
            e = edges[k]
            if done[e]:
                continue
            w = n + cols[e] if v < n else rows[e]
            done[e] = True
            out[e] = max(rest[v], 0.0)
            rest[w] -= out[e]
            degree[w] -= 1
            if degree[w] == 1 and not root[w]:
                stack[top] = w
                top += 1
    return out
