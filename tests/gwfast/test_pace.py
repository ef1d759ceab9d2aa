"""Time limits, on clocks of our own: what is begun ends in time, what cannot is left out or given up."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

import reference
from gwfast.bounds import doubly_nonnegative as cone
from gwfast.bounds import quadratic, split
from gwfast.bounds import rlt1 as reformulation
from gwfast.bounds.pace import Pace, seconds_of_sweep, seconds_to_begin
from gwfast.budget import Budget
from gwfast.heuristics import conditional_gradient
from gwfast.heuristics.products import Products
from gwfast.heuristics.sorting import best_sorted
from gwfast.kernels import rlt1 as host_sweeps
from gwfast.kernels.row_blocks import OutOfTime, RowBlocks
from gwfast.result import Stop
from gwfast.searches import branch_and_bound, coupling_search, low_dimension
from strategies import cost

BEGIN, SWEEP, CERTIFICATE = 6.0, 1.0, 3.0


class Clock:
    """A clock that work sets forward; `step` seconds pass at every look at it."""

    def __init__(self, step=0.0):
        self.seconds, self.step = 100.0, step

    def now(self):
        self.seconds += self.step
        return self.seconds

    def budget(self, seconds=math.inf):
        return Budget(clock=self.now).within(seconds)


def timed_backend(clock, seconds=lambda kind, count: kind):
    """The compiled backend, each call of which takes what `seconds` says of its usual time and its number."""
    count = dict.fromkeys(("start", "sweep", "dual_means"), 0)

    def slow(name, usual):
        def call(*args):
            count[name] += 1
            clock.seconds += seconds(usual, count[name])
            return getattr(host_sweeps, name)(*args)

        return call

    names = ("RowBlocks", "make_costs", "refresh", "restep", "marginal", "to_host")
    usual = {"start": BEGIN, "sweep": SWEEP, "dual_means": CERTIFICATE}
    return SimpleNamespace(
        **{name: getattr(host_sweeps, name) for name in names}, **{name: slow(name, s) for name, s in usual.items()}
    )


def graphs(n=6, seed=0):
    rng = np.random.default_rng(seed)
    return reference.problem_of(cost(rng, n, "graph"), cost(rng, n, "graph"), None, None, None, None)


def clouds(n=6, seed=0):
    import gwfast

    rng = np.random.default_rng(seed)
    x, y = (gwfast.PointCloud(rng.normal(size=(n, 2)), "sqeuclidean") for _ in range(2))
    return reference.problem_of(x, y, None, None, None, None)


def test_pace_rises_at_once_and_falls_slowly():
    pace = Pace()
    pace.begun(8.0)
    assert pace.sweep == 2.0
    pace.swept(1.0)  # a measurement replaces the guess
    assert pace.sweep == 1.0
    pace.swept(3.0)
    assert pace.sweep == 3.0
    pace.swept(1.0)
    assert pace.sweep == 2.0
    assert pace.reserve > 3 * pace.sweep
    pace.certified(1.0)
    assert 1.0 < pace.reserve < 2.0


def test_the_last_certificate_waits_for_sweeps_that_leave_no_time_for_another():
    pace = Pace(sweep=1.0, certificate=3.0)
    assert pace.group(20, 1000.0) == 20
    assert pace.group(20, math.inf) == 20
    assert pace.group(20, 30.0) == 40  # `run` stops them in time
    assert Pace().group(20, 0.0) == 20


def test_small_problems_are_begun_sooner():
    assert seconds_to_begin(144) < 0.01 < seconds_to_begin(10_000)
    assert Pace(sweep=1.0, certificate=3.0).fits(5.0)
    assert not Pace(sweep=1.0, certificate=3.0).fits(4.0)
    assert seconds_of_sweep(200) == 4 * seconds_of_sweep(100)


def test_workers_leave_out_blocks_after_the_deadline():
    seen = []
    for size in (10, 1 << 22):
        with RowBlocks(16, size, 2) as workers:
            workers.run(lambda low, high: seen.append((low, high)))
            assert sum(high - low for low, high in seen) == 16
            seen.clear()
            workers.budget = Budget(-math.inf)
            with pytest.raises(OutOfTime):
                workers.run(lambda low, high: seen.append((low, high)))
            assert not seen


@pytest.mark.parametrize("seconds", [0.0, 3.0, 9.0, 12.0, 17.0, 35.0, 60.0, 200.0, 1000.0])
def test_the_reformulation_keeps_its_limit(seconds):
    clock = Clock()
    problem = graphs()
    result = reformulation.reformulation_bound(
        problem,
        float(problem.objective(best_sorted(problem).plan)),
        0.0,
        clock.budget(seconds),
        backend=timed_backend(clock),
    )
    taken = clock.seconds - 100.0
    assert result.stop is Stop.TIME_LIMIT
    assert taken <= max(seconds, BEGIN)  # the fake kernel that makes the state cannot be stopped half way
    assert (result.sweeps > 0) == (seconds >= 17)
    if result.sweeps:
        assert taken >= 0.8 * seconds - CERTIFICATE - 2 * SWEEP  # what is left is for the inner problems
        assert result.bound.value > 0
    assert result.dual.verify(problem).value >= result.bound.value * (1 - 1e-12)


def test_one_certificate_is_enough_where_time_is_short():
    clock = Clock()
    certificates = []
    backend = timed_backend(clock, lambda usual, count: certificates.append(count) or usual if usual == 3.0 else usual)
    result = reformulation.reformulation_bound(
        graphs(), 1.0, 0.0, clock.budget(BEGIN + 30.0 + CERTIFICATE), backend=backend
    )
    assert certificates == [1]
    assert result.sweeps > 20


@pytest.mark.parametrize("slower", [2.0, 5.0])
def test_sweeps_that_slow_down_end_in_time(slower):
    clock = Clock()
    backend = timed_backend(clock, lambda usual, count: usual * slower if usual == SWEEP and count > 10 else usual)
    result = reformulation.reformulation_bound(graphs(), 1.0, 0.0, clock.budget(60.0), backend=backend)
    assert 10 < result.sweeps < 60
    assert clock.seconds - 100.0 <= 60.0 + slower * SWEEP


def test_what_is_far_too_late_is_given_up_and_the_last_bound_kept():
    problem, bounds = graphs(), []
    for late in (1.0, 100.0):
        clock = Clock()
        backend = timed_backend(
            clock, lambda usual, count, late=late: usual * late if usual == 3.0 and count > 1 else usual
        )
        run = reformulation.Reformulation(problem, 1.0, backend=backend)
        assert reformulation.drive(run, 1.0, 0.0, clock.budget(90.0), 10_000) is Stop.TIME_LIMIT
        bounds.append(run.best.value)
        assert run.dual.verify(problem).value >= run.best.value * (1 - 1e-12)
    assert 0 < bounds[1] < bounds[0]


def test_pauses_change_nothing():
    problem, pauses = graphs(), 0
    whole, paused = reformulation.Reformulation(problem, 1.0), reformulation.Reformulation(problem, 1.0)
    assert reformulation.drive(whole, 1.0, 0.0, Budget(), 300) is Stop.ITERATIONS
    while reformulation.drive(paused, 1.0, 0.0, Budget(), 300, groups=1) is None:
        pauses += 1
    assert pauses > 3
    assert paused.sweeps == whole.sweeps
    assert paused.best.value == whole.best.value


def test_short_bounds_hold_and_grow_with_time():
    problem = graphs(8)
    value = float(problem.objective(best_sorted(problem).plan))
    for bound in (quadratic.quadratic_bound, lambda p, **limit: split.split_bounds(p, value, **limit)):
        short, long = (float(bound(problem, budget=Clock(1.0).budget(t))[0].value) for t in (0.0, math.inf))
        assert 0 <= short <= long <= value


def test_the_cone_keeps_its_limit():
    problem = graphs(5)
    upper = float(problem.objective(best_sorted(problem).plan))
    clock = Clock(step=0.25)
    steps = []
    for seconds in (0.0, 40.0, 400.0):
        begin = clock.seconds
        steps.append(cone.cone_bound(problem, 2 * upper, 0.0, clock.budget(seconds), steps=10_000).steps)
        assert clock.seconds - begin <= seconds + 5.0
    assert steps[0] == 0 < steps[1] < steps[2]


def test_a_descent_that_is_out_of_time_returns_its_start():
    problem = graphs()
    start = best_sorted(problem).plan
    found = conditional_gradient.conditional_gradient(
        Products(problem, False), start, name="sorted", tol=1e-9, max_iter=9, budget=Budget(-math.inf)
    )
    assert found.plan is start
    assert found.stop is Stop.TIME_LIMIT
    assert math.isnan(found.stationarity)


def test_children_that_were_left_out_stay_bounded_by_their_part():
    rng = np.random.default_rng(3)
    problem = reference.problem_of(cost(rng, 3, "normal"), cost(rng, 3, "normal"), None, None, None, None)
    whole = coupling_search.CouplingSearch(problem)
    value = float(problem.objective(best_sorted(problem).plan))
    whole.run(value, 1e-3, parts=40)
    cut = coupling_search.CouplingSearch(problem)
    for k in range(2, 14, 2):  # the deadline passes between two children
        cut.run(value, 1e-3, Clock(step=1.0).budget(1000.0 * k + 0.5))
        assert cut.bound.value <= value
        assert cut.bound.value <= whole.bound.value + 1e-3 * value + whole.bound.margin
    cut.run(value, 1e-3, parts=40)
    assert cut.bound.value <= value


def test_searches_stop_at_once_where_there_is_no_time():
    problem = clouds()
    boxes = low_dimension.low_dimension_search(problem, budget=Clock(1.0).budget(0.5))
    tree = branch_and_bound.permutation_search(problem, budget=Clock(1.0).budget(0.5))
    assert boxes.stop is tree.stop is Stop.TIME_LIMIT
    assert boxes.bound.value <= float(problem.objective(boxes.plan)) * (1 + 1e-12)
    assert tree.bound.value <= float(problem.objective(tree.plan)) * (1 + 1e-12)
    assert branch_and_bound.search_seconds(40) > branch_and_bound.search_seconds(20)
