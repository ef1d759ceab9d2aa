"""Cheapest points by |u - v|^2 / 2 + price, found in a kd tree whose nodes know the slope of the prices."""

from __future__ import annotations

import numpy as np

from gwfast.kernels.auction.kd_tree import FAR, LEAF
from gwfast.kernels.pairs.flags import fast


@fast
def least_price(tree, node, w):
    """Lower the box of a node to its prices: least w - <slope, v> over its points, less |slope|^2 / 2."""
    points, box = tree.points, tree.box
    d = points.shape[1]
    least = 2 * FAR
    for leaf in range(tree.begin[node], tree.end[node]):
        for t in range(LEAF):
            v = w[leaf * LEAF + t]
            for c in range(d):
                v -= box[node, 2 * d + c] * points[leaf, c, t]
            least = min(least, v)
    square = 0.0
    for c in range(d):
        square += box[node, 2 * d + c] * box[node, 2 * d + c]
    box[node, 3 * d] = least - 0.5 * square


@fast
def refresh(tree, w, slope):
    """Fit the prices w (places,) in every node: mean of `slope` (places, d), and the least price less it."""
    box, begin, end = tree.box, tree.begin, tree.end
    d = tree.points.shape[1]
    for node in range(len(begin) - 1, -1, -1):
        if end[node] <= begin[node]:
            continue
        for c in range(d):
            mean = 0.0
            if end[node] - begin[node] == 1:
                leaf = begin[node]
                for t in range(tree.count[leaf]):
                    mean += slope[leaf * LEAF + t, c]
                mean /= tree.count[leaf]
            else:
                mean = 0.5 * (box[2 * node + 1, 2 * d + c] + box[2 * node + 2, 2 * d + c])
            box[node, 2 * d + c] = mean
        least_price(tree, node, w)


@fast
def _reach(u, box, node, d):
    """Lower bound of |u - v|^2 / 2 + price over the points of a node."""
    square, linear = 0.0, 0.0
    for c in range(d):
        y = box[node, 2 * d + c]
        x = u[c] - y
        linear += u[c] * y
        z = max(box[node, c] - x, x - box[node, d + c], 0.0)
        square += z * z
    return 0.5 * square + linear + box[node, 3 * d]


@fast
def cheapest(u, tree, w, k, ids, cost, total, stack, keys, scan):
    """Find the k cheapest places, in order: their `ids`, `cost` without and `total` with the price."""
    points, box, begin, end = tree.points, tree.box, tree.begin, tree.end
    d = points.shape[1]
    for j in range(k):
        total[j] = 4 * FAR
        ids[j] = 0
    stack[0] = 0
    keys[0] = -FAR
    size = 1
    while size > 0:
        size -= 1
        node = stack[size]
        if keys[size] >= total[k - 1]:
            continue
        if end[node] - begin[node] == 1:
            leaf = begin[node]
            for t in range(LEAF):
                scan[t] = 0.0
            for c in range(d):
                x = u[c]
                for t in range(LEAF):
                    z = x - points[leaf, c, t]
                    scan[t] += z * z
            for t in range(LEAF):
                s = 0.5 * scan[t]
                v = s + w[leaf * LEAF + t]
                if v < total[k - 1]:
                    j = k - 1
                    while j > 0 and total[j - 1] > v:
                        total[j], ids[j], cost[j] = total[j - 1], ids[j - 1], cost[j - 1]
                        j -= 1
                    total[j], ids[j], cost[j] = v, leaf * LEAF + t, s
        else:
            left, right = 2 * node + 1, 2 * node + 2
            a, b = _reach(u, box, left, d), _reach(u, box, right, d)
            if a > b:
                left, right, a, b = right, left, b, a
            if b < total[k - 1]:
                stack[size], keys[size] = right, b
                size += 1
            if a < total[k - 1]:
                stack[size], keys[size] = left, a
                size += 1


@fast
def transform(U, tree, w, values, places, begin, end):
    """Least |u - v|^2 / 2 + w over the points of a tree, for the rows of U from `begin` to `end`, and where."""
    ids, cost, total = np.empty(1, np.int64), np.empty(1), np.empty(1)
    stack, keys, scan = np.empty(128, np.int64), np.empty(128), np.empty(LEAF)
    for i in range(begin, end):
        cheapest(U[i], tree, w, 1, ids, cost, total, stack, keys, scan)
        values[i], places[i] = total[0], ids[0]
