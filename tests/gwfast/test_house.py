"""What the house promises: no method outside its theorem, one file for a new one, more time never worse."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import ot
import pytest

import gwfast
import reference
from gwfast.anytime import Progress, prove
from gwfast.arrays import namespace
from gwfast.budget import UNLIMITED, Budget
from gwfast.heuristics.annealing import schedule_for
from gwfast.heuristics.descent import Descent
from gwfast.losses import Loss
from gwfast.marginals import BALANCED
from gwfast.method import Domain, Found, Method, OutsideTheorem, one_pass
from gwfast.methods import DUALS, METHODS
from gwfast.plan_value import plan_value
from gwfast.result import Bound
from gwfast.scaling import Scaling
from gwfast.schedule import Climb, lower_bounds
from gwfast.transport import LinearSolution
from strategies import KINDS, cost, weights


def small(seed=0, n=5, m=4, kind="cloud", **more):
    rng = np.random.default_rng(seed)
    return reference.problem_of(cost(rng, n, kind), cost(rng, m, kind), **more)


# --- no method outside its theorem


@dataclass(frozen=True)
class SemiRelaxed:
    """The plans with T 1 = p, written outside the library: one file, and one line where it is used."""

    name: str = "from outside"
    rows_given: bool = True
    columns_given: bool = False
    columns_used: bool = True
    mass: float = 1.0

    def start(self, p, q):
        return BALANCED.start(p, q)

    def minimum(self, cost, p, q, near=None, budget=UNLIMITED):
        cols = cost.argmin(axis=1)
        u = cost.min(axis=1)
        lower = float(p @ u) - 1e-12 * float(p @ np.abs(u))
        return LinearSolution(np.arange(len(p)), cols, p, lower, (u, np.zeros(len(q))))

    penalty = None

    def scaled(self, factor):
        return self

    def project(self, cost, p, q, g, epsilon, tol, max_iter):
        xp = namespace(cost)
        low = xp.min(cost, axis=1)
        K = xp.exp((low[:, None] - cost) / epsilon)
        sums = xp.sum(K, axis=1)
        return Scaling(K * (p / sums)[:, None], epsilon * xp.log(p / sums) + low, xp.zeros_like(g), 0.0, 1)

    def repair(self, T, p, q):
        return T * (p / T.sum(axis=1))[:, None]

    def error(self, plan, p, q):
        return float(np.abs(plan.marginals()[0] - p).max())

    def missing(self, plan, p, q):
        return np.abs(plan.marginals()[0] - p) + 1e-15 * p, np.zeros_like(q)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
@pytest.mark.parametrize("change", [{"marginals": SemiRelaxed()}, {"loss": Loss("of another kind")}])
def test_a_method_refuses_what_it_is_no_theorem_for(method, change):
    problem = replace(small(n=4, m=4), **change)
    assert not method.applies(problem)
    with pytest.raises(OutsideTheorem, match=f"^{method.name}: no theorem for "):
        method.start(problem)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_a_method_declares_its_theorems_and_needs(method):
    problem = small(n=4, m=4)
    plans = {
        "semi_relaxed": gwfast.SemiRelaxed(),
        "partial": gwfast.Partial(0.5),
        "unbalanced": gwfast.Unbalanced(1.0),
    }.get(method.domain.marginals[0])
    problem = problem if plans is None else replace(problem, marginals=plans)
    assert method.effort in gwfast.EFFORTS
    assert method.theorems
    assert method.applies(problem)
    need = method.need(problem)
    assert need.seconds >= 0
    assert need.size >= 0
    run = method.start(problem)
    found = run.step(Budget().within(0.5), 0.0)
    run.close()
    assert (
        found.bounds
        or found.stop is None
        or method.name in ("one feature", "closed", "low dimension", "orthogonal", "rotations")
    )
    assert all(bound.dual is None or isinstance(bound.dual, DUALS[bound.theorem]) for bound in found.bounds)


def test_asymmetric_costs_and_weights_are_refused_where_a_theorem_needs_them():
    rng = np.random.default_rng(0)
    asymmetric = reference.problem_of(cost(rng, 4, "cloud", False), cost(rng, 4, "cloud", False))
    weighted = small(n=4, m=4, p=weights(rng, 4, "spread"))
    by_name = {m.name: m for m in METHODS}
    assert not by_name["split"].applies(asymmetric)
    assert not by_name["branch and bound"].applies(weighted)
    assert by_name["cone"].applies(asymmetric)
    assert by_name["cone"].applies(weighted)


def test_a_method_may_not_give_what_it_does_not_declare():
    liar = Method("liar", "sort", ("one",), one_pass(lambda p: Found((Bound("lower", 9.0, "another"),))), once=True)
    with pytest.raises(OutsideTheorem, match="liar: found bounds of another, which it does not declare"):
        liar.start(small()).step()


def test_what_is_no_loss_and_no_set_of_plans_is_one_line():
    problem = gwfast.Problem.of(np.eye(3), np.eye(2))
    with pytest.raises(gwfast.InputError, match="loss: expected a Loss, found 'kl'"):
        gwfast.exact_gw(replace(problem, loss="kl"))
    with pytest.raises(gwfast.InputError, match="marginals: expected a set of feasible plans, found 3 without name"):
        gwfast.exact_gw(replace(problem, marginals=3))
    with pytest.raises(gwfast.InputError, match="C2: found one beside a Problem"):
        gwfast.exact_gw(problem, np.eye(2))


# --- one file and one line


def test_a_bound_from_outside_joins_the_schedule():
    mine = Method(
        "trace", "rows", ("trace",), one_pass(lambda p: Found((Bound("lower", 0.125, "trace"),))), Domain(), once=True
    )
    climb = Climb(small(), "rows", Budget(), methods=(*METHODS, mine))
    assert {b.theorem: b.value for b in lower_bounds(climb)}["trace"] == 0.125


@pytest.mark.parametrize("fused", [False, True])
def test_semi_relaxed_plans_from_outside_are_solved_and_nothing_false_is_proved(fused):
    rng = np.random.default_rng(3)
    ours, theirs = [], []
    for _ in range(10):
        C1, C2 = cost(rng, 9, "cloud"), cost(rng, 6, "cloud")
        p, M = rng.dirichlet(np.ones(9)), rng.random((9, 6)) if fused else None
        whole = gwfast.Problem.of(C1, C2, p, M=M, alpha=0.6 if fused else None)
        result = gwfast.exact_gw(replace(whole, marginals=SemiRelaxed()))
        T = np.asarray(result.plan)
        np.testing.assert_allclose(T.sum(axis=1), p, atol=1e-14)
        share = 0.6 if fused else 1.0
        assert result.value == pytest.approx(reference.objective(C1, C2, T, M, share), rel=1e-9)
        assert result.lower == -np.inf
        assert result.certificate.best.theorem == "nothing proved"
        ours.append(result.value)
        if fused:
            other = ot.gromov.semirelaxed_fused_gromov_wasserstein(M, C1, C2, p, alpha=0.6)
        else:
            other = ot.gromov.semirelaxed_gromov_wasserstein(C1, C2, p)
        theirs.append(reference.objective(C1, C2, other, M, share))
    assert np.mean(ours) <= np.mean(theirs) + 1e-12
    with pytest.raises(gwfast.InputError, match="sorted_gw matches balanced ones"):
        gwfast.sorted_gw(replace(whole, marginals=SemiRelaxed()))


# --- more time is never worse


class Clock:
    """A clock on which a hundredth of a second passes at every look."""

    def __init__(self):
        self.seconds = 0.0

    def now(self):
        self.seconds += 0.01
        return self.seconds


def gap_after(problem, seconds):
    budget = Budget(clock=Clock().now).within(seconds)
    options = Descent(schedule_for(*problem.shape), budget=budget)
    found, bounds = prove(problem, "prove", 0.0, budget, options, Progress(False, 0.0))
    upper = float(plan_value(problem, found.plan).bound.value)
    lower = min(upper, max(float(b.value) for b in bounds))
    assert lower <= upper
    return upper - lower


@pytest.mark.parametrize("seed", range(20))
def test_more_time_never_leaves_a_wider_gap(seed):
    rng = np.random.default_rng(seed)
    n, m = (int(k) for k in rng.integers(3, 8, 2))
    m = n if seed % 3 == 0 else m
    if seed % 5 == 4:
        x, y = (gwfast.PointCloud(rng.normal(size=(k, 2)), "sqeuclidean") for k in (n, m))
        problem = reference.problem_of(x, y)
    else:
        kind, symmetric = KINDS[seed % 6], seed % 4 != 1
        p = weights(rng, n, "spread") if seed % 2 else None
        problem = reference.problem_of(cost(rng, n, kind, symmetric), cost(rng, m, kind, symmetric), p)
    gaps = [gap_after(problem, 2.0 * units) for units in (1, 2, 4, 8)]
    assert all(b <= a + 1e-9 * problem.size for a, b in pairwise(gaps)), gaps


@pytest.mark.nightly
def test_a_search_that_suits_the_problem_is_met_early_in_real_seconds():
    rng = np.random.default_rng(0)
    x, y = (gwfast.PointCloud(rng.normal(size=(300, 2)), "sqeuclidean") for _ in range(2))
    gaps = [gwfast.exact_gw(x, y, rtol=1e-3, time_limit=seconds).gap for seconds in (2.0, 5.0, 20.0)]
    assert all(b <= a + 1e-3 for a, b in pairwise(gaps)), gaps
    assert gaps[-1] <= 1e-3
