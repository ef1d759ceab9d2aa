"""The compiled assignment problem, narrow and wide, cold and warm, against scipy's."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from gwfast.bounds.linear import minimum


@pytest.mark.parametrize("n", [1, 2, 7, 95, 96, 130])
@pytest.mark.parametrize("kind", ["random", "ties", "smooth", "flat"])
def test_assignments_are_optimal_and_their_bound_is_tight(n, kind):
    rng = np.random.default_rng(n)
    X, Y = rng.normal(size=(n, 2)), rng.normal(size=(n, 2))
    cost = {
        "random": rng.random((n, n)),
        "ties": rng.integers(0, 3, (n, n)).astype(float),
        "smooth": -X @ Y.T,
        "flat": np.full((n, n), 2.0),
    }[kind]
    weights = np.full(n, 1 / n)
    best = cost[linear_sum_assignment(cost)].mean()
    prices = None
    for _ in range(2):  # the second time from the prices of the first
        found = minimum(cost, weights, weights, prices)
        assert sorted(found.cols) == list(range(n))
        assert cost[found.rows, found.cols].mean() == pytest.approx(best, abs=1e-12)
        assert best - 1e-10 * (1 + abs(best)) <= found.lower <= best
        prices = found.duals[1] + rng.normal(size=n)
