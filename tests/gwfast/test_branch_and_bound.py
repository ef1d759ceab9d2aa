"""Search over permutations: against brute force, its limits, and what it proves about couplings."""

import math
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from gwfast.bounds.scaled import scaled
from gwfast.budget import Budget
from gwfast.result import Stop
from gwfast.searches import branch_and_bound
from gwfast.searches.branch_and_bound import permutation_search, search_memory
from gwfast.searches.permutation_slack import permutation_slack
from strategies import KINDS, Case, cost


def problem_of(C1, C2, M=None, alpha=None, p=None):
    return reference.problem_of(*vars(Case(C1, C2, p, p, M, alpha)).values())


def many_paths(patch, cheap):
    """One engine, and a tree that is torn into as many searches as it can be."""
    patch.setattr(branch_and_bound, "POLICY", replace(branch_and_bound.POLICY, cheap_points=99 if cheap else 0))
    patch.setattr(branch_and_bound, "POLICY", replace(branch_and_bound.POLICY, cheap_gap=-1e9))
    patch.setattr(branch_and_bound, "POLICY", replace(branch_and_bound.POLICY, tree_slice=0))
    patch.setattr(branch_and_bound, "POLICY", replace(branch_and_bound.POLICY, cheap_slice=1))
    patch.setattr(branch_and_bound, "processors", lambda: 4)


@pytest.mark.parametrize("cheap", [True, False])
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 6),
    kinds=st.tuples(st.sampled_from(KINDS), st.sampled_from(KINDS)),
    symmetric=st.booleans(),
    fused=st.booleans(),
)
def test_matches_brute_force(cheap, seed, n, kinds, symmetric, fused):
    rng = np.random.default_rng(seed)
    C1, C2 = cost(rng, n, kinds[0], symmetric), cost(rng, n, kinds[1], symmetric)
    C2 = C2 * (np.abs(C1).max() + 1e-30) / (np.abs(C2).max() + 1e-30)
    M, alpha = (rng.normal(size=(n, n)) * np.abs(C1).max() ** 2, 0.4) if fused else (None, None)
    problem = problem_of(C1, C2, M, alpha)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(branch_and_bound, "POLICY", replace(branch_and_bound.POLICY, cheap_points=99 if cheap else 0))
        patch.setattr(branch_and_bound, "POLICY", replace(branch_and_bound.POLICY, cheap_gap=-1e9))
        result = permutation_search(problem)
    best = reference.best_permutation(C1, C2, M, 1.0 if alpha is None else alpha)
    value = float(problem.objective(result.plan))
    scale = problem.size + (0 if M is None else np.abs(M).max())
    assert result.stop is Stop.OPTIMAL
    assert value <= best + 1e-9 * abs(best) + 1e-11 * scale
    assert result.bound.value <= best
    assert result.bound.value >= best - 3e-9 * abs(best) - 1e-9 * scale - 1e-40
    assert result.coupling_bound.value <= result.bound.value


@pytest.mark.parametrize("cheap", [True, False])
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 7), kind=st.sampled_from(["normal", "graph", "ties"]))
def test_searches_that_share_a_tree(cheap, seed, n, kind):
    rng = np.random.default_rng(seed)
    C1, C2 = cost(rng, n, kind), cost(rng, n, kind)
    problem, best = problem_of(C1, C2), reference.best_permutation(C1, C2)
    room = 3e-9 * best + 1e-9 * problem.size
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(branch_and_bound, "good_permutation", lambda s, plans: np.arange(n))  # leaves much to be found
        many_paths(patch, cheap)
        runs = [permutation_search(problem, sweeps=1, node_limit=limit) for limit in (1, 2, 3, 5, 8, 13, 21, 34, 10**6)]
        again = permutation_search(problem, sweeps=1)
    assert runs[-1].stop is Stop.OPTIMAL
    assert abs(float(problem.objective(runs[-1].plan)) - best) <= room
    assert best - room <= runs[-1].bound.value
    for run, limit in zip(runs, (1, 2, 3, 5, 8, 13, 21, 34, 10**6)):
        assert run.nodes <= limit
        assert run.bound.value <= best
        assert best <= float(problem.objective(run.plan)) + room
    assert (again.nodes, again.bound.value) == (runs[-1].nodes, runs[-1].bound.value)  # threads change nothing
    assert np.array_equal(again.plan.permutation, runs[-1].plan.permutation)


def _two(rng, graphs, n):
    same = [g for g in graphs if len(g) == n]
    return [same[i] for i in rng.integers(0, len(same), 2)]


def test_all_small_graphs():
    rng = np.random.default_rng(0)
    graphs = [g for g in nx.graph_atlas_g() if 5 <= len(g) <= 6]
    for _ in range(40):
        n = int(rng.integers(5, 7))
        pair = [nx.to_numpy_array(g) for g in _two(rng, graphs, n)]
        result = permutation_search(problem_of(*pair))
        best = reference.best_permutation(*pair)
        assert result.stop is Stop.OPTIMAL
        assert abs(float(problem_of(*pair).objective(result.plan)) - best) <= 1e-12
        assert best - 1e-8 <= result.bound.value <= best


def test_clouds_are_proved_over_couplings():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 14, 3))
    C1, C2 = (np.linalg.norm(z[:, None] - z[None], axis=2) for z in (x, y))
    problem = problem_of(C1, C2)
    result = permutation_search(problem)
    value = float(problem.objective(result.plan))
    assert result.stop is Stop.OPTIMAL
    assert value * (1 - 1e-6) <= result.coupling_bound.value <= value
    best = reference.best_descent(C1, C2, problem.p, problem.q, 5, rng)
    assert result.coupling_bound.value <= best


def test_slack_is_large_where_couplings_can_be_better():
    # opposite signs: no permutation aligns them, the product coupling does
    u = np.array([1.0, -1.0, 0.0])
    problem = problem_of(np.outer(u, u), -np.outer(u, u))
    result = permutation_search(problem)
    product = float(np.mean(np.outer(u, u) ** 2) * 2)
    assert product < float(problem.objective(result.plan))
    assert result.coupling_bound.value <= product < result.bound.value
    assert permutation_slack(scaled(problem)) > 0.1
    gram = problem_of(np.outer(u, u), 2 * np.outer(u, u))
    assert permutation_slack(scaled(gram)) < 1e-11


def test_limits_leave_a_valid_bound():
    rng = np.random.default_rng(2)
    C1, C2 = cost(rng, 13, "normal"), cost(rng, 13, "normal")
    problem = problem_of(C1, C2)
    exact = permutation_search(problem)
    assert exact.stop is Stop.OPTIMAL
    few = permutation_search(problem, node_limit=50)
    assert few.stop is Stop.ITERATIONS
    assert few.nodes <= 50
    value = float(problem.objective(exact.plan))
    assert few.bound.value <= value <= float(problem.objective(few.plan)) * (1 + 1e-12)
    assert permutation_search(problem, budget=Budget().within(0.0)).stop is Stop.TIME_LIMIT
    loose = permutation_search(problem, gap=0.5)
    assert loose.stop in (Stop.GAP_REACHED, Stop.OPTIMAL)
    assert permutation_search(problem, budget=Budget(memory=search_memory(problem) - 1)) is None


def test_other_weights_are_refused():
    rng = np.random.default_rng(3)
    C = cost(rng, 3, "cloud")
    assert permutation_search(problem_of(C, C, p=np.array([0.5, 0.25, 0.25]))) is None


@pytest.mark.parametrize("scale", [1e-90, 1e90])
def test_scales_ties_and_equal_problems(scale):
    rng = np.random.default_rng(4)
    C = np.round(cost(rng, 5, "normal"))
    for other in (C, C[::-1, ::-1], np.zeros((5, 5)), np.ones((5, 5))):
        result = permutation_search(problem_of(scale * C, scale * other))
        best = reference.best_permutation(C, other) * scale**2
        assert result.bound.value <= best * (1 + 1e-15)
        assert math.isclose(
            float(problem_of(scale * C, scale * other).objective(result.plan)),
            best,
            rel_tol=1e-9,
            abs_tol=1e-9 * scale**2,
        )
