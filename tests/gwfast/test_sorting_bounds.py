"""The sorting bounds: order, exact families, rounding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gwfast
import reference
from strategies import cases, cost

PROVED_TO_ROUNDING = 1e-9


def bounds(case):
    certificate = gwfast.lower_bound(case.C1, case.C2, case.p, case.q, M=case.M, alpha=case.alpha, effort="sort")
    return {b.theorem: b.value for b in certificate.bounds}, certificate


@given(case=cases())
def test_stated_orders(case):
    b, certificate = bounds(case)
    slack = 4 * max(x.margin for x in certificate.bounds) + 1e-9 * case.size
    assert b["first-lower-bound"] <= b["mean-std"] + slack
    assert b["first-lower-bound"] <= b["anova-first"] + slack
    assert b["anova-first"] <= b["anova-std"] + slack


@given(case=cases(fused=False), data=st.data())
def test_bounds_hold_for_random_couplings(case, data):
    p, q = case.weights
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    best = bounds(case)[1].lower
    for _ in range(5):
        T = rng.random((len(p), len(q))) ** 4
        for _ in range(2000):
            T *= (p / T.sum(1))[:, None]
            T *= (q / T.sum(0))[None, :]
        assert best <= reference.objective(case.C1, case.C2, T) * (1 + 1e-12)


def one_feature(rng, n, weights, coefficients):
    f = rng.normal(size=n)
    total, linear, quadratic = coefficients
    return total + linear * (f[:, None] + f) + quadratic * np.outer(f, f)


FAMILIES = {
    "additive": ((0.3, 1.0, 0.0), (-1.0, 2.0, 0.0)),
    "constant": ((0.3, 0.0, 0.0), (2.0, 0.0, 0.0)),
    "rank one, positive": ((0.0, 0.0, 1.0), (0.0, 0.0, 0.4)),
    "rank one, negative": ((0.0, 0.0, -1.0), (0.0, 0.0, -2.0)),
    "both terms": ((1.0, 1.0, 0.5), (0.0, 2.0, 1.0)),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "m"), [(1, 4), (5, 5), (6, 9), (60, 45)])
def test_gap_is_zero_on_the_exact_family(family, weighted, n, m):
    rng = np.random.default_rng(n)
    p = rng.dirichlet(np.ones(n)) if weighted else None
    q = rng.dirichlet(np.ones(m)) if weighted else None
    first, second = FAMILIES[family]
    C1, C2 = one_feature(rng, n, p, first), one_feature(rng, m, q, second)
    result = gwfast.sorted_gw(C1, C2, p, q)
    assert result.optimal
    scale = np.mean(C1**2) + np.mean(C2**2)
    assert result.upper - result.lower <= PROVED_TO_ROUNDING * scale


def test_gap_is_not_zero_outside_the_family():
    rng = np.random.default_rng(0)
    assert gwfast.sorted_gw(cost(rng, 8, "cloud"), cost(rng, 8, "cloud")).gap > 0.05


def test_centred_rank_one_is_found_though_all_row_means_vanish():
    rng = np.random.default_rng(5)
    u, v = rng.normal(size=12), rng.normal(size=12)
    u, v = u - u.mean(), v - v.mean()
    result = gwfast.sorted_gw(np.outer(u, u), np.outer(v, v))
    assert result.optimal
    assert "one-feature" in result.start


def test_rank_one_of_opposite_signs_is_bounded_below_a_mixture():
    # the optimum is neither sorted plan: with c = E f g able to vanish, the best value is at c = 0
    u = np.array([-1.0, 1.0])
    C1, C2 = np.outer(u, u), -np.outer(u, u)
    mixture = np.full((2, 2), 0.25)
    best = reference.objective(C1, C2, mixture)
    result = gwfast.sorted_gw(C1, C2)
    assert result.lower <= best < result.upper


def test_equal_degrees_defeat_the_first_lower_bound():
    # C6 against two triangles: equal row means, yet not isomorphic
    i = np.arange(6)
    cycle = (np.abs((i[:, None] - i) % 6 - 3) == 2).astype(float)
    triangles = np.kron(np.eye(2), 1 - np.eye(3))
    b, _ = bounds_of(cycle, triangles)
    assert b["first-lower-bound"] == 0
    assert reference.best_permutation(cycle, triangles) == pytest.approx(2 / 9)


def bounds_of(C1, C2):
    certificate = gwfast.lower_bound(C1, C2, effort="sort")
    return {x.theorem: x.value for x in certificate.bounds}, certificate


@pytest.mark.parametrize("scale", [1e-90, 1e-30, 1e30, 1e90])
def test_extreme_scales(scale):
    rng = np.random.default_rng(2)
    C1, C2 = cost(rng, 5, "cloud"), cost(rng, 5, "cloud")
    result = gwfast.sorted_gw(scale * C1, scale * C2)
    optimum = reference.best_permutation(C1, C2) * scale * scale
    assert 0 < result.lower <= optimum <= result.upper * (1 + 1e-12)
