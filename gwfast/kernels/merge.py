"""The north-west-corner rule for sorted weights on the host."""

from __future__ import annotations

import numpy as np

from gwfast.kernels.compiled import compiled


@compiled()
def half_merge(a, b):
    """Atoms (positions in a and b, mass) of the monotone plan of weights a (n,) and b (m,) that fill [0, 1/2).

    Breaks of a come before equal ones of b; atoms without mass are left out.
    """
    n, m = len(a), len(b)
    i_of, k_of, mass = np.empty(n + m + 1, np.int64), np.empty(n + m + 1, np.int64), np.empty(n + m + 1)
    i, k, count, last = 0, 0, 0, 0.0
    left, right = a[0], b[0]
    while True:
        end = min(left, right)
        inside = end < 0.5
        width = (end if inside else 0.5) - last
        if width > 0:
            i_of[count], k_of[count], mass[count] = i, k, width
            count += 1
        if not inside:
            break
        last = end
        if left <= right:
            i += 1
            left = left + a[i] if i < n else np.inf
        else:
            k += 1
            right = right + b[k] if k < m else np.inf
    return i_of[:count], k_of[:count], mass[:count]
