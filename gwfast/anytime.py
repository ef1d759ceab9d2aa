"""An anytime run: improve the plan and the bound in turn until the gap, the time or the effort ends."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace

from gwfast import clock
from gwfast.arrays import item
from gwfast.heuristics.descent import Descent, best_descent, descend
from gwfast.heuristics.solution import Solution
from gwfast.heuristics.sorting import best_sorted
from gwfast.plan import Plan
from gwfast.plan_value import plan_value
from gwfast.problem import Problem
from gwfast.result import Bound, Rounding, Stop, judge
from gwfast.schedule import Aim, Rung, climb, keep_best

_PLAN_SHARE = 0.4  # of a short time, for the first plan


@dataclass
class Progress:
    """Lines as mixed-integer solvers print them, to stderr."""

    show: bool
    begin: float
    unit: float = 1.0  # of the caller's objective in that of the problem

    def line(self, aim: Aim, what: str) -> None:
        """Print time, incumbent, bound, gap and what was just done."""
        if not self.show:
            return
        gap = (aim.upper - aim.lower) / abs(aim.upper) if aim.upper and math.isfinite(aim.lower) else math.nan
        seconds = clock.now() - self.begin
        upper, lower = aim.upper * self.unit, aim.lower * self.unit
        ends = f"incumbent {upper:<12.7g} bound {lower:<12.7g} gap {100 * gap:7.3f} %"
        print(f"{seconds:8.2f} s   {ends}   {what}", file=sys.stderr, flush=True)


def prove(
    problem: Problem, effort: str, aim: Aim, options: Descent, progress: Progress
) -> tuple[Solution, tuple[Bound, ...]]:
    """Return the best plan found and the best bound of every rung that was climbed.

    Interrupting it (Ctrl-C) returns what there is so far.
    """
    best, bounds = best_sorted(problem), {}
    stop = Stop.EXHAUSTED
    aim.hold(best.plan, plan_value(problem, best.plan).bound)
    try:
        share = clock.now() + _PLAN_SHARE * aim.left
        best = best_descent(problem, replace(options, deadline=min(options.deadline, share)))
        aim.hold(best.plan, plan_value(problem, best.plan).bound)
        progress.line(aim, best.start)
        tried = 0
        for rung in climb(problem, effort, aim):
            keep_best(bounds, rung.bounds)
            if rung.plan is not None and not aim.reached and aim.left > 0 and tried < 12:
                tried += 1
                best = _improved(problem, best, rung, aim, options)
            progress.line(aim, rung.name)
    except KeyboardInterrupt:
        stop = Stop.INTERRUPTED
    if not bounds:  # interrupted before the first rung: the cheapest one is always there
        bounds = {b.theorem: b for rung in climb(problem, "sort", Aim()) for b in rung.bounds}
        aim.take(tuple(bounds.values()))
    if aim.reached:
        found = judge(aim.lower, aim.upper, aim.margin, aim.upper_margin, problem.scale)
        enough = aim.upper - aim.lower <= aim.gap * abs(aim.upper)
        hidden = Stop.GAP_REACHED if enough else Stop.ROUNDING
        stop = Stop.OPTIMAL if found is Rounding.OPTIMAL else hidden
    elif stop is Stop.EXHAUSTED and (aim.cut or aim.left <= 0):
        stop = Stop.TIME_LIMIT
    return replace(best, stop=stop), tuple(bounds.values())


def _improved(problem: Problem, best: Solution, rung: Rung, aim: Aim, options: Descent) -> Solution:
    """Descend from the plan of a rung and keep the better of the two."""
    plan: Plan = rung.plan  # pyright: ignore[reportAssignmentType]
    normal, factor = problem.normalised()
    found = descend(normal, plan, f"the {rung.name} bound", options)
    bound = plan_value(problem, found.plan).bound
    if item(bound.value) >= aim.upper:
        return best
    aim.hold(found.plan, bound)
    return replace(found, stationarity=found.stationarity / factor)
