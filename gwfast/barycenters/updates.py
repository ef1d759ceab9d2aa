r"""The best costs and features of a barycentre for given plans, in closed form.

With plans T_s of first marginal p and weights w_s of sum 1, the mean over s of a loss of C is least at

.. math:: C_{ij} = h^{-1}\Big( \frac{1}{p_i p_j} \sum_s w_s (T_s\, h(C_s)\, T_s^\top)_{ij} \Big), \qquad
          F_i = \frac{1}{p_i} \sum_s w_s (T_s F_s)_i,

where h is the identity for the square and the logarithm for KL.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gwfast.plan import Plan


def best_costs(
    plans: Sequence[Plan], costs: Sequence[np.ndarray], weights: np.ndarray, p: np.ndarray, loss: str, symmetric: bool
) -> np.ndarray:
    """Costs (n, n) of the least mean loss; O(n_s^2 + n^2) for each space whose plan has few atoms."""
    total = np.zeros((len(p), len(p)))
    for plan, cost, weight in zip(plans, costs, weights):
        h = np.log(cost) if loss == "kl" else cost
        total += weight * plan.apply(plan.apply(h.T).T)
    total /= p[:, None] * p[None, :]
    if symmetric:  # the products are so up to rounding
        total = (total + total.T) / 2
    return np.exp(total) if loss == "kl" else total


def best_features(
    plans: Sequence[Plan], features: Sequence[np.ndarray], weights: np.ndarray, p: np.ndarray
) -> np.ndarray:
    """Features (n, f) of the least mean squared distance."""
    return sum(w * plan.apply(f) for plan, f, w in zip(plans, features, weights)) / p[:, None]
