"""The validity suite checks every theorem that the ladder may use."""

import numpy as np
from test_docs import LABELS

from benchmarks import validity
from gwfast.barycenters.bounds import PAIRS, SPECTRAL, VARIANCE
from gwfast.methods import METHODS
from gwfast.plan_value import PLAN
from gwfast.searches.branch_and_bound import PERMUTATIONS


def test_every_theorem_is_checked():
    rng = np.random.default_rng(0)
    found = set()
    for _ in range(24):
        _, problem = validity.draw(rng)
        upper = validity.least(problem, rng)
        bounds = validity.bounds(problem, upper)
        assert all(float(bound.value) <= upper for bound in bounds)
        found |= {bound.theorem for bound in bounds}
    balanced = [method for method in METHODS if "balanced" in method.domain.marginals]
    assert found == {theorem for method in balanced for theorem in method.theorems}
    # an upper bound, one over permutations alone, those of barycentres, and of free marginals (`benchmarks.variants`)
    free = {theorem for method in METHODS if method not in balanced for theorem in method.theorems}
    assert found == set(LABELS) - {PLAN, PERMUTATIONS, VARIANCE, PAIRS, SPECTRAL} - free


def test_bounds_of_points_stand_beside_the_optimum(monkeypatch):
    monkeypatch.setattr(validity, "CHUNK", 15)
    row = validity.points_chunk(0)
    assert row["problems"] == 15
    assert row["bounds"] > 15  # both methods
    assert not row["above"]
