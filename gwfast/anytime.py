"""An anytime call: improve the plan and the bound in turn until the gap, the time or the effort ends."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace

from gwfast.arrays import item
from gwfast.budget import UNLIMITED, Budget
from gwfast.heuristics.descent import Descent, best_descent, descend
from gwfast.heuristics.permutations import permuted
from gwfast.heuristics.sampled import takes_rows
from gwfast.heuristics.sorting import best_sorted
from gwfast.marginals import BALANCED
from gwfast.method import Found, Incumbent, keep_best
from gwfast.methods import METHODS, OVER_PERMUTATIONS
from gwfast.plan import Plan
from gwfast.plan_value import plan_value
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound, Rounding, Stop
from gwfast.schedule import Climb


@dataclass
class Progress:
    """Lines as mixed-integer solvers print them, to stderr."""

    show: bool
    begin: float
    unit: float = 1.0  # of the caller's objective in that of the problem
    shift: float = 0.0  # what the caller's objective has beyond it

    def say(self, what: str) -> None:
        """Print time and what was just done."""
        if self.show:
            print(f"{UNLIMITED.now() - self.begin:8.2f} s   {what}", file=sys.stderr, flush=True)

    def line(self, incumbent: Incumbent, budget: Budget, what: str) -> None:
        """Print time, incumbent, bound, gap and what was just done."""
        if not self.show:
            return
        upper, lower = incumbent.upper, incumbent.lower
        proved = math.isfinite(lower)
        lower, upper = (self.unit * end + self.shift for end in (lower, upper))
        bound = f"{lower:<12.7g}" if proved else f"{'-':<12}"
        gap = f"{100 * (upper - lower) / abs(upper):7.3f} %" if proved and upper else f"{'-':>7}  "
        seconds = budget.now() - self.begin
        ends = f"incumbent {upper:<12.7g} bound {bound} gap {gap}"
        print(f"{seconds:8.2f} s   {ends}   {what}", file=sys.stderr, flush=True)


def first_plan(problem: Problem, options: Descent) -> tuple[Found, Incumbent]:
    """The plan that a call starts from, found in its share of the time, and the incumbent that it makes."""
    options = replace(options, budget=options.budget.slice(POLICY.plan_share))
    best = best_descent(problem, options)
    plan: Plan = best.plan  # pyright: ignore[reportAssignmentType]
    return best, Incumbent().with_plan(plan, plan_value(problem, plan).bound)


def prove(
    problem: Problem, effort: str, gap: float, budget: Budget, options: Descent, progress: Progress
) -> tuple[Found, tuple[Bound, ...]]:
    """Return the best plan found and the best bound of every theorem that was used.

    Interrupting it (Ctrl-C) returns what there is so far.
    """
    bounds: dict[str, Bound] = {}
    climb = Climb(problem, effort, budget, methods=OVER_PERMUTATIONS if options.permutations else METHODS)
    stop = Stop.EXHAUSTED
    sorts = problem.marginals is BALANCED and not takes_rows(problem, options.method)  # whose plans cost many passes
    best = best_sorted(problem) if sorts else None
    best = permuted(problem, best) if best is not None and options.permutations else best
    try:
        best, climb.incumbent = first_plan(problem, options)
        climb.incumbent = replace(climb.incumbent, gap=gap, shift=progress.shift / progress.unit)
        progress.line(climb.incumbent, budget, best.start)
        tried = 0
        for name, found in climb:
            keep_best(bounds, found.bounds)
            open_ = not climb.incumbent.closed and not budget.expired
            if found.plan is not None and open_ and tried < POLICY.improvements:
                tried += 1
                best = _improved(problem, best, found.plan, name, climb, options)
            progress.line(climb.incumbent, budget, name)
    except KeyboardInterrupt:
        stop = Stop.INTERRUPTED
        if best is None:
            raise
    if not bounds:  # interrupted before the first one: the cheapest are always there
        for _, found in Climb(problem, "sort", UNLIMITED):
            keep_best(bounds, found.bounds)
    plan: Plan = best.plan  # pyright: ignore[reportAssignmentType]
    incumbent = climb.incumbent.with_bounds(tuple(bounds.values()))
    incumbent = replace(incumbent, gap=gap, shift=progress.shift / progress.unit)
    if incumbent.plan is not plan:
        incumbent = incumbent.with_plan(plan, plan_value(problem, plan).bound)
    if incumbent.closed:
        closed = Stop.GAP_REACHED if incumbent.enough else Stop.ROUNDING
        stop = Stop.OPTIMAL if incumbent.rounding(problem.scale) is Rounding.OPTIMAL else closed
    elif stop is Stop.EXHAUSTED and (climb.cut or budget.expired):
        stop = Stop.TIME_LIMIT
    elif stop is Stop.EXHAUSTED and climb.crowded:
        stop = Stop.MEMORY_LIMIT
    return replace(best, stop=stop), tuple(bounds.values())


def _improved(problem: Problem, best: Found, plan: Plan, name: str, climb: Climb, options: Descent) -> Found:
    """Descend from the plan of a method and keep the better of the two."""
    normal, factor = problem.normalised()
    found = descend(normal, plan, f"the {name} bound", options)
    if found.plan is None:
        return best
    found = permuted(normal, found, climb.budget) if options.permutations else found
    assert found.plan is not None
    bound = plan_value(problem, found.plan).bound
    if item(bound.value) >= climb.incumbent.upper:
        return best
    climb.incumbent = climb.incumbent.with_plan(found.plan, bound)
    return replace(found, stationarity=found.stationarity / factor)
