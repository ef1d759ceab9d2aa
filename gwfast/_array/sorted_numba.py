"""Compiled gradient of the sorted products of rows: where the bounds by rows move their costs."""

from __future__ import annotations

from gwfast._array.compiled import compiled


@compiled()
def rearranged(order, wx, y, wy, rows, cols, mass, out):
    """Add to out (n, n), for every atom (i, k) of a plan, row k of y moved along the coupling that sorts row i.

    `order` (n, n) sorts the rows of the first cost; the result is the gradient of sum_ik T_ik G_ik in them.
    """
    N, M = wx.shape[1], wy.shape[1]
    for s in range(len(rows)):
        i, k, w = rows[s], cols[s], mass[s]
        a, b, left, right = 0, 0, wx[i, 0], wy[k, 0]
        while True:
            if left < right:
                out[i, order[i, a]] += w * left * y[k, b]
                right -= left
                a += 1
                if a == N:
                    break
                left = wx[i, a]
            else:
                out[i, order[i, a]] += w * right * y[k, b]
                left -= right
                b += 1
                if b == M:
                    break
                right = wy[k, b]
