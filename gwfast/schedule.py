"""Runs the table of methods under a budget: cheap bounds once, then the deep ones in turns that grow.

In every round each deep method works for one quantum, and the quantum doubles from round to round.  Quanta are counted
in the seconds that the methods' models give their pieces, not by the clock: calls that no deadline cuts repeat exactly.
What a call does in its first seconds does not depend on its limit, so that more time adds to an answer and never
replaces it, and a method that suits the problem is met early whatever the others need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gwfast.budget import Budget
from gwfast.method import EFFORTS, Found, Incumbent, Method, Run, keep_best
from gwfast.methods import METHODS
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound, Stop
from gwfast.spaces.on_demand import Rows
from gwfast.spaces.point_cloud import PointCloud
from gwfast.spaces.points_value import takes_points


def bounds_bytes(problem: Problem) -> int:
    """Bytes that bounds beyond the sorting ones take: every entry sorted with its weight, rows against rows."""
    n, m = problem.shape
    return 72 * (n * n + m * m) + 48 * n * m


def without_matrix(problem: Problem) -> bool:
    """Whether the spaces compute their costs, so that methods which need matrices would make them."""
    spaces = problem.x, problem.y
    return takes_points(*spaces) or any(isinstance(s, (Rows, PointCloud)) for s in spaces)


class Climb:
    """The methods of an effort at work on a problem.

    Parameters
    ----------
    problem : Problem
    effort : str
    budget : Budget
    incumbent : Incumbent
    taped : Problem, optional
        The problem with torch's gradient tape, for the methods that keep it.
    methods : sequence of Method
        The table.

    Attributes
    ----------
    incumbent : Incumbent
        Who improves the plan between two steps puts the better one here.
    cut : bool
        Whether a method was cut short, or left out, for want of time.
    crowded : bool
        Whether a method was left out for want of memory.
    """

    def __init__(
        self,
        problem: Problem,
        effort: str,
        budget: Budget,
        incumbent: Incumbent | None = None,
        *,
        taped: Problem | None = None,
        methods: Sequence[Method] = METHODS,
    ):
        level = EFFORTS.index(effort)
        chosen = [m for m in methods if EFFORTS.index(m.effort) <= level and m.applies(problem)]
        crowded = bounds_bytes(problem) > budget.memory and without_matrix(problem)
        if crowded:  # spaces without matrices keep to the methods that make none
            crowded = any(not m.lean and m.suits(problem) for m in chosen if m.effort != EFFORTS[0])
            chosen = [m for m in chosen if m.lean]
        self.problem, self.taped, self.budget = problem, taped, budget
        self.passes = [m for m in chosen if m.once and m.suits(problem)]
        self.deep = [m for m in chosen if not m.once and m.suits(problem)]
        self.deep.sort(key=lambda m: not m.settles(problem))
        self.incumbent, self.cut, self.crowded = incumbent or Incumbent(), False, crowded

    def __iter__(self) -> Iterator[tuple[str, Found]]:
        """Name and finds of every step, until the gap is closed, the time is up, or nothing is left to do."""
        yield from self._one_passes()
        if not self.incumbent.closed:
            yield from self._rounds()

    def _one_passes(self) -> Iterator[tuple[str, Found]]:
        for method in self.passes:
            if method.effort != EFFORTS[0]:  # those always end at once
                if self.incumbent.closed or self.budget.expired:
                    return
                if method.need(self.problem).seconds > self.budget.left:
                    self.cut = True
                    continue
            begin = self.budget.now()
            run = method.start((self.taped if method.differentiable else None) or self.problem)
            yield method.name, self._take(run.step(self.budget), self.budget.now() - begin)

    def _rounds(self) -> Iterator[tuple[str, Found]]:
        waiting, running = list(self.deep), dict[str, Run]()
        spent, quantum = dict[str, float](), POLICY.first_quantum
        try:
            while waiting or running:
                quantum = self._join(waiting, running, quantum)
                turns = [m.name for m in self.deep if m.name in running]
                for number, name in enumerate(turns):
                    if self.incumbent.closed:
                        return
                    if self.budget.expired:
                        self.cut = True
                        return
                    weights = [self._weight(running[n].method) for n in turns[number:]]
                    share = self.budget.left * weights[0] / sum(weights)
                    length = quantum * weights[0]
                    begin = self.budget.now()
                    hard = self.budget.within(share) if share < length else self.budget
                    found = running[name].step(hard, length, self.incumbent)
                    spent[name] = spent.get(name, 0.0) + self.budget.now() - begin
                    if found.stop is not None:
                        self.cut |= found.stop is Stop.TIME_LIMIT
                        running.pop(name).close()
                    yield name, self._take(found, spent[name])
                quantum *= 2
        finally:
            for run in running.values():
                run.close()

    def _weight(self, method: Method) -> float:
        return POLICY.settling_weight if method.settles(self.problem) else 1.0

    def _join(self, waiting: list[Method], running: dict[str, Run], quantum: float) -> float:
        """Begin what fits into a quantum, drop what fits no more; returns the quantum, longer where none fits."""
        held = sum(m.need(self.problem).size for m in self.deep if m.name in running)
        for method in list(waiting):
            need = method.need(self.problem)
            if need.size > self.budget.memory:
                waiting.remove(method)
                self.crowded = True
            elif need.seconds > self.budget.left:
                waiting.remove(method)
                self.cut = True
            elif need.seconds <= quantum and held + need.size <= self.budget.memory:
                waiting.remove(method)
                running[method.name] = method.start(self.problem)
                held += need.size
        if running or not waiting:
            return quantum
        return self._join(waiting, running, min(m.need(self.problem).seconds for m in waiting))

    def _take(self, found: Found, seconds: float) -> Found:
        """Note the bounds of a step, each with its share of the cost."""
        share = seconds / max(1, len(found.bounds))
        found = replace(found, bounds=tuple(replace(b, seconds=share) for b in found.bounds))
        self.incumbent = self.incumbent.with_bounds(found.bounds)
        return found


def lower_bounds(climb: Climb) -> tuple[Bound, ...]:
    """The best bound of each theorem at the end of a climb."""
    best: dict[str, Bound] = {}
    for _, found in climb:
        keep_best(best, found.bounds)
    return tuple(best.values())
