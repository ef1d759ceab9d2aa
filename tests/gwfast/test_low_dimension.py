"""Global search in low dimension: against brute force and descents, any weights, features, its limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gwfast
import reference
from gwfast.bounds.scaled import scaled
from gwfast.budget import Budget
from gwfast.plan import Plan
from gwfast.result import Stop
from gwfast.searches.low_dimension import low_dimension_search, moment_form
from strategies import weights


def problem_of(x, y, metric, p=None, q=None, M=None, alpha=None):
    if metric == "gram":
        spaces = gwfast.Gram(x.T), gwfast.Gram(y.T)
    else:
        spaces = gwfast.PointCloud(x, metric), gwfast.PointCloud(y, metric)
    return reference.problem_of(*spaces, p, q, M, alpha)


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 6),
    m=st.integers(1, 6),
    metric=st.sampled_from(["sqeuclidean", "gram"]),
    fused=st.booleans(),
)
def test_moment_form_is_the_objective(seed, n, m, metric, fused):
    rng = np.random.default_rng(seed)
    M, alpha = (rng.normal(size=(n, m)), 0.3) if fused else (None, None)
    x, y = rng.normal(size=(n, 3)), rng.normal(size=(m, 2)) + 1
    problem = problem_of(x, y, metric, weights(rng, n, "spread"), weights(rng, m, "spread"), M, alpha)
    s = scaled(problem)
    form = moment_form(problem, s)
    T = np.outer(problem.p, problem.q)
    for _ in range(2):
        inner = np.sum(form.linear * T) + form.curvature * np.sum((form.X.T @ T @ form.Y) ** 2)
        value = float(problem.objective(Plan((n, m), matrix=T)))
        np.testing.assert_allclose(s.outside(form.constant - 2 * inner), value, atol=1e-11 * (1 + problem.size))
        atoms = gwfast.transport.solve_linear(rng.random((n, m)), problem.p, problem.q)
        T = Plan((n, m), atoms.rows, atoms.cols, atoms.mass).toarray()


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 6),
    d=st.integers(1, 2),
    metric=st.sampled_from(["sqeuclidean", "gram"]),
)
def test_matches_brute_force(seed, n, d, metric):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    problem = problem_of(x, y, metric)
    best = reference.best_permutation(problem.x.dense(), problem.y.dense())
    result = low_dimension_search(problem, gap=1e-4)
    value = float(problem.objective(result.plan))
    assert result.bound.value <= best
    assert best - 1e-12 * problem.size <= value <= best + 2e-4 * best + 1e-10 * problem.size
    assert value - result.bound.value <= 1.1e-4 * value + 1e-9 * problem.size
    np.testing.assert_allclose(result.plan.marginals()[0], problem.p, atol=1e-12)


@pytest.mark.parametrize("kind", ["spread", "decades"])
@pytest.mark.parametrize("metric", ["sqeuclidean", "gram"])
@pytest.mark.parametrize("fused", [False, True])
def test_any_weights_and_features(kind, metric, fused):
    rng = np.random.default_rng(5)
    for _ in range(3):
        n, m = (int(k) for k in rng.integers(2, 8, size=2))
        x, y = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
        p, q = weights(rng, n, kind), weights(rng, m, kind)
        M, alpha = (rng.normal(size=(n, m)), 0.4) if fused else (None, None)
        problem = problem_of(x, y, metric, p, q, M, alpha)
        result = low_dimension_search(problem, gap=1e-3, budget=Budget().within(20))
        found = reference.best_descent(
            problem.x.dense(), problem.y.dense(), problem.p, problem.q, 6, rng, M, 1.0 if alpha is None else alpha
        )
        value = float(problem.objective(result.plan))
        assert result.stop in (Stop.GAP_REACHED, Stop.OPTIMAL)
        assert result.bound.value <= min(found, value) + 1e-15 * abs(found)
        assert value <= found + 2e-3 * abs(found) + 1e-9 * problem.size


@pytest.mark.parametrize("scale", [1e-40, 1e40])
def test_scales_and_degenerate_points(scale):
    rng = np.random.default_rng(6)
    x = scale * rng.normal(size=(5, 2))
    for y in (x[::-1], np.zeros((4, 2)), x[:1], np.repeat(x[:2], 2, axis=0)):
        problem = problem_of(x, y, "sqeuclidean")
        result = low_dimension_search(problem, gap=1e-3)
        assert 0 <= result.bound.value <= float(problem.objective(result.plan))


def test_limits_and_other_problems():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 3))
    short = low_dimension_search(problem_of(x, y, "sqeuclidean"), budget=Budget().within(0.0))
    assert short.stop is Stop.TIME_LIMIT
    assert short.bound.value <= float(problem_of(x, y, "sqeuclidean").objective(short.plan))
    assert low_dimension_search(problem_of(x, y, "euclidean")) is None
    wide = rng.normal(size=(8, 7))
    assert low_dimension_search(problem_of(wide, wide, "sqeuclidean")) is None


def test_a_given_plan_is_improved_first():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(20, 2))
    order = rng.permutation(20)
    problem = problem_of(x, x[order], "sqeuclidean")
    result = low_dimension_search(problem, Plan.from_permutation(np.argsort(order), problem.p), gap=1e-3)
    assert float(problem.objective(result.plan)) <= 1e-25


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.9])
def test_points_far_from_the_origin(alpha):
    # coordinates of few bits: the shift is exact, the distances are the same numbers
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x, y = (2.0**-26 * rng.integers(-9, 9, size=(4, 2)) for _ in range(2))
        M = rng.normal(size=(4, 4)) * 2.0**-92
        near, far = (problem_of(x + shift, y - shift, "sqeuclidean", M=M, alpha=alpha) for shift in (0.0, 2.0**20))
        optimum = reference.best_permutation(near.x.dense(), near.y.dense(), M, alpha)
        found = low_dimension_search(far, gap=1e-9)
        assert found.bound.value <= optimum
        assert found.bound.value == pytest.approx(optimum, rel=1e-6)
