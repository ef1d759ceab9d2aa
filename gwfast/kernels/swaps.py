"""Two-exchange local search for permutations, compiled."""

from __future__ import annotations

import numpy as np

from gwfast.kernels.compiled import compiled


@compiled()
def exchange(
    C1: np.ndarray,
    C2: np.ndarray,
    target: np.ndarray,
    image: np.ndarray,
    back: np.ndarray,
    linear: np.ndarray,
    alpha: float,
    tol: float,
    most: int,
) -> int:
    """Swap the targets of two points while that lowers the objective; returns the number of swaps.

    `target` (n,), `image` = C1 T C2' and `back` = C1' T C2 (both (n, n)) are updated in place; `linear` is
    (1 - alpha) M.  The change of a swap follows from the products in O(1), a swap costs a rank-one update O(n^2);
    a sweep over all pairs O(n^2).
    """
    n = len(target)
    w = 1.0 / n
    swaps, since, a = 0, 0, 0
    while since < n and swaps < most:
        ta = target[a]
        best, chosen = -tol, -1
        for b in range(n):
            if b == a:
                continue
            tb = target[b]
            # d = w (e_a - e_b)(e_tb - e_ta)': gradient part and curvature of the objective along d
            first = image[a, tb] - image[a, ta] - image[b, tb] + image[b, ta]
            second = back[a, tb] - back[a, ta] - back[b, tb] + back[b, ta]
            slope = linear[a, tb] - linear[a, ta] - linear[b, tb] + linear[b, ta]
            x = C1[a, a] - C1[a, b] - C1[b, a] + C1[b, b]
            y = C2[tb, tb] - C2[tb, ta] - C2[ta, tb] + C2[ta, ta]
            change = w * (slope - 2 * alpha * (first + second)) - 2 * alpha * w * w * x * y
            if change < best:
                best, chosen = change, b
        if chosen < 0:
            since += 1
        else:
            b, tb = chosen, target[chosen]
            for i in range(n):
                left = w * (C1[i, a] - C1[i, b])
                left_t = w * (C1[a, i] - C1[b, i])
                for k in range(n):
                    image[i, k] += left * (C2[k, tb] - C2[k, ta])
                    back[i, k] += left_t * (C2[tb, k] - C2[ta, k])
            target[a], target[b] = tb, ta
            swaps += 1
            since = 0
        a = (a + 1) % n
    return swaps
