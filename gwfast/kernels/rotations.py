"""Compiled cells of rotations: their frames, what they halve into, and linear programs of many slopes in one call.

A cell is a row (sign, face, x, y, z, half).  In space it holds the unit quaternions whose entry `face` is largest, the
other three over it within `half` of (x, y, z); in the plane the angles within `half` of x.  A sign of -1 turns the last
axis around first.
"""

from __future__ import annotations

import math

import numpy as np

from gwfast.kernels.boxes import cut
from gwfast.kernels.compiled import compiled

_ROUNDED = 1e-13  # above the error of a frame and of its cosine


@compiled()
def frame(cell, size, R):
    """Write the orthogonal matrix at the centre of a cell into R (size, size).

    Returns a number at most cos t, where t is the largest angle of a rotation of the cell from its centre.
    """
    sign, face, half = cell[0], int(cell[1]), cell[5]
    if size == 1:
        R[0, 0] = sign
        return 1.0
    if size == 2:
        c, s = math.cos(cell[2]), math.sin(cell[2])
        R[0, 0], R[0, 1], R[1, 0], R[1, 1] = c, -s * sign, s, c * sign
        return math.cos(half) - _ROUNDED
    q, corner = np.empty(4), np.empty(4)
    at = 0
    for k in range(4):
        if k == face:
            q[k] = 1.0
        else:
            q[k] = cell[2 + at]
            at += 1
    norm = math.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2 + q[3] ** 2)
    least = 1.0
    for code in range(8):
        at = 0
        for k in range(4):
            corner[k] = q[k]
            if k != face:
                corner[k] += half if (code >> at) & 1 else -half
                at += 1
        inner, square = 0.0, 0.0
        for k in range(4):
            inner += q[k] * corner[k]
            square += corner[k] * corner[k]
        least = min(least, inner / (norm * math.sqrt(square)))
    w, x, y, z = q / norm
    R[0, 0], R[0, 1], R[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), sign * 2 * (x * z + w * y)
    R[1, 0], R[1, 1], R[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), sign * 2 * (y * z - w * x)
    R[2, 0], R[2, 1], R[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), sign * (1 - 2 * (x * x + y * y))
    return 2 * least * least - 1 - _ROUNDED


@compiled()
def halves(cell, size):
    """The cells (2^k, 6) that a cell of k coordinates halves into."""
    count = 3 if size == 3 else size - 1
    parts = np.empty((1 << count, 6))
    for code in range(1 << count):
        parts[code] = cell
        parts[code, 5] = 0.5 * cell[5]
        for k in range(count):
            parts[code, 2 + k] += 0.5 * cell[5] if (code >> k) & 1 else -0.5 * cell[5]
    return parts


@compiled()
def slopes_of(cells, size, outer, inner):
    """Slopes (k, d, e), each frame times `outer` (d, e) over its cosine, less itself times `inner`, and the cosines.

    For cells of positive cosine: halves of the faces, eighths of a turn, and what they halve into.
    """
    d, e = outer.shape
    slopes, cosines, R = np.empty((len(cells), d, e)), np.empty(len(cells)), np.empty((size, size))
    for t in range(len(cells)):
        cosines[t] = frame(cells[t], size, R)
        for a in range(d):
            for b in range(e):
                slopes[t, a, b] = R[a, b] * (outer[a, b] / cosines[t] - inner[a, b])
    return slopes, cosines


@compiled()
def programs(form, slopes, start, prices, best, plan):
    """Proved maxima (k,) of <linear + X slope Y', T>, one a slope, warm from the prices `start` (m,).

    `prices` (k, m) receives theirs.  Where a plan of one has a larger value than best[0], local search goes on from it,
    and `plan` and best[0] are replaced.
    """
    n, m = form.linear.shape
    count, size = len(slopes), slopes.shape[1] * slopes.shape[2]
    flow, moment, slope, v = np.empty((n, m)), np.empty(size), np.empty(size), np.empty(m)
    heights = np.empty(count)
    for t in range(count):
        prices[t] = start
        slope[:] = slopes[t].ravel()
        heights[t], value = cut(form, slope, prices[t], flow, moment)
        v[:] = prices[t]
        while value > best[0] + 1e-15 * abs(best[0]):
            best[0] = value
            plan[:] = flow
            slope[:] = 2 * form.curvature * moment
            _, value = cut(form, slope, v, flow, moment)
    return heights
