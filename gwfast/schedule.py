"""The ladder of lower bounds, climbed rung by rung until an effort, a gap, a time or a memory limit is reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gwfast import clock
from gwfast.arrays import item, to_numpy
from gwfast.bounds.doubly_nonnegative import cone_bound, cone_memory, cone_seconds
from gwfast.bounds.one_feature import OneFeature, fit, one_feature_bound
from gwfast.bounds.pace import worth_beginning
from gwfast.bounds.quadratic import quadratic_bound
from gwfast.bounds.rlt1 import Reformulation, drive, memory
from gwfast.bounds.second_lower_bound import second_lower_bound
from gwfast.bounds.sorting import sorting_bounds
from gwfast.bounds.spectral import eigenvalue_bounds
from gwfast.bounds.split import split_bounds
from gwfast.bounds.third_lower_bound import row_bounds
from gwfast.plan import Plan
from gwfast.problem import Problem
from gwfast.result import Bound, Rounding, Stop, judge
from gwfast.searches.branch_and_bound import permutation_search, search_seconds
from gwfast.searches.coupling_search import CouplingSearch
from gwfast.searches.low_dimension import low_dimension_search, suits
from gwfast.transport import is_uniform

EFFORTS = ("sort", "rows", "spectral", "dual", "prove")
SECONDS = {"sort": math.inf, "rows": math.inf, "spectral": math.inf, "dual": 10.0, "prove": 60.0}
MEMORY = 4 * 2**30
LAST_PASSES = 6e-8  # seconds an entry of both costs, for the cheap bounds and the value of a plan, on a slow machine
# seconds of the rungs that cannot be stopped: an entry sorted, a step of row products, of an eigendecomposition
_ENTRY, _ROW_STEP, _WEIGHTED_STEP, _EIGEN_STEP = 2e-7, 3e-10, 1.5e-9, 3e-10

_SPLIT, _TREE = 40_000, 40  # sizes nm and n up to which a rung is worth its time
_CONE, _LARGE_CONE, _PATIENT = 1_000, 2_500, 40.0  # sizes nm of the cone, the larger one with this many seconds left
_SHARE_BEFORE_LARGE_CONE = 0.25
_QUADRATIC_SHARE, _SPLIT_SHARE = 0.08, 0.3  # of a short time, as what follows proves more
_COUPLINGS, _PARTS, _SHARE_BEFORE_COUPLINGS = 300, 20, 0.3  # size nm, parts between two looks at the plan
_SLICE = 1.0  # seconds of the reformulation between two looks at its plan


@dataclass
class Aim:
    """What a climb is after; the one who improves the plan lowers `upper` while it runs.

    Attributes
    ----------
    upper : float
        Proved upper end of the best plan known; it sets step lengths and the stop, never a bound.
    upper_margin : float
        Its rounding margin.
    plan : Plan or None
        That plan, where searches may start.
    gap : float
        Relative gap to stop at.
    deadline : float
        clock.now() to stop at.
    memory : float
        Bytes that a rung may take.
    lower : float
        Best bound so far.
    margin : float
        Its rounding margin.
    cut : bool
        Whether a rung was cut short, or left out, for want of time.
    """

    upper: float = math.inf
    upper_margin: float = 0.0
    gap: float = 0.0
    deadline: float = math.inf
    memory: float = MEMORY
    lower: float = -math.inf
    margin: float = 0.0
    plan: Plan | None = None
    cut: bool = False

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.deadline - clock.now()

    @property
    def reached(self) -> bool:
        """Whether the gap is closed as far as asked, or to rounding."""
        if not math.isfinite(self.upper):
            return False
        found = judge(self.lower, self.upper, self.margin, self.upper_margin, 0.0)
        closed = found is not Rounding.OPEN
        return closed or self.upper - self.lower <= self.gap * abs(self.upper)

    def hold(self, plan: Plan, bound: Bound) -> None:
        """Take `plan`, whose upper end is `bound`, as the best one known."""
        self.plan, self.upper, self.upper_margin = plan, item(bound.value), bound.margin

    def take(self, bounds: tuple[Bound, ...]) -> None:
        """Keep the best of some bounds."""
        for bound in bounds:
            if item(bound.value) > self.lower:
                self.lower, self.margin = item(bound.value), bound.margin


@dataclass(frozen=True, eq=False)
class Rung:
    """What one rung gave: its bounds, a plan to start local search from, or none."""

    name: str
    bounds: tuple[Bound, ...]
    plan: Plan | None = None


def keep_best(found: dict[str, Bound], bounds: Iterable[Bound]) -> None:
    """Keep the largest bound of each theorem in `found`."""
    for bound in bounds:
        old = found.get(bound.theorem)
        if old is None or item(bound.value) > item(old.value):
            found[bound.theorem] = bound


def one_feature_forms(problem: Problem) -> tuple[OneFeature, OneFeature] | None:
    """Both costs in one-feature form, or None."""
    x = fit(problem.x)
    if x is None:
        return None
    y = fit(problem.y)
    return None if y is None else (x, y)


def climb(problem: Problem, effort: str, aim: Aim) -> Iterator[Rung]:
    """Yield the rungs up to `effort`, cheapest first, until the aim is reached or its limits are.

    The first is always climbed.  Each bound says in `seconds` what it cost.  `aim.lower` and `aim.margin` are kept up
    to date.
    """
    for number, (make, least) in enumerate(_rungs(problem, effort, aim)):
        if number and (aim.reached or aim.left <= 0):
            return
        if number and least > aim.left:
            aim.cut = True
            continue
        begin = clock.now()
        for rung in _numbers(make):
            seconds = clock.now() - begin
            share = seconds / max(1, len(rung.bounds))
            bounds = tuple(replace(b, seconds=share, value=_proved(b)) for b in rung.bounds)
            aim.take(bounds)
            yield Rung(rung.name, bounds, rung.plan)


def _numbers(make: Callable[[], Iterator[Rung]]) -> Iterator[Rung]:
    """The rungs, up to where costs or weights are so extreme that linear algebra gives up."""
    with suppress(np.linalg.LinAlgError):
        yield from make()


def _proved(bound: Bound) -> Any:
    """The value of a bound; minus infinity where extreme weights or costs left no number."""
    return bound.value if item(bound.value) == item(bound.value) else -math.inf


def _rungs(problem: Problem, effort: str, aim: Aim) -> Iterator[tuple[Callable[[], Iterator[Rung]], float]]:
    """What climbs each rung, and the seconds that it takes where it cannot be stopped."""
    level = EFFORTS.index(effort)
    yield lambda: _sorting(problem), 0.0
    if level == 0:
        return
    problem = problem.detached()
    n, m = problem.shape
    yield lambda: iter([Rung("entries", (second_lower_bound(problem),))]), _ENTRY * (n * n + m * m)
    step = _ROW_STEP if is_uniform(problem.p, problem.q) else _WEIGHTED_STEP
    yield lambda: _rows(problem), step * n * m * (n + m)
    if level >= 2:
        yield lambda: iter([Rung("spectral", eigenvalue_bounds(problem))]), _EIGEN_STEP * (n**3 + m**3)
    if level >= 3:
        yield lambda: _quadratic(problem, _QUADRATIC_SHARE * aim.left), _EIGEN_STEP * (n**3 + m**3)
        if n * m <= _SPLIT:
            upper = aim.upper if math.isfinite(aim.upper) else None
            share = _SPLIT_SHARE if worth_beginning(n * m, (1 - _SPLIT_SHARE) * aim.left) else 1.0
            yield lambda: iter([Rung("split", split_bounds(problem, upper, time_limit=share * aim.left))]), 0.0
        later = _later(problem, aim) if level >= 4 else ()
        # what comes after the reformulation gets the rest of the time; small problems stop it early by themselves
        large = n * m > _CONE and _cone in later
        share = _SHARE_BEFORE_LARGE_CONE if large else 0.5 if later else 1.0
        yield lambda: _reformulation(problem, aim, share), 0.0
        for number, rung in enumerate(later, start=1):
            part = 1.0 if number == len(later) else 0.5
            yield lambda rung=rung, part=part: rung(problem, aim, part), 0.0


def _later(problem: Problem, aim: Aim) -> tuple[Callable[[Problem, Aim, float], Iterator[Rung]], ...]:
    """The searches and the cone that a problem of this kind and size, and the time left, allow."""
    n, m = problem.shape
    pairs = n * m
    allowed = {
        _low_dimension: suits(problem),
        _tree: n == m <= _TREE and is_uniform(problem.p, problem.q),
        _cone: pairs <= (_LARGE_CONE if aim.left >= _PATIENT else _CONE) and cone_memory(problem) <= aim.memory,
        _couplings: pairs <= _COUPLINGS and math.isfinite(aim.upper),
    }
    seconds = {_tree: search_seconds(n), _cone: cone_seconds(problem), _couplings: cone_seconds(problem)}
    fit = {rung for rung in allowed if seconds.get(rung, 0.0) <= aim.left / 2}
    aim.cut |= any(may and rung not in fit for rung, may in allowed.items())
    return tuple(rung for rung, may in allowed.items() if may and rung in fit)


def _sorting(problem: Problem) -> Iterator[Rung]:
    bounds = sorting_bounds(problem)
    family = one_feature_forms(problem)
    if family is not None:
        bounds += (one_feature_bound(problem, *family),)
    yield Rung("sorting", bounds)


def _rows(problem: Problem) -> Iterator[Rung]:
    bounds, solution = row_bounds(problem)
    yield Rung("rows", bounds, solution.plan(problem.p))


def _quadratic(problem: Problem, seconds: float) -> Iterator[Rung]:
    bound, plan = quadratic_bound(problem, time_limit=seconds)
    yield Rung("quadratic", (bound,), plan)


def _reformulation(problem: Problem, aim: Aim, share: float) -> Iterator[Rung]:
    """Slices of the reformulation, each with the plan that it stands for; `share` of the time that is left."""
    seconds = share * aim.left
    if memory(problem) > aim.memory:
        return
    if not worth_beginning(problem.shape[0] * problem.shape[1], seconds):
        aim.cut = True
        return
    end = clock.now() + seconds
    run = Reformulation(problem, aim.upper if math.isfinite(aim.upper) else None, seconds=seconds)
    length = 0.1
    try:
        while True:
            upper = aim.upper if math.isfinite(aim.upper) else None
            stop = drive(run, upper, aim.gap, end, 1_000_000, pause=clock.now() + length)
            aim.cut |= stop is Stop.TIME_LIMIT
            yield Rung("reformulation", (run.best,), run.plan())
            if stop is not None or aim.reached:
                return
            length = min(2 * length, _SLICE * 4)
    finally:
        run.close()


def _low_dimension(problem: Problem, aim: Aim, share: float) -> Iterator[Rung]:
    result = low_dimension_search(problem, aim.plan, max(aim.gap, 1e-9), share * aim.left)
    if result is not None:
        aim.cut |= result.stop is Stop.TIME_LIMIT
        yield Rung("low dimension", (result.bound,), result.plan)


def _cone(problem: Problem, aim: Aim, share: float) -> Iterator[Rung]:
    upper = aim.upper if math.isfinite(aim.upper) else None
    seconds = aim.left * (_SHARE_BEFORE_COUPLINGS if share < 1 else 1.0)
    result = cone_bound(problem, upper, aim.gap, seconds, memory_limit=aim.memory)
    if result is not None:
        aim.cut |= result.stop is Stop.TIME_LIMIT
        yield Rung("cone", (result.bound,))


def _couplings(problem: Problem, aim: Aim, _: float) -> Iterator[Rung]:
    search, stop = CouplingSearch(problem, aim.lower), None
    while stop is None and not aim.reached and aim.left > 0:
        stop = search.run(aim.upper, aim.gap, aim.deadline, _PARTS)
        aim.cut |= stop is Stop.TIME_LIMIT
        yield Rung("coupling search", (search.bound,), search.plan)


def _tree(problem: Problem, aim: Aim, share: float) -> Iterator[Rung]:
    start = None if aim.plan is None else aim.plan.permutation
    start = None if start is None else to_numpy(start)
    limit = aim.left * (share if problem.shape[0] ** 2 <= _CONE else 1.0)
    result = permutation_search(problem, start, max(aim.gap, 1e-9), limit, memory_limit=aim.memory)
    if result is not None:
        aim.cut |= result.stop is Stop.TIME_LIMIT
        yield Rung("branch and bound", (result.coupling_bound,), result.plan)
