"""The interval that is handed back: its sign, short dtypes, light points, and limits that leave time for little."""

import numpy as np
import pytest

import gwfast
import reference
from gwfast.transport import round_to_marginals, solve_linear
from strategies import cost

NOW = 1e-9  # a time limit that has passed before anything is done


def test_the_gap_of_a_negative_objective():
    rng = np.random.default_rng(0)
    result = gwfast.sorted_gw(cost(rng, 5, "cloud"), cost(rng, 4, "cloud"), M=-9 * rng.random((5, 4)))
    assert result.lower < result.upper < 0
    assert result.gap == (result.upper - result.lower) / -result.upper
    assert "optimal" not in str(result)


def test_an_objective_of_0_with_a_bound_below_has_no_gap():
    bounds = (gwfast.Bound("lower", -1.0, "first-lower-bound"),)
    assert gwfast.Certificate(bounds, gwfast.Bound("upper", 0.0, "feasible-plan")).gap == np.inf


def test_a_blurred_plan_of_a_space_with_itself_has_a_distance():
    for seed in range(20):  # the expanded objective of one in five was below 0
        C = cost(np.random.default_rng(seed), 3, "normal")
        result = gwfast.entropic_gw(C, C, epsilon=1e-3)
        assert result.value >= 0
        assert result.distance >= 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_short_dtypes_round_the_interval_outwards(dtype):
    torch = pytest.importorskip("torch", reason="torch is an extra")
    rng = np.random.default_rng(1)
    for scale in (1e-4, 1.0, 300.0):  # in half precision squares of the first vanish, those of the last are infinite
        C1, C2 = (torch.tensor(scale * cost(rng, n, "cloud")).to(getattr(torch, dtype)) for n in (6, 5))
        short, long = gwfast.exact_gw(C1, C2), gwfast.exact_gw(C1.double(), C2.double())
        assert short.value.dtype == C1.dtype
        assert float(short.lower) <= long.lower
        assert float(short.upper) >= long.upper
        assert all(torch.isfinite(bound.value) for bound in short.certificate.bounds)


def test_a_closed_form_in_float32_is_optimal():
    torch = pytest.importorskip("torch", reason="torch is an extra")
    f = torch.rand(6, generator=torch.Generator().manual_seed(0))
    assert gwfast.sorted_gw(f[:, None] + f, 2 * (f[:, None] + f)).optimal


LIGHT = [[1.0, 1e-30], [1.0, 1e-30, 1e-26], [1.0, 1e-60, 1e-90, 1e-300]]


@pytest.mark.parametrize("p", LIGHT)
@pytest.mark.parametrize("q", [[1.0], [0.5, 0.5], [1.0, 1e-40], [1e-25, 1.0, 1e-50]])
@pytest.mark.parametrize("solver", [gwfast.sorted_gw, gwfast.exact_gw, gwfast.entropic_gw])
@pytest.mark.filterwarnings("ignore:entropic_gw stopped:gwfast.ConvergenceWarning")
def test_light_points_keep_their_mass(solver, p, q):
    # everything but the first points costs: a plan that forgets the light ones costs nothing
    C1 = np.ones((len(p), len(p))) - np.eye(len(p))
    result = solver(C1, np.zeros((len(q), len(q))), p, q)
    np.testing.assert_allclose(np.asarray(result.plan).sum(1), p, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(result.plan).sum(0), q, rtol=1e-12)
    assert result.value == pytest.approx(p @ C1 @ p, rel=1e-12, abs=0)
    assert result.certificate.best.value <= result.value


def test_linear_plans_of_light_points_are_plans():
    rng = np.random.default_rng(2)
    for p in LIGHT:
        q = 10.0 ** rng.uniform(-80, 0, 5)
        p, q = np.array(p), q / q.sum()
        T = np.zeros((len(p), 5))
        found = solve_linear(rng.normal(size=T.shape), p, q)
        np.add.at(T, (found.rows, found.cols), found.mass)
        np.testing.assert_allclose(T.sum(1), p, rtol=1e-7)
        np.testing.assert_allclose(T.sum(0), q, rtol=1e-7)


def test_rounding_gives_light_points_their_mass():
    p, q = np.array([1.0]), np.array([1e-40, 1.0, 1e-90])
    T = round_to_marginals(np.array([[0.0, 1.0, 0.0]]), p, q)
    np.testing.assert_allclose(T, [q], rtol=1e-12)
    np.testing.assert_allclose(round_to_marginals(T.T * [[0], [1], [0]], q, p), T.T, rtol=1e-12)


def test_certify_completes_a_plan_that_forgets_light_points():
    p = np.array([1.0, 1e-30])
    certificate = gwfast.certify(np.ones((2, 2)) - np.eye(2), [[0.0]], np.array([[1.0], [0.0]]), p)
    assert 0 < certificate.lower <= certificate.upper == pytest.approx(2e-30)


@pytest.mark.parametrize("effort", ["sort", "rows", "prove"])
def test_there_is_a_bound_however_short_the_time(effort):
    rng = np.random.default_rng(3)
    C1, C2 = cost(rng, 6, "cloud"), cost(rng, 5, "cloud")
    cheap = gwfast.lower_bound(C1, C2, effort="sort").lower
    found = gwfast.lower_bound(C1, C2, effort=effort, time_limit=NOW)
    assert found.lower == cheap
    assert gwfast.certify(C1, C2, np.full((6, 5), 1 / 30), effort=effort, time_limit=NOW).lower == cheap
    for solver in (gwfast.exact_gw, gwfast.entropic_gw):
        result = solver(C1, C2, effort=effort, time_limit=NOW)
        assert {b.theorem for b in result.certificate.bounds} == {b.theorem for b in found.bounds}
        assert result.lower == cheap
        assert reference.objective(C1, C2, np.asarray(result.plan)) == pytest.approx(result.value)
