r"""The triangle inequality of Gromov-Wasserstein distances between the spaces of a table.

For the squared loss without features d is a pseudo-metric: gluing a plan from i to k and one from k to j gives a plan
from i to j.  So proved ends of other pairs bound a pair,

.. math:: d_{ij} \le u_{ik} + u_{kj}, \qquad d_{ij} \ge l_{kl} - u_{ki} - u_{lj}.
"""

from __future__ import annotations

import numpy as np

_ROUNDED = 1e-14  # share that roots, sums and differences of two numbers lose


def proved_ends(lower: np.ndarray, value: np.ndarray, largest: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Proved ends (N, N) of all distances, from squared bounds and objectives; tightened where `largest` is there.

    Parameters
    ----------
    lower, value : arrays (N, N)
        NaN where a pair was not asked for, or not solved.
    largest : array (N,) or None
        Largest square of a cost of each space, in which marginals are missed; None where d is no metric.

    Returns
    -------
    lower, upper : arrays (N, N)
        0 and infinity where nothing is known.  O(N^3) time.
    """
    known = np.isfinite(value)
    low = np.sqrt(np.where(known, np.maximum(lower, 0.0), 0.0)) * (1 - _ROUNDED)
    # 1e-9 of itself covers the sum of an objective, 1e-11 of the costs the masses that rounding takes from marginals
    lost = 0.0 if largest is None else 1e-11 * (largest[:, None] + largest)
    high = np.sqrt(np.where(known, np.maximum(value, 0.0) * (1 + 1e-9) + lost, np.inf)) * (1 + _ROUNDED)
    np.fill_diagonal(low, 0.0)
    np.fill_diagonal(high, 0.0)
    if largest is None:
        return low, high
    for k in range(len(high)):
        np.minimum(high, (high[:, k, None] + high[k]) * (1 + _ROUNDED), out=high)
    short = np.where(np.isfinite(high), high, np.inf)
    for _ in range(2):  # the pair moves at one end, then at the other
        reached = low.copy()
        for k in range(len(low)):
            np.maximum(reached, low[k] - short[:, k, None] * (1 + _ROUNDED) - _ROUNDED * low[k], out=reached)
        low = np.maximum(reached, reached.T)
    return np.minimum(low, high), high
