"""Unbalanced plans: values, gradients, descents and bounds against plain formulas, random plans and POT."""

import numpy as np
import ot
import pytest

import gwfast
import reference
from gwfast.arrays import to_numpy
from gwfast.marginals.penalty import best_share
from strategies import KINDS, cost, weights


def divergence(a, p):
    outer, given = np.outer(a, a), np.outer(p, p)
    return float((outer * np.log(np.where(outer > 0, outer / given, 1.0)) - outer + given).sum())


def value_of(C1, C2, p, q, T, rho, M=None, alpha=1.0):
    rows, columns = T.sum(axis=1), T.sum(axis=0)
    paid = rho[0] * divergence(rows, p) + rho[1] * divergence(columns, q)
    return reference.objective(C1, C2, T, M, alpha) + paid


def draw(seed, n, m, kind="cloud", symmetric=True):
    rng = np.random.default_rng(seed)
    p, q = weights(rng, n, "spread"), weights(rng, m, "spread")
    return rng, cost(rng, n, kind, symmetric), cost(rng, m, kind, symmetric), p, q


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("rho", [0.05, (0.5, 2.0), 40.0])
def test_values_are_those_of_the_plans(fused, rho, xp):
    rng, C1, C2, p, q = draw(0, 7, 5, symmetric=not fused)
    M, alpha = (rng.normal(size=(7, 5)), 0.6) if fused else (None, None)
    options = {"M": xp(M), "alpha": alpha, "marginals": gwfast.Unbalanced(rho)}
    prices = rho if isinstance(rho, tuple) else (rho, rho)
    given = (xp(C1), xp(C2), xp(p), xp(q))
    exact = gwfast.exact_gw(*given, **options)
    smooth = gwfast.entropic_gw(*given, epsilon=0.2, tol=1e-3, **options)
    for result in (exact, smooth):
        T = to_numpy(result.plan.toarray())
        assert (T >= 0).all()
        expected = value_of(C1, C2, p, q, T, prices, M, alpha or 1.0)
        assert float(result.value) == pytest.approx(expected, rel=1e-10, abs=1e-12)
        assert float(result.lower) <= float(result.upper)
        assert expected <= float(result.upper) + 1e-13 * sum(prices)
    assert float(exact.value) <= float(smooth.value) + 1e-9
    assert float(exact.value) <= sum(prices)  # of the plan without mass
    audit = gwfast.certify(*given[:2], smooth.plan, *given[2:], effort="sort", **options)
    assert float(audit.upper) == pytest.approx(float(smooth.upper), rel=1e-12)
    assert audit.marginal_error == 0


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_gradient_is_that_of_the_objective(symmetric):
    rng, C1, C2, p, q = draw(1, 5, 4, "random", symmetric)
    M, rho = rng.normal(size=(5, 4)), (0.7, 0.3)
    problem = gwfast.Problem.of(C1, C2, p, q, M=M, alpha=0.4, marginals=gwfast.Unbalanced(rho))
    T = rng.random((5, 4)) / 9
    slope, step = problem.gradient(T), 1e-6
    for i, k in np.ndindex(T.shape):
        there = [T.copy(), T.copy()]
        there[0][i, k] += step
        there[1][i, k] -= step
        ahead, back = (value_of(C1, C2, p, q, X, rho, M, 0.4) for X in there)
        assert slope[i, k] == pytest.approx((ahead - back) / (2 * step), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_an_optimum_has_the_mass_that_its_value_says(seed):
    """Without features the objective at the best mass m of any plan is (rho + rho') (1 - m^2)."""
    _, C1, C2, p, q = draw(seed, 9, 8)
    rho = (0.1 * 4**seed, 0.3)
    result = gwfast.exact_gw(C1, C2, p, q, marginals=gwfast.Unbalanced(rho))
    mass = to_numpy(result.plan.toarray()).sum()
    assert result.stop is gwfast.Stop.STATIONARY
    assert result.value == pytest.approx(sum(rho) * (1 - mass**2), rel=1e-4)


def test_the_best_mass_is_a_minimum():
    rng = np.random.default_rng(0)
    for _ in range(50):
        square, linear, bend = rng.normal(), rng.choice([0.0, -abs(rng.normal())]), rng.random() + 0.1
        best = best_share(square, linear, bend)
        shares = best * np.concatenate([[1.0], np.geomspace(0.3, 3, 40)])
        levels = shares**2 * (square + 2 * bend * np.log(shares)) + shares * linear
        assert levels[0] <= levels.min() + 1e-12


@pytest.mark.parametrize("seed", range(6))
def test_no_plan_is_below_the_bound(seed):
    for k in range(3):
        rng, C1, C2, p, q = draw(
            7 * seed + k, *np.random.default_rng(k).integers(1, 6, 2), KINDS[(seed + k) % len(KINDS)], k % 3 > 0
        )
        n, m = len(p), len(q)
        size = max(float(np.abs(C1).max()), float(np.abs(C2).max())) ** 2 + 1e-30
        rho = tuple(float(x) for x in size * 10.0 ** rng.uniform(-2, 2, 2))
        M, alpha = (rng.normal(size=(n, m)) * size, 0.6) if seed % 2 else (None, 1.0)
        options = {"M": M, "alpha": None if M is None else alpha, "marginals": gwfast.Unbalanced(rho)}
        proved = gwfast.lower_bound(C1, C2, p, q, **options)
        found = gwfast.exact_gw(C1, C2, p, q, **options)
        least = found.value
        for _ in range(40):
            T = rng.dirichlet(np.full(n * m, rng.choice([0.1, 1.0]))).reshape(n, m) * rng.uniform(0, 1.5)
            least = min(least, value_of(C1, C2, p, q, T, rho, M, alpha))
        assert proved.lower <= least
        assert {b.theorem for b in proved.bounds} == {"unbalanced-entries"}
        gwfast.verify(proved, C1, C2, p, q, **options)


def test_a_high_price_gives_balanced_plans_and_bounds():
    _, C1, C2, p, q = draw(3, 8, 6)
    balanced = gwfast.exact_gw(C1, C2, p, q, effort="rows")
    found = gwfast.exact_gw(C1, C2, p, q, marginals=gwfast.Unbalanced(1e5 * balanced.value))
    assert found.value <= balanced.value * (1 + 1e-9)  # couplings are plans, and pay nothing
    np.testing.assert_allclose(found.plan.marginals()[0], p, atol=1e-4)
    second = next(b.value for b in balanced.certificate.bounds if b.theorem == "second-lower-bound")
    assert 0.99 * second <= found.lower <= found.value


def test_the_unit_is_the_callers():
    _, C1, C2, p, q = draw(4, 6, 6)
    small = gwfast.exact_gw(C1, C2, p, q, marginals=gwfast.Unbalanced(0.3))
    for unit in (2.0**-60, 2.0**70):
        large = gwfast.exact_gw(unit * C1, unit * C2, p, q, marginals=gwfast.Unbalanced(0.3 * unit**2))
        assert large.value == pytest.approx(small.value * unit**2, rel=1e-6)


def test_far_spaces_keep_almost_no_mass():
    C = np.full((3, 3), 100.0)
    found = gwfast.exact_gw(C, np.zeros((3, 3)), marginals=gwfast.Unbalanced(1.0))
    assert found.lower <= found.value <= 2.0
    assert to_numpy(found.plan.toarray()).sum() < 1e-6


def test_values_are_no_higher_than_those_of_pot():
    ratios = []
    for seed in range(3):
        _, C1, C2, p, q = draw(seed, 11, 9)
        rho = 0.3 * reference.objective(C1, C2, p[:, None] * q)
        ours = gwfast.exact_gw(C1, C2, p, q, marginals=gwfast.Unbalanced(rho)).value
        options = {"reg_marginals": rho, "epsilon": 0, "unbalanced_solver": "mm", "max_iter": 30}
        T, _ = ot.gromov.fused_unbalanced_gromov_wasserstein(C1, C2, p, q, **options)
        ratios.append(ours / value_of(C1, C2, p, q, T, (rho, rho)))
    assert max(ratios) <= 1.02
    assert np.mean(ratios) <= 1


def test_what_is_not_there_is_refused_in_one_line():
    C, plans = np.ones((3, 3)), gwfast.Unbalanced(1.0)
    for wrong in (0.0, -1, np.nan, "a", (1, 2, 3), 1e300):
        with pytest.raises(gwfast.InputError, match="rho: "):
            gwfast.Unbalanced(wrong)
    with pytest.raises(gwfast.InputError, match="loss"):
        gwfast.exact_gw(C, C, loss="inner", marginals=plans)
    with pytest.raises(gwfast.InputError, match="PPA"):
        gwfast.entropic_gw(C, C, solver="PPA", marginals=plans)
    with pytest.raises(gwfast.InputError, match="sorted_gw"):
        gwfast.sorted_gw(gwfast.Problem.of(C, C, marginals=plans))


def test_no_plan_costs_more_than_none():
    rng = np.random.default_rng(0)
    C1, C2 = (C + C.T for C in (rng.random((3, 3)), rng.random((4, 4))))
    res = gwfast.exact_gw(C1, C2, M=5 + rng.random((3, 4)), alpha=0.5, marginals=gwfast.Unbalanced(1.0))
    assert res.lower <= res.value <= 2.0


def test_a_mass_that_leaves_float64_ends_the_steps():
    C1, C2 = (C + C.T for C in np.random.default_rng(0).normal(size=(2, 4, 4)))
    res = gwfast.exact_gw(C1, C2, marginals=gwfast.Unbalanced(1e-12))
    assert 0 <= res.lower <= res.value <= 2e-12 * (1 + 1e-9)


def test_mass_at_points_without_weight_is_refused():
    C, p = 1 - np.eye(3), np.array([0.5, 0.5, 0.0])
    with pytest.raises(gwfast.InputError, match="plan: found mass at points without weight"):
        gwfast.certify(C, C, np.full((3, 3), 0.1), p, p, marginals=gwfast.Unbalanced(1.0))
    T = np.zeros((3, 3))
    T[:2, :2] = 0.25
    assert gwfast.certify(C, C, T, p, p, marginals=gwfast.Unbalanced(1.0)).upper >= 0.5 - 1e-12
