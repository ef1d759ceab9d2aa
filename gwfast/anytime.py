"""An anytime run: improve the plan and the bound in turn until the gap, the time or the effort ends."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, replace

from gwfast._array import item
from gwfast.ladder import Aim, Rung, climb, keep_best
from gwfast.plan import Plan
from gwfast.problem import Problem, objective
from gwfast.result import Bound, Stop
from gwfast.solvers.descent import Descent, best_descent, descend
from gwfast.solvers.solution import Solution
from gwfast.solvers.sorting import best_sorted

_PLAN_SHARE = 0.4  # of a short time, for the first plan


@dataclass
class Progress:
    """Lines as mixed-integer solvers print them, to stderr."""

    show: bool
    begin: float

    def line(self, aim: Aim, what: str) -> None:
        """Print time, incumbent, bound, gap and what was just done."""
        if not self.show:
            return
        gap = (aim.upper - aim.lower) / abs(aim.upper) if aim.upper and math.isfinite(aim.lower) else math.nan
        seconds = time.perf_counter() - self.begin
        ends = f"incumbent {aim.upper:<12.7g} bound {aim.lower:<12.7g} gap {100 * gap:7.3f} %"
        print(f"{seconds:8.2f} s   {ends}   {what}", file=sys.stderr, flush=True)


def prove(
    problem: Problem, effort: str, aim: Aim, options: Descent, progress: Progress
) -> tuple[Solution, tuple[Bound, ...]]:
    """Return the best plan found and the best bound of every rung that was climbed.

    Interrupting it (Ctrl-C) returns what there is so far.
    """
    best, bounds = best_sorted(problem), {}
    stop = Stop.EXHAUSTED
    aim.upper, aim.plan = item(objective(problem, best.plan)), best.plan
    try:
        share = time.perf_counter() + _PLAN_SHARE * aim.left
        best = best_descent(problem, replace(options, deadline=min(options.deadline, share)))
        aim.upper, aim.plan = item(objective(problem, best.plan)), best.plan
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
        closed = aim.upper - aim.lower <= 2 * aim.margin
        stop = Stop.OPTIMAL if closed else Stop.GAP_REACHED
    elif stop is Stop.EXHAUSTED and (aim.cut or aim.left <= 0):
        stop = Stop.TIME_LIMIT
    return replace(best, stop=stop), tuple(bounds.values())


def _improved(problem: Problem, best: Solution, rung: Rung, aim: Aim, options: Descent) -> Solution:
    """Descend from the plan of a rung and keep the better of the two."""
    plan: Plan = rung.plan  # pyright: ignore[reportAssignmentType]
    normal, factor = problem.normalised()
    found = descend(normal, plan, f"the {rung.name} bound", options)
    value = item(objective(problem, found.plan))
    if value >= aim.upper:
        return best
    aim.upper, aim.plan = value, found.plan
    return replace(found, stationarity=found.stationarity / factor)
