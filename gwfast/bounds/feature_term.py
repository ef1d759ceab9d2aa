"""The cheapest bound of the feature term: every point sends its mass to its cheapest partner."""

from __future__ import annotations

import numpy as np

from gwfast.arrays import namespace, to_numpy
from gwfast.arrays.precision import EPS
from gwfast.features import FeatureCost
from gwfast.problem import Problem


def cheapest_partner(problem: Problem) -> float:
    """Lower bound of <M, T> over couplings: max of sum_i p_i min_k M_ik and sum_k q_k min_i M_ik; O(nm).

    Of a `FeatureCost` its bound from means and covariances.  Returns 0.0 where the problem has no feature cost.
    """
    if problem.M is None:
        return 0.0
    p, q = to_numpy(problem.p), to_numpy(problem.q)
    if isinstance(problem.M, FeatureCost):
        return problem.M.cheapest(p, q)
    xp = namespace(problem.M)
    row, column = to_numpy(xp.min(problem.M, axis=1)), to_numpy(xp.min(problem.M, axis=0))
    n, m = problem.shape

    def under(w: np.ndarray, x: np.ndarray) -> float:
        return float(w @ x) - 4 * (n + m) * EPS * float(w @ np.abs(x))

    return max(under(p, row), under(q, column))
