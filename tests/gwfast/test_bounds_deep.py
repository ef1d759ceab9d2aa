"""Spectral, quadratic, split and reformulation bounds: they hold, keep their order, and are tight where proved."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gwfast
import reference
from gwfast.bounds.quadratic import dual_weights, quadratic_bound
from gwfast.bounds.rlt1 import Reformulation, memory, reformulation_bound
from gwfast.bounds.rlt1_dual import ReformulationDual
from gwfast.bounds.spectral import eigenvalue_bounds
from gwfast.bounds.split import split_bounds
from gwfast.bounds.third_lower_bound import row_bounds
from gwfast.budget import Budget
from gwfast.kernels import rlt1, rlt1_torch
from gwfast.plan import Plan
from gwfast.transport import solve_linear
from strategies import KINDS, Case, cases, cost, weights

SCALES = (1e-90, 1e-30, 1.0, 1e90)


def problem_of(case):
    return reference.problem_of(case.C1, case.C2, case.p, case.q, case.M, case.alpha)


def short_reformulation(problem, sweeps=25):
    run = Reformulation(problem)
    run.run(sweeps)
    return run.certify(exact=False), run.certify(), run.best


BOUNDS = {
    "spectral": eigenvalue_bounds,
    "quadratic": lambda problem: quadratic_bound(problem, 8)[:1],
    "split": lambda problem: split_bounds(problem, None, 12, 5),
    "reformulation": short_reformulation,
}


def descent(problem, starts, rng):
    """Least objective over conditional-gradient runs whose plans are couplings to rounding."""
    p, q = problem.p, problem.q
    C1, C2 = problem.x.dense(), problem.y.dense()
    top = max(np.abs(C1).max(), np.abs(C2).max()) or 1.0
    M = 0 if problem.M is None else (1 - problem.alpha) * problem.M / top**2
    A, B = C1 / top, C2 / top
    best = np.inf
    for k in range(starts):
        T = np.outer(p, q)
        if k:
            atoms = solve_linear(rng.random(T.shape), p, q)
            T = Plan(T.shape, atoms.rows, atoms.cols, atoms.mass).toarray()
        for _ in range(15):
            G = M - 2 * problem.alpha * (A @ T @ B.T + A.T @ T @ B)
            G = G + problem.alpha * (((A * A + (A * A).T) @ p)[:, None] + ((B * B + (B * B).T) @ q)[None, :])
            atoms = solve_linear(G, p, q)
            direction = Plan(T.shape, atoms.rows, atoms.cols, atoms.mass).toarray() - T
            slope, bend = np.sum(G * direction), -2 * problem.alpha * np.sum(direction * (A @ direction @ B.T))
            if slope >= 0:
                break
            T = T + (1.0 if bend <= 0 else min(1.0, -slope / (2 * bend))) * direction
        best = min(best, float(problem.objective(Plan(T.shape, *Plan(T.shape, matrix=T).atoms()))))
    return best


@pytest.mark.parametrize("name", BOUNDS)
@settings(max_examples=40)
@given(case=cases(max_points=5))
def test_no_coupling_is_below_the_bound(name, case):
    problem = problem_of(case)
    found = descent(problem, 4, np.random.default_rng(0))
    for bound in BOUNDS[name](problem):
        assert bound.side == "lower"
        assert bound.margin >= 0
        assert bound.value <= found


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("fused", [False, True])
def test_no_permutation_is_below_the_bound(name, fused):
    rng = np.random.default_rng(3)
    for kind in KINDS:
        n = int(rng.integers(2, 6))
        M = rng.normal(size=(n, n)) if fused else None
        C1, C2 = cost(rng, n, kind, kind != "normal"), cost(rng, n, "cloud")
        C2 = C2 * np.abs(C1).max()
        found = reference.best_permutation(C1, C2, M, 0.6 if fused else 1.0)
        for bound in BOUNDS[name](problem_of(Case(C1, C2, None, None, M, 0.6 if fused else None))):
            assert bound.value <= found


def adversarial(rng, scale):
    """Zero rows, duplicated nodes, ties, constant costs, near-isomorphic pairs, one node, weights over decades."""
    C = cost(rng, 5, "cloud")
    zero_row = C.copy()
    zero_row[2], zero_row[:, 2] = 0, 0
    twice = np.repeat(np.repeat(C[:3, :3], 2, 0), 2, 1)
    near = C * (1 + 1e-9 * cost(rng, 5, "normal"))
    pairs = [
        (C, C[::-1, ::-1]),
        (zero_row, C),
        (twice, C[:3, :3]),
        (C, near),
        (np.zeros((3, 3)), C),
        (np.ones((4, 4)), np.ones((2, 2))),
        (np.array([[2.0]]), C),
        (np.array([[2.0]]), np.array([[-1.0]])),
        (cost(rng, 5, "ties"), cost(rng, 4, "ties")),
        (C, 1e-8 * cost(rng, 5, "normal", False)),
    ]
    for C1, C2 in pairs:
        for kind in ("uniform", "decades"):
            yield Case(scale * C1, scale * C2, weights(rng, len(C1), kind), weights(rng, len(C2), kind), None, None)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", BOUNDS)
def test_adversarial_problems(name, scale):
    rng = np.random.default_rng(11)
    for case in adversarial(rng, scale):
        problem = problem_of(case)
        found = descent(problem, 3, rng)
        for bound in BOUNDS[name](problem):
            assert 0 <= bound.value <= found
            assert bound.margin <= 1e-9 * case.size


@given(case=cases(max_points=6))
def test_quadratic_is_above_projected_eigenvalues(case):
    problem = problem_of(case)
    projected = eigenvalue_bounds(problem)[1]
    quadratic, plan = quadratic_bound(problem, 400)
    p, q = case.weights
    rows, columns = plan.marginals()
    np.testing.assert_allclose(rows, p, atol=1e-12)
    np.testing.assert_allclose(columns, q, atol=1e-12)
    scale = case.share * case.size + (0 if case.M is None else np.abs(case.M).max())
    assert quadratic.value >= projected.value - 2e-3 * scale  # Frank-Wolfe stops early on flat programs


@given(seed=st.integers(0, 10**6), n=st.integers(1, 7), m=st.integers(1, 7))
def test_dual_weights_are_feasible_and_tight(seed, n, m):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=n), rng.normal(size=m)
    s, t = dual_weights(x, y)
    assert (s[:, None] + t[None, :] - np.outer(x, y)).min() >= -1e-14
    assert min(s.min(), t.min()) >= 0
    best = 0.0
    for sign in (1, -1):
        u, v = np.sort((sign * x).clip(0))[::-1], np.sort((sign * y).clip(0))[::-1]
        best += u[: min(n, m)] @ v[: min(n, m)]
    np.testing.assert_allclose(s.sum() + t.sum(), best, atol=1e-12)


def test_eigenvalues_are_tight_for_multiples_of_one_projection():
    rng = np.random.default_rng(0)
    Q, _ = np.linalg.qr(np.c_[np.ones(6), rng.normal(size=(6, 2))])
    C = Q[:, 1:] @ Q[:, 1:].T
    problem = problem_of(Case(C, 3 * C, None, None, None, None))
    best = float(problem.objective(Plan.from_permutation(np.arange(6), problem.p)))
    for bound in eigenvalue_bounds(problem):
        np.testing.assert_allclose(bound.value, best, rtol=1e-10)


def noisy_copy(rng, n, noise, kind="cloud"):
    C = cost(rng, n, kind) if kind != "cloud" else reference.negative_type(rng, n)
    E = rng.normal(size=(n, n))
    order = rng.permutation(n)
    return C, (C + noise * C.std() * (E + E.T) / 2)[np.ix_(order, order)], np.argsort(order)


def test_reformulation_proves_noisy_copies_optimal():
    rng = np.random.default_rng(1)
    for n in (8, 12):
        C1, C2, target = noisy_copy(rng, n, 0.1)
        problem = problem_of(Case(C1, C2, None, None, None, None))
        upper = float(problem.objective(Plan.from_permutation(target, problem.p)))
        result = reformulation_bound(problem, upper, gap=1e-6, sweeps=2000)
        assert upper * (1 - 1e-6) <= result.bound.value <= upper
        assert result.sweeps < 2000


@settings(max_examples=25)
@given(case=cases(max_points=5))
def test_reformulation_is_above_the_rows_bound(case):
    problem = problem_of(case)
    third, anova = row_bounds(problem)[0]
    result = reformulation_bound(problem, sweeps=60)
    assert result.bound.value >= max(third.value, anova.value) - 1e-9 * problem.size - result.bound.margin


@settings(max_examples=25)
@given(case=cases(max_points=5))
def test_a_stored_dual_verifies_without_the_solver(case):
    problem = problem_of(case)
    result = reformulation_bound(problem, sweeps=20)
    again = result.dual.verify(problem)
    assert again.value == result.bound.value
    rng = np.random.default_rng(0)
    spoiled = ReformulationDual(
        result.dual.rows + rng.normal(size=result.dual.rows.shape),
        result.dual.cols * 3,
        rng.normal(size=result.dual.prices.shape),
        result.dual.scale,
    )
    assert spoiled.verify(problem).value <= descent(problem, 3, rng)


def test_reformulation_respects_its_limits():
    rng = np.random.default_rng(2)
    problem = problem_of(Case(cost(rng, 9, "normal"), cost(rng, 9, "normal"), None, None, None, None))
    assert memory(problem) >= 4 * 81**2
    assert reformulation_bound(problem, budget=Budget(memory=memory(problem) - 1)) is None
    assert reformulation_bound(problem, budget=Budget().within(0.0)).sweeps == 0


def test_marginal_plan_is_a_coupling():
    rng = np.random.default_rng(4)
    case = Case(cost(rng, 6, "graph"), cost(rng, 5, "cloud"), weights(rng, 6, "spread"), None, None, None)
    run = Reformulation(problem_of(case))
    run.run(30)
    rows, columns = run.plan().marginals()
    np.testing.assert_allclose(rows, case.p, atol=1e-12)
    np.testing.assert_allclose(columns, np.full(5, 0.2), atol=1e-12)


@pytest.mark.parametrize("symmetric", [True, False])
def test_torch_sweeps_match_compiled_ones(symmetric):
    rng = np.random.default_rng(5)
    M = rng.normal(size=(6, 5))
    case = Case(
        cost(rng, 6, "normal", symmetric), cost(rng, 5, "normal", symmetric), weights(rng, 6, "spread"), None, M, 0.7
    )
    bounds = []
    for backend in (rlt1, rlt1_torch):
        run = Reformulation(problem_of(case), backend=backend)
        run.run(40)
        bounds.append(run.certify().value)
    np.testing.assert_allclose(bounds[0], bounds[1], rtol=1e-4)


def test_changing_the_step_keeps_the_dual_and_the_limit():
    rng = np.random.default_rng(6)
    problem = problem_of(Case(cost(rng, 7, "cloud"), cost(rng, 7, "cloud"), None, None, None, None))
    for backend in (rlt1, rlt1_torch):
        plain, changed = (Reformulation(problem, step=0.1, backend=backend) for _ in range(2))
        for run in (plain, changed):
            run.run(30)
        changed.change_step(0.5)
        np.testing.assert_allclose(plain.certify().value, changed.certify().value, rtol=1e-4)
        for run in (plain, changed):
            run.run(600)
        np.testing.assert_allclose(plain.certify().value, changed.certify().value, rtol=1e-2)


@pytest.mark.parametrize("factor", [2.0**10, 2.0**-10])
def test_costs_of_very_different_size_are_proved_as_well_as_equal_ones(factor):
    """What is left of the objective without E C1^2 + E C2^2 is the same, as in assignment problems."""
    rng = np.random.default_rng(3)
    F, D = np.triu(rng.integers(0, 10, (8, 8)), 1).astype(float), rng.integers(0, 10, (8, 2))
    F, D = F + F.T, -np.abs(D[:, None] - D).sum(axis=2).astype(float)
    shares = []
    for scale in (1.0, factor):
        problem = reference.problem_of(F, scale * D)
        plan = gwfast.exact_gw(F, scale * D)
        bound = reformulation_bound(problem, plan.upper, sweeps=200).bound
        constant = np.mean(F**2) + np.mean((scale * D) ** 2)
        shares.append(((plan.value - constant) / scale, (bound.value - constant) / scale))
    assert shares[1] == pytest.approx(shares[0], rel=1e-6)
