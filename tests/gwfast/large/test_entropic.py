"""Entropic plans between many points are those of the dense solver, without an (n, m) array."""

import tracemalloc

import numpy as np
import pytest

import gwfast
from gwfast.budget import UNLIMITED
from gwfast.heuristics.entropic import Entropic, entropic_descent, falling_temperatures
from gwfast.large.entropic import entropic_points
from gwfast.large.potential_plan import PotentialPlan
from gwfast.policy import POLICY
from gwfast.presolve import presolve
from gwfast.problem import Problem


def spaces(rng, kind, n, m):
    x, y = rng.normal(size=(n, 3)) * [1.5, 1, 0.6], rng.uniform(-1, 1, size=(m, 2)) * [2, 1]
    if kind == "cloud":
        return gwfast.PointCloud(x, metric="sqeuclidean"), gwfast.PointCloud(y, metric="sqeuclidean")
    return gwfast.Gram(np.ascontiguousarray(x.T) + 0.3), gwfast.Gram(np.ascontiguousarray(y.T))


def problem_of(kind, n, m, weighted=False, fused=False, seed=0):
    rng = np.random.default_rng(seed)
    x, y = spaces(rng, kind, n, m)
    p, q = (rng.dirichlet(np.full(k, 5.0)) if weighted else None for k in (n, m))
    features = gwfast.FeatureCost(rng.normal(size=(n, 4)), rng.normal(size=(m, 4))) if fused else None
    return presolve(Problem.of(x, y, p, q, M=features)).problem


def temperature(problem, share):
    loss = problem.size - 2 * float(problem.x.moments.total) * float(problem.y.moments.total)
    return share * loss


@pytest.mark.parametrize("kind", ["cloud", "gram"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_it_is_the_dense_plan(kind, weighted, fused, monkeypatch):
    dense = problem_of(kind, 90, 70, weighted, fused)
    monkeypatch.setattr("gwfast.problem.POLICY", POLICY.__class__(large_entries=1))
    sparse = problem_of(kind, 90, 70, weighted, fused)
    assert isinstance(sparse.M, gwfast.FeatureCost) == fused
    epsilon = temperature(dense, 0.1)
    wanted = entropic_descent(dense, Entropic(epsilon, tol=1e-9)).plan
    found = entropic_points(sparse, epsilon, falling_temperatures(epsilon), 1e-9, 1000, UNLIMITED).plan
    assert isinstance(found, PotentialPlan)
    np.testing.assert_allclose(found.toarray(), wanted.toarray(), atol=1e-6 * float(np.asarray(wanted).max()))
    assert float(sparse.objective(found)) == pytest.approx(float(dense.objective(wanted)), rel=1e-6)


def test_marginals_blocks_and_products_are_those_of_the_matrix():
    problem = problem_of("cloud", 80, 60, weighted=True)
    epsilon = temperature(problem, 0.05)
    plan = entropic_points(problem, epsilon, falling_temperatures(epsilon), 1e-4, 50, UNLIMITED).plan
    matrix = plan.toarray()
    rng = np.random.default_rng(0)
    W, Z = rng.normal(size=(60, 3)), rng.normal(size=80)
    np.testing.assert_allclose(plan.block(10, 20), matrix[10:20], rtol=1e-12)
    np.testing.assert_allclose(plan.apply(W), matrix @ W, atol=1e-14)
    np.testing.assert_allclose(plan.T.apply(Z), matrix.T @ Z, atol=1e-14)
    np.testing.assert_allclose(plan.T.toarray(), matrix.T, rtol=1e-12)
    np.testing.assert_allclose(matrix.sum(1), problem.p, rtol=1e-12)
    np.testing.assert_allclose(matrix.sum(0), problem.q, rtol=1e-12)
    for found, wanted in zip(plan.marginals(), (problem.p, problem.q)):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    with pytest.raises(gwfast.InputError, match="block: expected rows within 0 and 80"):
        plan.block(70, 90)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.filterwarnings("ignore:entropic_gw stopped:gwfast.ConvergenceWarning")
def test_the_front_door_holds_no_matrix(library):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2100, 3)), rng.uniform(-1, 1, size=(2000, 3))
    p = rng.dirichlet(np.full(2100, 5.0))
    p[:3] = 0
    p /= p.sum()
    if library == "torch":
        import torch

        x, y, p = (torch.tensor(z) for z in (x, y, p))
    clouds = gwfast.PointCloud(x, metric="sqeuclidean"), gwfast.PointCloud(y, metric="sqeuclidean")
    gwfast.entropic_gw(*clouds, p, epsilon=4.0, max_iter=20)
    tracemalloc.start()
    result = gwfast.entropic_gw(*clouds, p, epsilon=4.0, max_iter=20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2100 * 2000
    assert isinstance(result.plan, PotentialPlan)
    assert result.plan.shape == (2100, 2000)
    T = np.asarray(result.plan)
    np.testing.assert_allclose(T.sum(1), np.asarray(p), atol=1e-15)
    C, D = (np.asarray(c.dense()) for c in clouds)
    weights, q = np.asarray(p), np.full(2000, 1 / 2000)
    value = weights @ C**2 @ weights + q @ D**2 @ q - 2 * (T * (C @ T @ D)).sum()
    assert float(result.value) == pytest.approx(value, rel=1e-9)
    assert float(result.lower) <= float(result.value) <= float(result.upper)
    again = gwfast.certify(*clouds, result.plan, p, effort="sort")
    assert float(again.upper) == pytest.approx(float(result.upper), rel=1e-9)
