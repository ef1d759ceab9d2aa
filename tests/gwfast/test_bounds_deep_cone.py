"""The doubly nonnegative bound: it holds, is above the reformulation, and close to the optimum of small problems."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from gwfast.bounds.doubly_nonnegative import Cone, ConeDual, cone_bound, cone_memory
from gwfast.bounds.doubly_nonnegative_dual import Face
from gwfast.bounds.rlt1 import Reformulation
from gwfast.budget import Budget
from gwfast.plan import Plan
from gwfast.result import Stop
from gwfast.transport import solve_linear
from strategies import Case, cases, cost, weights


def problem_of(case):
    return reference.problem_of(case.C1, case.C2, case.p, case.q, case.M, case.alpha)


def some_plans(problem, rng, count=8):
    """Objectives of the product plan and of vertices."""
    yield float(
        problem.objective(Plan(problem.shape, *Plan(problem.shape, matrix=np.outer(problem.p, problem.q)).atoms()))
    )
    for _ in range(count):
        atoms = solve_linear(rng.random(problem.shape), problem.p, problem.q)
        yield float(problem.objective(Plan(problem.shape, atoms.rows, atoms.cols, atoms.mass)))


def both(problem, sweeps, steps):
    run = Reformulation(problem)
    run.run(sweeps)
    run.certify()
    cone = Cone(run)
    cone.run(steps)
    return run, cone, cone.certify()


@given(seed=st.integers(0, 10**6), n=st.integers(1, 6), m=st.integers(1, 6))
def test_face_spans_the_couplings(seed, n, m):
    rng = np.random.default_rng(seed)
    p, q = weights(rng, n, "decades"), weights(rng, m, "spread")
    face = Face(p, q, np.float64)
    atoms = solve_linear(rng.random((n, m)), p, q)
    T = Plan((n, m), atoms.rows, atoms.cols, atoms.mass).toarray()
    x = (T / np.sqrt(p[:, None] * q)).ravel()
    Y = np.outer(x, x)
    np.testing.assert_allclose(face.up(face.down(Y)), Y, atol=1e-10)
    M = face.down(rng.normal(size=(n * m, n * m)))
    np.testing.assert_allclose(face.down(face.up(M)), M, atol=1e-12)


@settings(max_examples=40)
@given(case=cases(max_points=4))
def test_no_coupling_is_below_the_bound(case):
    problem = problem_of(case)
    _, cone, bound = both(problem, 20, 15)
    found = min(some_plans(problem, np.random.default_rng(0)))
    assert bound.value <= found
    assert cone.best.value <= found


@pytest.mark.parametrize("scale", [1e-90, 1.0, 1e90])
def test_scales_and_light_points(scale):
    rng = np.random.default_rng(1)
    for kind in ("uniform", "decades"):
        C1, C2 = scale * cost(rng, 4, "normal"), scale * cost(rng, 3, "graph")
        problem = problem_of(Case(C1, C2, weights(rng, 4, kind), weights(rng, 3, kind), None, None))
        _, cone, _ = both(problem, 30, 30)
        assert 0 <= cone.best.value <= min(some_plans(problem, rng))


@pytest.mark.parametrize("kind", ["cloud", "graph", "normal"])
def test_between_the_reformulation_and_the_best_permutation(kind):
    rng = np.random.default_rng(2)
    for _ in range(2):
        C1, C2 = cost(rng, 6, kind), cost(rng, 6, kind)
        problem = problem_of(Case(C1, C2, None, None, None, None))
        best = reference.best_permutation(C1, C2)
        run, cone, bound = both(problem, 300, 300)
        assert cone.best.value >= run.best.value
        assert bound.value >= run.best.value - 1e-3 * problem.size  # the relaxation is the stronger one
        assert bound.value <= best
        if kind == "cloud":  # a permutation is optimal among couplings: the bound meets it
            assert bound.value >= 0.99 * best


def test_random_symmetric_costs_are_nearly_closed():
    rng = np.random.default_rng(3)
    C1, C2 = cost(rng, 7, "normal"), cost(rng, 7, "normal")
    problem = problem_of(Case(C1, C2, None, None, None, None))
    found = reference.best_descent(C1, C2, problem.p, problem.q, 12, rng)
    _, cone, _ = both(problem, 200, 300)
    assert 0.97 * found <= cone.best.value <= found


def test_a_stored_dual_verifies_and_any_matrix_is_safe():
    rng = np.random.default_rng(4)
    problem = problem_of(
        Case(cost(rng, 5, "normal"), cost(rng, 4, "normal"), None, weights(rng, 4, "spread"), None, None)
    )
    result = cone_bound(problem, steps=60)
    assert result.stop is Stop.ITERATIONS
    assert result.dual.verify(problem).value == result.bound.value
    for size in (1e-3, 1.0, 1e6):
        spoiled = result.dual.matrix + size * rng.normal(size=result.dual.matrix.shape)
        bound = ConeDual(spoiled, result.dual.prices, result.dual.scale).verify(problem)
        assert bound.value <= min(some_plans(problem, rng))


def test_limits():
    rng = np.random.default_rng(5)
    problem = problem_of(Case(cost(rng, 6, "cloud"), cost(rng, 6, "cloud"), None, None, None, None))
    assert cone_bound(problem, budget=Budget(memory=cone_memory(problem) - 1)) is None
    assert cone_bound(problem, budget=Budget().within(0.0)).steps == 0
    one = problem_of(Case(np.array([[2.0]]), cost(rng, 3, "cloud"), None, None, None, None))
    assert cone_bound(one).stop is Stop.OPTIMAL
