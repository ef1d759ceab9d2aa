"""A balanced kd tree over points, its leaves as blocks of eight, coordinate by coordinate, so that scans vectorise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gwfast.kernels.pairs.flags import fast

LEAF = 8
FAR = 1e300  # price of the empty places of a leaf


class Tree(NamedTuple):
    """Points in the places of leaves; place t is slot t % LEAF of leaf t // LEAF.

    Nodes are numbered as in a heap: the children of node a are 2a + 1 and 2a + 2.  A node covers the leaves
    begin[a] to end[a] - 1.  `box` holds low and high corners, slope of the prices, and the least price less that slope.
    """

    points: np.ndarray  # (leaves, d, LEAF)
    begin: np.ndarray  # (nodes,)
    end: np.ndarray  # (nodes,)
    box: np.ndarray  # (nodes, 3 d + 1)
    home: np.ndarray  # (leaves,), node of each
    count: np.ndarray  # (leaves,), points of each
    place: np.ndarray  # (m,), of each point
    point: np.ndarray  # (places,), of each place; -1 where it is empty


@fast
def _select(order, key, low, high, k):
    """Order the part [low, high) so that position k is in place by its key."""
    high -= 1
    while low < high:
        middle = (low + high) >> 1
        a, b, c = key[order[low]], key[order[middle]], key[order[high]]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while key[order[i]] < pivot:
                i += 1
            while key[order[j]] > pivot:
                j -= 1
            if i <= j:
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            return


@fast
def halve(points, blocks, order, starts, begin, end):
    """Halve the points along their widest axes until `blocks` blocks are left, of sizes that differ by one at most.

    `order` (m,) receives the points block by block, `starts` (blocks + 1,) where blocks begin, `begin` and `end` the
    blocks of each node.
    """
    m, d = points.shape
    key = np.empty(m)
    for k in range(m):
        order[k] = k
    starts[0] = 0
    starts[blocks] = m
    begin[0] = 0
    end[0] = blocks
    for node in range(len(begin)):
        if node > 0 and end[node] == 0:
            continue  # no such node
        a, b = begin[node], end[node]
        if b - a < 2:
            continue
        s, e = starts[a], starts[b]
        widest, axis = -1.0, 0
        for c in range(d):
            first, total, squares = points[order[s], c], 0.0, 0.0
            for t in range(s, e):
                z = points[order[t], c] - first
                total += z
                squares += z * z
            spread = squares - total * total / (e - s)
            if spread > widest:
                widest, axis = spread, c
        for t in range(s, e):
            key[order[t]] = points[order[t], axis]
        half = (b - a) // 2
        middle = s + ((e - s) * half) // (b - a)
        _select(order, key, s, e, middle)
        starts[a + half] = middle
        begin[2 * node + 1], end[2 * node + 1] = a, a + half
        begin[2 * node + 2], end[2 * node + 2] = a + half, b


@fast
def _boxes(points, count, begin, end, box):
    """Corners of every node, from below."""
    d = points.shape[1]
    for node in range(len(begin) - 1, -1, -1):
        leaves = end[node] - begin[node]
        if leaves < 1:
            continue
        for c in range(d):
            if leaves == 1:
                low = high = points[begin[node], c, 0]
                for t in range(1, count[begin[node]]):
                    low, high = min(low, points[begin[node], c, t]), max(high, points[begin[node], c, t])
            else:
                low = min(box[2 * node + 1, c], box[2 * node + 2, c])
                high = max(box[2 * node + 1, d + c], box[2 * node + 2, d + c])
            box[node, c], box[node, d + c] = low, high


def blocks_of(points: np.ndarray, blocks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Order (m,) of points (m, d) block by block, starts (blocks + 1,), and the blocks of each node; blocks <= m."""
    nodes = 2 ** ((blocks - 1).bit_length() + 1) - 1
    order, starts = np.empty(len(points), np.int64), np.zeros(blocks + 1, np.int64)
    begin, end = np.zeros(nodes, np.int64), np.zeros(nodes, np.int64)
    halve(points, blocks, order, starts, begin, end)
    return order, starts, begin, end


def plant(points: np.ndarray) -> Tree:
    """Tree of points (m, d), m >= 1.  O(m log m) time, O(m d) memory."""
    m, d = points.shape
    leaves = -(-m // LEAF)
    order, starts, begin, end = blocks_of(points, leaves)
    count = np.diff(starts)
    slots = np.arange(LEAF) < count[:, None]
    point = np.full((leaves, LEAF), -1, np.int64)
    point[slots] = order
    place = np.empty(m, np.int64)
    place[order] = np.flatnonzero(slots.ravel())
    blocks = np.where(slots[:, :, None], points[point], points[point[:, :1]])  # an empty place repeats the first point
    blocks = np.ascontiguousarray(blocks.transpose(0, 2, 1))
    box = np.zeros((len(begin), 3 * d + 1))
    _boxes(blocks, count, begin, end, box)
    home = np.empty(leaves, np.int64)
    own = np.flatnonzero(end - begin == 1)
    home[begin[own]] = own
    return Tree(blocks, begin, end, box, home, count, place, point.ravel())
