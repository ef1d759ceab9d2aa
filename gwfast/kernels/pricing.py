"""Pricing for linear programs: the places of least reduced cost, one pass over the matrix."""

from __future__ import annotations

import numpy as np

from gwfast.kernels.compiled import compiled


@compiled()
def smallest_reduced(M: np.ndarray, u: np.ndarray, v: np.ndarray, k: int, below: float) -> np.ndarray:
    """Columns (n, k) of the up to `k` least reduced costs M_ij - u_i - v_j under `below` in each row, -1 for none.

    O(n m), no array of the size of `M` (n, m).
    """
    n, m = M.shape
    found = np.full((n, k), -1, dtype=np.int64)
    least = np.empty(k)
    for i in range(n):
        filled, limit, worst = 0, below, 0
        for j in range(m):
            r = M[i, j] - u[i] - v[j]
            if r >= limit:
                continue
            if filled < k:
                least[filled] = r
                found[i, filled] = j
                filled += 1
            else:
                least[worst] = r
                found[i, worst] = j
            if filled == k:
                worst = 0
                for t in range(1, k):
                    if least[t] > least[worst]:
                        worst = t
                limit = least[worst]
    return found
