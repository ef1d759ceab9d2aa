"""Compiled best-first search over boxes of the cross moment M = X' T Y; see `solvers.low_dimension`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gwfast.kernels.assignment import assign
from gwfast.kernels.compiled import compiled
from gwfast.kernels.transport import transport

_EPS = float(np.finfo(np.float64).eps)


class Form(NamedTuple):
    """The problem: points (n, d) and (m, e), linear cost (n, m), weights, whether they are equal, the curvature."""

    X: np.ndarray
    Y: np.ndarray
    linear: np.ndarray
    p: np.ndarray
    q: np.ndarray
    uniform: bool
    curvature: float


class Boxes(NamedTuple):
    """The state of the search.

    Cuts: slopes (t, size) and heights (t,), prices of a ring of them.  Boxes: corners lows and highs, the slot of
    prices that suits each (warm), a heap of bounds (keys) and slots (ids), free slots.  counts = (boxes in the heap,
    free slots, cuts, boxes so far); values = (best value, largest bound of a closed box); plan (n, m) of the best.
    """

    slopes: np.ndarray
    heights: np.ndarray
    prices: np.ndarray
    lows: np.ndarray
    highs: np.ndarray
    warm: np.ndarray
    keys: np.ndarray
    ids: np.ndarray
    free: np.ndarray
    counts: np.ndarray
    values: np.ndarray
    plan: np.ndarray


@compiled()
def box_bound(low, high, slopes, heights, count, curvature, enough):
    """Least over cuts t of heights_t + max over the box of curvature |M|^2 - slopes_t . M; stops below `enough`."""
    best = np.inf
    for t in range(count - 1, -1, -1):
        total = heights[t]
        for e in range(len(low)):
            a = low[e] * (curvature * low[e] - slopes[t, e])
            b = high[e] * (curvature * high[e] - slopes[t, e])
            total += max(a, b)
        if total < best:
            best = total
            if best <= enough:
                break
    return best


@compiled()
def cut(form, slope, v, flow, moment):
    """Maximise <linear + X slope Y', T>, warm from the prices v, which it replaces.

    Writes the plan into flow (n, m) and its cross moment; returns a proved upper bound of the maximum, and the value
    <linear, T> + curvature |moment|^2 of the plan.
    """
    X, Y, linear, p, q, uniform, curvature = form
    n, m = linear.shape
    d, e = X.shape[1], Y.shape[1]
    cost = np.empty((n, m))
    half = X @ slope.reshape(d, e)
    largest = 0.0
    for i in range(n):
        for k in range(m):
            c = linear[i, k]
            for b in range(e):
                c += half[i, b] * Y[k, b]
            cost[i, k] = -c
            largest = max(largest, abs(c) + abs(linear[i, k]))
    if uniform:
        ints = np.empty((4, n), np.int64)
        col_of = ints[0]
        assign(cost, v, ints[1], col_of, np.empty(n), ints[2], np.empty(n, np.bool_), ints[3])
        flow[:] = 0.0
        for i in range(n):
            flow[i, col_of[i]] = p[i]
    else:
        transport(
            cost, p, q, v, flow, np.empty(n), np.empty(m), np.empty(m), np.empty(m, np.int64), np.empty(m, np.bool_),
            np.empty(n, np.bool_), np.empty(n, np.int64),
        )  # fmt: skip
    lower, size = 0.0, largest
    for i in range(n):
        u = np.inf
        for k in range(m):
            u = min(u, cost[i, k] - v[k])
        lower += p[i] * u
        size += p[i] * abs(u)
    for k in range(m):
        lower += q[k] * v[k]
        size += q[k] * abs(v[k])
    moment[:] = 0.0
    value = 0.0
    for i in range(n):
        for k in range(m):
            w = flow[i, k]
            if w > 0.0:
                value += w * linear[i, k]
                for a in range(d):
                    for b in range(e):
                        moment[a * e + b] += w * X[i, a] * Y[k, b]
    for t in range(d * e):
        value += curvature * moment[t] * moment[t]
    return -lower + 8 * (n + m + 2) * _EPS * size, value


@compiled()
def _push(keys, ids, count, key, box):
    """Add a box to the heap of largest bounds."""
    at = count
    while at > 0 and keys[(at - 1) // 2] < key:
        up = (at - 1) // 2
        keys[at], ids[at] = keys[up], ids[up]
        at = up
    keys[at], ids[at] = key, box


@compiled()
def _pop(keys, ids, count):
    """Remove the top of a heap of `count` boxes."""
    key, box = keys[count - 1], ids[count - 1]
    at = 0
    while 2 * at + 1 < count - 1:
        down = 2 * at + 1
        if down + 1 < count - 1 and keys[down + 1] > keys[down]:
            down += 1
        if keys[down] <= key:
            break
        keys[at], ids[at] = keys[down], ids[down]
        at = down
    keys[at], ids[at] = key, box


@compiled()
def explore(form, boxes, constant, gap, floor, budget):
    """Search up to `budget` boxes; resumable.

    A box waits in slot `ids` with its corners and the slot of prices that suit it; any prices are only a start.
    Returns 0 for budget spent, 1 for done, 2 for out of slots, 3 for boxes that cannot be halved.
    """
    slopes, heights, prices, lows, highs, warm, keys, ids, free, counts, values, plan = boxes
    curvature = form.curvature
    n, m = form.linear.shape
    size = slopes.shape[1]
    ring = prices.shape[0]
    flow, moment, slope, centre = np.empty((n, m)), np.empty(size), np.empty(size), np.empty(size)
    low, high = np.empty(size), np.empty(size)
    while budget > 0:
        enough = values[0] + max(0.5 * gap * abs(constant - 2 * values[0]), floor)
        if counts[0] == 0 or keys[0] <= enough:
            return 1
        if counts[1] < 2:
            return 2
        top, slot = keys[0], ids[0]
        _pop(keys, ids, counts[0])
        counts[0] -= 1
        low[:], high[:] = lows[slot], highs[slot]
        start = warm[slot]
        free[counts[1]] = slot
        counts[1] += 1
        counts[3] += 1
        budget -= 1
        known = min(counts[2], slopes.shape[0])
        bound = min(top, box_bound(low, high, slopes, heights, known, curvature, enough))
        if bound > enough:
            for t in range(size):
                centre[t] = 0.5 * (low[t] + high[t])
                slope[t] = 2 * curvature * centre[t]
            first = True
            while True:  # the cut of the box, and local search where its plan is the best so far
                at, old = counts[2] % slopes.shape[0], start % ring
                start = counts[2] % ring
                prices[start] = prices[old]
                height, value = cut(form, slope, prices[start], flow, moment)
                slopes[at], heights[at] = slope, height
                counts[2] += 1
                if first:
                    chosen, first = start, False
                if value <= values[0] + 1e-15 * abs(values[0]):
                    break
                values[0] = value
                plan[:] = flow
                for t in range(size):
                    slope[t] = 2 * curvature * moment[t]
            start = chosen
            enough = values[0] + max(0.5 * gap * abs(constant - 2 * values[0]), floor)
            known = min(counts[2], slopes.shape[0])
            bound = min(bound, box_bound(low, high, slopes, heights, known, curvature, enough))
        if bound <= enough:
            values[1] = max(values[1], bound)
            continue
        edge = 0
        for t in range(size):
            if high[t] - low[t] > high[edge] - low[edge]:
                edge = t
        middle = 0.5 * (low[edge] + high[edge])
        if not low[edge] < middle < high[edge]:
            values[1] = max(values[1], bound)
            return 3
        for side in range(2):
            keep = low[edge] if side else high[edge]
            if side:
                low[edge] = middle
            else:
                high[edge] = middle
            child = min(bound, box_bound(low, high, slopes, heights, known, curvature, enough))
            if child <= enough:
                values[1] = max(values[1], child)
            else:
                counts[1] -= 1
                slot = free[counts[1]]
                lows[slot], highs[slot], warm[slot] = low, high, start
                _push(keys, ids, counts[0], child, slot)
                counts[0] += 1
            if side:
                low[edge] = keep
            else:
                high[edge] = keep
    return 0
