"""Contracts of every front door: right objective, feasible plan, valid interval, the laws of the problem."""

import numpy as np
import ot
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gwfast
import reference
from strategies import cases, cost, known_cases


def entropic(C1, C2, *args, **kwargs):
    scale = float((C2 * C2).mean()) or 1.0  # of the second cost only: a test pads the first
    return gwfast.entropic_gw(C1, C2, *args, epsilon=0.05 * scale, max_iter=50, **kwargs)


pytestmark = pytest.mark.filterwarnings("ignore:entropic_gw stopped:gwfast.ConvergenceWarning")
SOLVERS = {"sorted": gwfast.sorted_gw, "exact": gwfast.exact_gw, "entropic": entropic}
ROUNDING = 1e-11


def call(solver, case, xp=lambda x: x):
    arguments = (xp(case.C1), xp(case.C2), xp(case.p), xp(case.q))
    return SOLVERS[solver](*arguments, M=xp(case.M), alpha=case.alpha)


@pytest.fixture(params=SOLVERS)
def solver(request):
    return request.param


def assert_contract(case, result):
    p, q = case.weights
    T = np.asarray(result.plan)
    assert T.shape == (len(p), len(q))
    assert T.min() >= 0
    np.testing.assert_allclose(T.sum(1), p, atol=1e-12)
    np.testing.assert_allclose(T.sum(0), q, atol=1e-12)
    expected = reference.objective(case.C1, case.C2, T, case.M, case.share)
    scale = case.share * case.size + (0 if case.M is None else (1 - case.share) * np.abs(case.M).max())
    assert abs(float(result.value) - expected) <= ROUNDING * scale
    assert float(result.lower) <= float(result.upper)
    assert 0 <= float(result.upper) - float(result.value) <= ROUNDING * scale
    assert result.gap >= 0 or float(result.upper) < 0


@given(case=cases())
def test_contract_numpy(solver, case):
    assert_contract(case, call(solver, case))


@given(case=cases())
def test_same_answer_in_every_library(solver, xp, case):
    result = call(solver, case, xp)
    assert_contract(case, result)
    expected = call(solver, case)
    scale = case.size + (0 if case.M is None else np.abs(case.M).max())
    assert abs(float(result.lower) - float(expected.lower)) <= 1e-9 * scale


@given(case=cases(equal=True, weighted=False, kinds=("cloud",), symmetric=True))
def test_interval_holds_the_optimum_over_permutations(solver, case):
    # Euclidean distances: the objective is concave along couplings, so a permutation is optimal
    result = call(solver, case)
    optimum = reference.best_permutation(case.C1, case.C2, case.M, case.share)
    assert float(result.lower) <= optimum
    assert optimum <= float(result.upper) + ROUNDING * (abs(optimum) + case.size)


@pytest.mark.filterwarnings("ignore:Problem infeasible:UserWarning")  # POT, see `best_descent`
@given(case=cases(max_points=5))
def test_lower_end_is_below_what_descent_finds(solver, case):
    p, q = case.weights
    found = reference.best_descent(case.C1, case.C2, p, q, 3, np.random.default_rng(0), case.M, case.share)
    assert float(call(solver, case).lower) <= found + 1e-14 * abs(found)


@given(case=cases(fused=False), power=st.integers(-20, 20))
def test_scaling_by_a_power_of_two_is_exact(solver, case, power):
    s = 2.0**power
    scaled = SOLVERS[solver](s * case.C1, s * case.C2, case.p, case.q)
    plain = call(solver, case)
    assert float(scaled.value) == pytest.approx(s * s * float(plain.value), rel=1e-9, abs=1e-12 * s * s * case.size)
    assert float(scaled.lower) == pytest.approx(s * s * float(plain.lower), rel=1e-9, abs=1e-12 * s * s * case.size)


@given(case=cases())
def test_value_is_what_pot_says_of_the_plan(solver, case):
    result = call(solver, case)
    T, (p, q) = np.asarray(result.plan), case.weights
    constant, first, second = ot.gromov.init_matrix(case.C1, case.C2, p, q)
    expected = ot.gromov.gwloss(constant, first, second, T)
    if case.M is not None:
        expected = (1 - case.alpha) * np.sum(case.M * T) + case.alpha * expected
    scale = case.size + (0 if case.M is None else np.abs(case.M).max())
    assert abs(float(result.value) - expected) <= ROUNDING * scale


@given(case=cases(), seed=st.integers(0, 100))
def test_relabelling_the_points_keeps_the_bounds(solver, case, seed):
    order = np.random.default_rng(seed).permutation(len(case.C1))
    p, q = case.weights
    M = None if case.M is None else case.M[order]
    moved = SOLVERS[solver](case.C1[np.ix_(order, order)], case.C2, p[order], q, M=M, alpha=case.alpha)
    plain = SOLVERS[solver](case.C1, case.C2, p, q, M=case.M, alpha=case.alpha)
    scale = case.size + (0 if case.M is None else np.abs(case.M).max())
    assert abs(float(moved.lower) - float(plain.lower)) <= 1e-8 * scale


@given(case=cases(fused=False))
def test_swapping_the_spaces_keeps_the_bounds(solver, case):
    forth = call(solver, case)
    back = SOLVERS[solver](case.C2, case.C1, case.q, case.p)
    assert float(back.lower) == pytest.approx(float(forth.lower), rel=1e-8, abs=1e-10 * case.size)


@given(case=cases(fused=False))
def test_transposing_both_costs_keeps_the_bounds(solver, case):
    plain = call(solver, case)
    turned = SOLVERS[solver](case.C1.T, case.C2.T, case.p, case.q)
    assert float(turned.lower) == pytest.approx(float(plain.lower), rel=1e-8, abs=1e-10 * case.size)


@given(case=cases(fused=False))
def test_splitting_the_mass_of_a_point_keeps_the_bounds(solver, case):
    p, q = case.weights
    twice = [0, *range(len(p))]
    halves = np.concatenate([[p[0] / 2, p[0] / 2], p[1:]])
    split = SOLVERS[solver](case.C1[np.ix_(twice, twice)], case.C2, halves, q)
    plain = SOLVERS[solver](case.C1, case.C2, p, q)
    assert float(split.lower) == pytest.approx(float(plain.lower), rel=1e-7, abs=1e-9 * case.size)


@given(case=cases(), data=st.data())
def test_points_without_mass_change_nothing(solver, case, data):
    p, q = case.weights
    k = data.draw(st.integers(0, len(p)))
    C1 = np.insert(np.insert(case.C1, k, 7.0, axis=0), k, -3.0, axis=1)
    M = None if case.M is None else np.insert(case.M, k, 1e9, axis=0)
    padded = SOLVERS[solver](C1, case.C2, np.insert(p, k, 0.0), q, M=M, alpha=case.alpha)
    plain = SOLVERS[solver](case.C1, case.C2, p, q, M=case.M, alpha=case.alpha)
    assert padded.plan.shape == (len(p) + 1, len(q))
    assert not np.asarray(padded.plan)[k].any()
    assert float(padded.value) == pytest.approx(float(plain.value), rel=1e-9, abs=1e-12 * case.size)


@given(known=known_cases())
def test_the_interval_holds_an_optimum_that_is_known(solver, known):
    case, optimum = known
    result = call(solver, case)
    slack = ROUNDING * case.size  # of the formula, not of the ends
    assert float(result.lower) <= optimum + slack
    assert float(result.upper) >= optimum - slack


@pytest.mark.parametrize("solver", ["sorted", "exact"])  # an entropic plan is blurred
@pytest.mark.parametrize("symmetric", [True, False])
def test_copies_of_one_space_with_distinct_rows_are_recognised(solver, symmetric):
    rng = np.random.default_rng(3)
    for n in (1, 2, 5, 30):
        C = cost(rng, n, "normal", symmetric)
        order = rng.permutation(n)
        result = SOLVERS[solver](C, C[np.ix_(order, order)])
        assert result.value <= 1e-12 * np.mean(C**2)
        assert result.optimal


def test_a_negative_objective_has_no_distance(solver):
    result = SOLVERS[solver](np.eye(3), np.eye(3), M=-np.ones((3, 3)), alpha=0.5)
    assert result.value < 0
    assert np.isnan(result.distance)
    assert "interval" in str(result)
    assert result.lower <= result.value


def test_result_speaks(solver):
    rng = np.random.default_rng(1)
    result = SOLVERS[solver](cost(rng, 6, "cloud"), cost(rng, 8, "cloud"))
    text = str(result)
    for word in ("value", "interval", "gap", "lower from", "stopped", "time", "6 x 8"):
        assert word in text
    assert result.distance == pytest.approx(np.sqrt(result.value))
    assert isinstance(result.stop, gwfast.Stop)
