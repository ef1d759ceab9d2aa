"""Sums over rows of costs as they come, so that each row is computed once."""

from __future__ import annotations

import numpy as np

from gwfast.kernels.pairs.flags import fast


@fast
def row_sums(
    rows: np.ndarray, p: np.ndarray, effect: np.ndarray, mean: np.ndarray, square: np.ndarray, left: np.ndarray
) -> None:
    """Write under p the mean and mean square of each row (r, n), and the second moment of the row less `effect`."""
    for s in range(rows.shape[0]):
        one, two, three = 0.0, 0.0, 0.0
        for t in range(rows.shape[1]):
            z = rows[s, t]
            u = z - effect[t]
            one += p[t] * z
            two += p[t] * z * z
            three += p[t] * u * u
        mean[s], square[s], left[s] = one, two, three


@fast
def row_gaps(
    x: np.ndarray,
    y: np.ndarray,
    at_x: np.ndarray,
    at_y: np.ndarray,
    cols_x: np.ndarray,
    cols_y: np.ndarray,
    w: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write sum_t w_t (x[at_x[s], cols_x[t]] - y[at_y[s], cols_y[t]])^2 for each s."""
    for s in range(len(at_x)):
        i, k, own = at_x[s], at_y[s], 0.0
        for t in range(len(w)):
            z = x[i, cols_x[t]] - y[k, cols_y[t]]
            own += w[t] * z * z
        out[s] = own
