"""Second and third lower bounds: against their definitions, their orders, both libraries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gwfast
import reference
from gwfast.arrays import sorted_row_products
from gwfast.bounds.second_lower_bound import second_lower_bound
from gwfast.bounds.third_lower_bound import row_bounds
from strategies import cases, cost, weights


def problem_of(case, xp=lambda x: x):
    return reference.problem_of(xp(case.C1), xp(case.C2), xp(case.p), xp(case.q), xp(case.M), case.alpha)


def quantile_product(x, y, p, q):
    """E x y under the monotone coupling, by looking up quantiles segment by segment."""
    a, b = np.argsort(x), np.argsort(y)
    P, Q = np.cumsum(p[a]), np.cumsum(q[b])
    ends = np.unique(np.concatenate([P[:-1], Q[:-1], [1.0]]))
    width = np.diff(ends, prepend=0.0)
    middle = ends - width / 2
    i = np.minimum(np.searchsorted(P, middle), len(x) - 1)
    k = np.minimum(np.searchsorted(Q, middle), len(y) - 1)
    return np.sum(width * x[a][i] * y[b][k])


@pytest.mark.parametrize("kind", ["uniform", "spread", "decades"])
@given(seed=st.integers(0, 10**6), n=st.integers(1, 6), m=st.integers(1, 6))
def test_sorted_row_products_match_quantiles(xp, kind, seed, n, m):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(3, n)), rng.normal(size=(2, m))
    p, q = weights(rng, n, kind), weights(rng, m, kind)
    p = np.full(n, 1 / n) if p is None else p
    q = np.full(m, 1 / m) if q is None else q
    found = np.asarray(sorted_row_products(xp(X), xp(Y), xp(p), xp(q)))
    expected = [[quantile_product(x, y, p, q) for y in Y] for x in X]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@given(case=cases(max_points=5))
def test_bounds_hold_and_keep_their_order(xp, case):
    problem = problem_of(case, xp)
    entries = second_lower_bound(problem)
    rows, _ = row_bounds(problem)
    sort = {
        b.theorem: b
        for b in gwfast.lower_bound(case.C1, case.C2, case.p, case.q, M=case.M, alpha=case.alpha, effort="sort").bounds
    }
    p, q = case.weights
    found = reference.best_descent(case.C1, case.C2, p, q, 3, np.random.default_rng(0), case.M, case.share)
    third, anova = rows
    for bound in (entries, third, anova):
        assert float(bound.value) <= found + 1e-14 * abs(found)
    slack = 4 * (third.margin + entries.margin) + 1e-9 * case.share * case.size
    slack += 1e-9 * (0 if case.M is None else np.abs(case.M).max())
    assert float(entries.value) <= float(third.value) + slack
    assert float(sort["mean-std"].value) <= float(third.value) + slack
    assert float(sort["eccentricity"].value) <= float(third.value) + slack
    assert float(sort["anova-std"].value) <= float(anova.value) + slack


@given(case=cases(equal=True, weighted=False, kinds=("cloud", "gram"), symmetric=True))
def test_certify_holds_the_optimum_over_permutations(case):
    n = len(case.C1)
    certificate = gwfast.certify(case.C1, case.C2, np.eye(n) / n, M=case.M, alpha=case.alpha)
    optimum = reference.best_permutation(case.C1, case.C2, case.M, case.share)
    assert certificate.lower <= optimum <= certificate.upper + 1e-12 * (case.size + abs(optimum))


def test_certify_a_sinkhorn_plan():
    import ot

    rng = np.random.default_rng(0)
    C1, C2 = cost(rng, 12, "cloud"), cost(rng, 9, "cloud")
    p, q = np.full(12, 1 / 12), np.full(9, 1 / 9)
    T = ot.gromov.entropic_gromov_wasserstein(C1, C2, p, q, epsilon=0.3, tol=1e-3, stopThr=1e-4)
    certificate = gwfast.certify(C1, C2, T)
    assert 0 < certificate.lower < certificate.upper
    assert certificate.upper == pytest.approx(reference.objective(C1, C2, T), rel=1e-2)


def test_certify_repairs_marginals_and_says_how_wrong_they_were():
    rng = np.random.default_rng(1)
    C1, C2 = cost(rng, 6, "cloud"), cost(rng, 6, "cloud")
    T = np.eye(6) / 6
    T[0, 0] -= 1e-4
    certificate = gwfast.certify(C1, C2, T)
    assert certificate.marginal_error == pytest.approx(1e-4)
    assert certificate.upper >= reference.best_permutation(C1, C2)


def test_isomorphic_copies_are_certified():
    rng = np.random.default_rng(2)
    C = cost(rng, 20, "cloud")
    order = rng.permutation(20)
    plan = np.zeros((20, 20))
    plan[order, range(20)] = 1 / 20
    certificate = gwfast.certify(C, C[np.ix_(order, order)], plan)
    assert certificate.upper == 0
    assert certificate.optimal
