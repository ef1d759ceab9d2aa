"""Search over couplings: what a part is, that children cover it, and bounds against exact answers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gwfast
import reference
from gwfast.bounds.scaled import scaled
from gwfast.budget import Budget
from gwfast.result import Stop
from gwfast.searches.coupling_search import CouplingSearch, Part, children, rest_of
from strategies import KINDS, cases, cost, weights


def problem_of(case):
    return reference.problem_of(case.C1, case.C2, case.p, case.q, case.M, case.alpha)


def coupling(rng, p, q):
    """A coupling, between the product and a vertex."""
    import ot

    share = rng.random()
    return share * np.outer(p, q) + (1 - share) * ot.emd(p, q, rng.random((len(p), len(q))))


@given(case=cases(max_points=4), seed=st.integers(0, 99))
def test_what_is_left_is_a_problem_with_the_same_objective(case, seed):
    rng, problem = np.random.default_rng(seed), problem_of(case)
    s = scaled(problem)
    fixed = 0.9 * rng.random() * coupling(rng, s.p, s.q) * (rng.random(problem.shape) < 0.5)
    rest = rest_of(s, fixed)
    S = coupling(rng, np.asarray(rest.problem.p), np.asarray(rest.problem.q))
    T = fixed.copy()
    T[np.ix_(rest.rows, rest.cols)] += rest.mass * S
    assert np.allclose(T.sum(axis=1), s.p, rtol=0, atol=1e-14)
    assert np.allclose(T.sum(axis=0), s.q, rtol=0, atol=1e-14)
    whole = reference.objective(s.first, s.second, T) + float(np.sum(s.features * T))
    x, y = rest.problem.x.dense(), rest.problem.y.dense()
    inner = reference.objective(x, y, S, rest.problem.M, rest.problem.alpha)
    assert abs(whole - (rest.constant + rest.factor * inner)) <= rest.slack


@given(seed=st.integers(0, 10**6), n=st.integers(1, 5), m=st.integers(1, 5))
def test_every_coupling_is_above_a_child(seed, n, m):
    rng = np.random.default_rng(seed)
    p, q = rng.random(n) + 0.05, rng.random(m) + 0.05
    p, q = p / p.sum(), q / q.sum()
    T = coupling(rng, p, q)
    fixed = T * rng.random((n, m)) * (rng.random((n, m)) < 0.5)
    free = T - fixed
    limits = np.minimum(free * (1 + rng.random((n, m))) + 1e-3 * rng.random((n, m)), 1.0)
    part = Part(fixed, 0.0, limits, (free.sum(axis=1), free.sum(axis=0)))
    below = children(part)
    assert all((child >= fixed).all() and (child > fixed).sum() == 1 for child in below)
    assert any((child <= T + 1e-15).all() for child in below)


def least_of_two_points(C1, C2, p, q):
    """Least objective between two spaces of two points: a parabola in one number, on an interval."""
    low, high = max(0.0, p[0] - q[1]), min(p[0], q[0])

    def value(t):
        return reference.objective(C1, C2, [[t, p[0] - t], [q[0] - t, p[1] - q[0] + t]])

    a, b, c = value(low), value((low + high) / 2), value(high)
    ends, curve = min(a, c), 2 * (a - 2 * b + c)
    if curve <= 0 or high <= low:
        return ends
    t = 0.5 - (c - a) / (2 * curve)
    return min(ends, value(low + t * (high - low))) if 0 < t < 1 else ends


@settings(max_examples=4)
@given(
    seed=st.integers(0, 10**6),
    kinds=st.tuples(st.sampled_from(KINDS), st.sampled_from(KINDS)),
    symmetric=st.booleans(),
    weighted=st.booleans(),
)
def test_two_points_are_solved(seed, kinds, symmetric, weighted):
    rng = np.random.default_rng(seed)
    C1, C2 = (cost(rng, 2, kind, symmetric) for kind in kinds)
    C2 = C2 * (np.abs(C1).max() + 1e-30) / (np.abs(C2).max() + 1e-30)
    p, q = (weights(rng, 2, "spread") if weighted else np.array([0.5, 0.5]) for _ in range(2))
    problem = reference.problem_of(C1, C2, p, q, None, None)
    least = least_of_two_points(C1, C2, p, q)
    search = CouplingSearch(problem)
    stop = search.run(least, 1e-3, Budget().within(20), 300)
    assert search.bound.value <= least
    assert stop is Stop.OPTIMAL
    assert search.bound.value >= least - 2e-3 * least - 1e-9 * problem.size
    # an aim above the optimum: now nothing but the parts keeps the bound below it
    loose = CouplingSearch(problem)
    loose.run(1.2 * least + 0.05 * problem.size, 1e-3, Budget().within(20), 60)
    assert loose.bound.value <= least


def test_couplings_better_than_permutations_are_proved():
    u = np.array([1.0, -1.0, 0.0])
    C1, C2 = np.outer(u, u), -np.outer(u, u)
    best = reference.objective(C1, C2, np.full((3, 3), 1 / 9))
    assert best < reference.best_permutation(C1, C2)
    result = gwfast.exact_gw(C1, C2, effort="prove", rtol=1e-3, time_limit=30)
    assert result.gap <= 1e-3
    assert result.lower <= best <= result.value * (1 + 1e-12)


@settings(max_examples=10)
@given(case=cases(max_points=4, fused=False))
def test_no_plan_is_below_the_bound(case):
    rng, problem = np.random.default_rng(0), problem_of(case)
    p, q = case.weights
    least = reference.best_descent(case.C1, case.C2, p, q, 6, rng)
    search = CouplingSearch(problem)
    before = -math.inf
    for parts in (1, 3, 10):
        search.run(1.2 * least + 0.05 * case.size, 1e-3, parts=parts)  # an aim that does not hold the bound down
        assert before <= search.bound.value <= least * (1 + 1e-12) + 1e-15 * case.size
        before = search.bound.value
    assert float(problem.objective(search.plan)) >= before


def test_limits():
    rng = np.random.default_rng(5)  # two graphs that the cone alone leaves open
    C1, C2 = cost(rng, 7, "graph"), cost(rng, 7, "graph")
    problem = reference.problem_of(C1, C2, None, None, None, None)
    least = reference.best_permutation(C1, C2)
    search = CouplingSearch(problem, lower=0.01)
    assert search.bound.value == 0.0  # nothing was run: nothing is claimed
    assert search.run(least, 0.0, Budget(-math.inf)) is Stop.TIME_LIMIT
    assert search.parts == 1
    root = search.bound.value
    assert 0.0 < root < 0.999 * least
    assert search.run(least, 0.0, parts=60) is None
    assert root < search.bound.value <= least


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_scales(scale):
    rng = np.random.default_rng(1)
    C1, C2 = cost(rng, 4, "normal"), cost(rng, 3, "normal")
    values = []
    for factor in (1.0, scale):
        problem = reference.problem_of(factor * C1, factor * C2, None, None, None, None)
        plan = gwfast.exact_gw(factor * C1, factor * C2)
        search = CouplingSearch(problem)
        search.run(plan.value, 1e-3, parts=20)
        values.append(search.bound.value / factor**2)
    assert values[0] > 0
    assert values[1] == pytest.approx(values[0], rel=1e-2)
