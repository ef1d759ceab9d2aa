"""Un-regularised and entropic solvers against POT, and what they promise about their plans."""

import numpy as np
import ot
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gwfast
import reference
from gwfast.transport import solve_linear
from strategies import cost, weights


def pairs(count, n, m, kind="cloud", seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield cost(rng, n, kind), cost(rng, m, kind), rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))


@pytest.mark.parametrize("kind", ["cloud", "graph", "gram", "ties", "normal"])
@pytest.mark.parametrize("weighted", [False, True])
def test_exact_is_no_worse_than_pot_on_the_mean(kind, weighted):
    ours, theirs = [], []
    for C1, C2, p, q in pairs(8, 20, 16 if weighted else 20, kind):
        if not weighted:
            p, q = np.full(20, 1 / 20), np.full(20, 1 / 20)
        ours.append(gwfast.exact_gw(C1, C2, p, q).value)
        theirs.append(reference.objective(C1, C2, ot.gromov.gromov_wasserstein(C1, C2, p, q)))
    assert np.mean(ours) <= np.mean(theirs) + 1e-12


@pytest.mark.parametrize("symmetric", [True, False])
def test_fused_exact_is_no_worse_than_pot_on_the_mean(symmetric):
    rng = np.random.default_rng(4)
    ours, theirs = [], []
    for _ in range(10):
        C1, C2 = cost(rng, 12, "cloud", symmetric), cost(rng, 15, "cloud", symmetric)
        p, q, M = rng.dirichlet(np.ones(12)), rng.dirichlet(np.ones(15)), rng.random((12, 15))
        ours.append(gwfast.exact_gw(C1, C2, p, q, M=M, alpha=0.4).value)
        T = ot.gromov.fused_gromov_wasserstein(M, C1, C2, p, q, alpha=0.4)
        theirs.append(reference.objective(C1, C2, T, M, 0.4))
    assert np.mean(ours) <= np.mean(theirs) + 1e-12


def test_plan_of_exact_is_stationary():
    for C1, C2, p, q in pairs(5, 15, 12):
        result = gwfast.exact_gw(C1, C2, p, q)
        assert result.stop in (gwfast.Stop.STATIONARY, gwfast.Stop.STALLED)
        T = np.asarray(result.plan)
        gradient = -4 * C1 @ T @ C2
        promised = np.sum(gradient * T) - np.sum(gradient * ot.emd(p, q, gradient - gradient.min()))
        assert promised <= 1e-6 * result.value
        assert result.stationarity == pytest.approx(max(promised, 0), abs=1e-8)


def test_small_problems_are_solved():
    hits = 0
    for seed in range(20):
        C1, C2, _, _ = next(pairs(1, 6, 6, seed=seed))
        optimum = reference.best_permutation(C1, C2)
        value = gwfast.exact_gw(C1, C2).value
        assert value >= optimum - 1e-12
        hits += value <= optimum * (1 + 1e-9)
    assert hits >= 18


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # POT's PPA takes the log of empty entries
@pytest.mark.parametrize("solver", ["PGD", "PPA"])
@pytest.mark.filterwarnings("ignore:entropic_gw stopped:gwfast.ConvergenceWarning")
def test_entropic_agrees_with_pot(solver):
    ours, theirs = [], []
    for C1, C2, p, q in pairs(8 if solver == "PGD" else 2, 9, 8):
        T = ot.gromov.entropic_gromov_wasserstein(
            C1, C2, p, q, epsilon=0.2, solver=solver, tol=1e-7, max_iter=500, stopThr=1e-8, warn=False
        )
        result = gwfast.entropic_gw(C1, C2, p, q, epsilon=0.2, solver=solver, tol=1e-6, max_iter=500)
        ours.append(result.value)
        theirs.append(reference.objective(C1, C2, T))
    assert np.mean(ours) <= 1.05 * np.mean(theirs)  # other local optima on some pairs


def test_entropic_fixed_point():
    # at the limit the plan is the entropic projection of its own gradient
    for C1, C2, p, q in pairs(3, 10, 10):
        for tol in (1e-5, 1e-10):  # compiled single precision, and double
            result = gwfast.entropic_gw(C1, C2, p, q, epsilon=0.5, tol=tol, max_iter=3000)
            assert result.stop is gwfast.Stop.MARGINALS
            T = np.asarray(result.plan)
            M = 2 * ((C1**2 @ p)[:, None] + (C2**2 @ q)[None] - 2 * C1 @ T @ C2)
            again = ot.sinkhorn(p, q, M, 0.5, stopThr=1e-12, numItermax=20000)
            np.testing.assert_allclose(T, again, atol=30 * tol)


def test_entropic_says_when_it_did_not_converge():
    C1, C2, p, q = next(pairs(1, 10, 12))
    with pytest.warns(
        gwfast.ConvergenceWarning, match="entropic_gw stopped at max_iter=1 .*raise epsilon or max_iter"
    ) as said:
        result = gwfast.entropic_gw(C1, C2, p, q, epsilon=1e-3, max_iter=1, tol=1e-12)
    assert result.stop is gwfast.Stop.ITERATIONS
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
    assert said[0].filename == __file__


def test_time_limit_is_reported():
    rng = np.random.default_rng(0)
    C1, C2 = cost(rng, 120, "cloud"), cost(rng, 120, "cloud")
    assert gwfast.exact_gw(C1, C2, time_limit=1e-9).stop is gwfast.Stop.TIME_LIMIT
    assert gwfast.entropic_gw(C1, C2, epsilon=1e-4, time_limit=1e-9).stop is gwfast.Stop.TIME_LIMIT


def test_integer_and_nearly_identical_costs():
    rng = np.random.default_rng(0)
    C = rng.integers(0, 9, size=(12, 12))
    C = C + C.T
    assert gwfast.exact_gw(C, C).value == 0
    near = C + 1e-13 * rng.random((12, 12))
    assert gwfast.exact_gw(C.astype(float), (near + near.T) / 2).value < 1e-20


@pytest.mark.parametrize("kind", ["uniform", "spread", "decades"])
@pytest.mark.parametrize("scale", [1.0, -1.0, 1e6, -1e30, 1e-30])
@given(seed=st.integers(0, 10**6), n=st.integers(1, 8), m=st.integers(1, 8))
def test_linear_programs_are_certified(kind, scale, seed, n, m):
    rng = np.random.default_rng(seed)
    p, q = weights(rng, n, kind), weights(rng, m, kind)
    p = np.full(n, 1 / n) if p is None else p
    q = np.full(m, 1 / m) if q is None else q
    M = scale * rng.random((n, m))
    solution = solve_linear(M, p, q)
    T = np.zeros((n, m))
    np.add.at(T, (solution.rows, solution.cols), solution.mass)
    np.testing.assert_allclose(T.sum(1), p, atol=1e-14)
    np.testing.assert_allclose(T.sum(0), q, atol=1e-14)
    if kind == "decades":  # light points keep their mass to an accuracy of their own
        np.testing.assert_allclose(T.sum(1)[p < p.max()], p[p < p.max()], rtol=1e-5)
    assert solution.lower <= np.sum(M * T) * (1 + 1e-15 * np.sign(scale))
    assert np.sum(M * T) - solution.lower <= 1e-11 * abs(scale)


@pytest.mark.parametrize("weighted", [False, True])
def test_restricted_linear_programs_find_the_same_optimum(weighted):
    rng = np.random.default_rng(2)
    n = 320
    p = rng.dirichlet(np.ones(n)) if weighted else np.full(n, 1 / n)
    M = rng.random((n, n)) + rng.random(n)[:, None]
    full = solve_linear(M, p, p)
    for near in (full.duals, (np.zeros(n), np.zeros(n)), tuple(rng.normal(size=(2, n)))):
        quick = solve_linear(M, p, p, near)
        assert quick.lower == pytest.approx(full.lower, abs=1e-9)


def test_factored_products_agree_with_dense_ones():
    from gwfast.heuristics.products import Products

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(25, 2))
    factored = reference.problem_of(
        gwfast.PointCloud(x, "sqeuclidean"), gwfast.PointCloud(y, "sqeuclidean"), None, None, None, None
    )
    dense = reference.problem_of(factored.x.dense(), factored.y.dense(), None, None, None, None)
    T = rng.random((30, 25))
    T /= T.sum()
    assert Products(factored, False).factored
    np.testing.assert_allclose(Products(factored, False).image(T), Products(dense, False).image(T), atol=1e-12)
