"""Un-regularised GW from good starts: anneal, descend, exchange, keep the best."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from gwfast import clock
from gwfast.arrays import item, to_numpy
from gwfast.heuristics.annealing import Schedule, anneal
from gwfast.heuristics.conditional_gradient import Potentials, conditional_gradient, first_vertex
from gwfast.heuristics.exchanges import two_exchange
from gwfast.heuristics.products import Products
from gwfast.heuristics.solution import Solution
from gwfast.heuristics.sorting import best_sorted
from gwfast.plan import Plan
from gwfast.problem import Problem, objective
from gwfast.result import Stop
from gwfast.transport import PROGRAM, solve_linear

_SMALL = 2_500  # entries up to which many starts cost little
_RANDOM = 6
_ANNEAL, _VERTEX = 0.4, 0.7  # shares of a limited time after which the annealed run, and its vertex, end
_SINGLE = 90_000  # entries from which plans are looked for in float32 first


@dataclass(frozen=True)
class Descent:
    """Options of the un-regularised solver.

    Attributes
    ----------
    schedule : Schedule
        Temperatures of the annealed start.
    tol : float
        Relative Frank-Wolfe gap to stop at.
    max_iter : int
        Linear programs at most, for each start.
    swaps : int
        Exchanges at most in the finish of permutations.
    deadline : float
        clock.now() after which nothing new is begun.
    """

    schedule: Schedule
    tol: float = 1e-9
    max_iter: int = 1000
    swaps: int = 100_000
    deadline: float = float("inf")


def descend(problem: Problem, start: Plan, name: str, options: Descent, hint: Potentials | None = None) -> Solution:
    """Exchanges, then conditional gradient, in turn until neither helps.

    Exchanges come first because they are cheap beside a linear program, of which the descent then needs fewer.
    """
    plan, steps = start, 0
    if problem.shape[0] * problem.shape[1] >= _SINGLE:
        rough = conditional_gradient(
            Products(problem, single=True),
            plan,
            name=name,
            tol=1e-6,
            max_iter=options.max_iter,
            hint=hint,
            deadline=options.deadline,
        )
        plan, steps = rough.plan, rough.iterations
        if clock.now() > options.deadline:
            return replace(rough, stop=Stop.TIME_LIMIT)
    exact = Products(problem, single=False)
    plan = two_exchange(problem, plan, options.swaps, options.deadline) or plan
    while True:
        solution = conditional_gradient(
            exact,
            plan,
            name=name,
            tol=options.tol,
            max_iter=options.max_iter,
            hint=hint,
            deadline=options.deadline,
        )
        steps += solution.iterations
        solution = replace(solution, iterations=steps)
        if clock.now() > options.deadline:
            return replace(solution, stop=Stop.TIME_LIMIT)
        better = (
            None if solution.plan is plan else two_exchange(problem, solution.plan, options.swaps, options.deadline)
        )
        if better is None:
            return solution
        plan = better


def annealed_start(problem: Problem, schedule: Schedule, deadline: float = math.inf) -> tuple[Plan, Potentials]:
    """Vertex that the annealed run points to, and where the next linear programs should look."""
    products = Products(problem, single=True)
    left = deadline - clock.now()
    run = anneal(products, schedule, deadline - (1 - _ANNEAL) * left)
    hint = Potentials(run.g, run.epsilon)
    if clock.now() + PROGRAM * problem.shape[0] * problem.shape[1] > deadline:
        return best_sorted(problem).plan, hint  # a linear program cannot be stopped: none is begun that would end late
    return first_vertex(products, run.plan, hint, deadline - (1 - _VERTEX) * left), hint


def _rivals(problem: Problem) -> Iterator[tuple[str, Plan]]:
    """Other starts: the best sorted plan, and for small problems, where they cost little, many more."""
    sorting = best_sorted(problem)
    yield sorting.start, sorting.plan
    n, m = problem.shape
    if n * m > _SMALL:
        return
    yield "the product coupling", Plan(problem.shape, matrix=problem.p[:, None] * problem.q[None, :])
    # vertices for random linear costs, the same ones at every call
    rng = np.random.default_rng(0)
    p, q = to_numpy(problem.p), to_numpy(problem.q)
    for _ in range(_RANDOM):
        yield "a random vertex", solve_linear(rng.random((n, m)), p, q).plan(problem.p)


def best_descent(problem: Problem, options: Descent) -> Solution:
    """Descend from the annealed start and its rivals, and keep the best.

    The sorted plan is only followed where it begins below what the annealed start reached; small problems try all.
    """
    problem, factor = problem.normalised()
    start, hint = annealed_start(problem, options.schedule, options.deadline)
    small = problem.shape[0] * problem.shape[1] <= _SMALL
    rough = replace(options, tol=max(options.tol, 1e-6)) if small else options
    best = descend(problem, start, "an annealed start", rough, hint)
    value = item(objective(problem, best.plan))
    for name, plan in _rivals(problem):
        if clock.now() > options.deadline:
            best = replace(best, stop=Stop.TIME_LIMIT)
            if (
                item(objective(problem, plan)) < value
            ):  # the sorted plan: where time was short, it may be the better one
                best = replace(best, plan=plan, start=name, stationarity=math.nan)
            break
        if not small and item(objective(problem, plan)) >= value:
            continue
        other = descend(problem, plan, name, rough, hint)
        reached = item(objective(problem, other.plan))
        if reached < value:
            best, value = other, reached
    if rough is not options and clock.now() <= options.deadline:
        last = descend(problem, best.plan, best.start, options, hint)
        best = replace(last, iterations=best.iterations + last.iterations)
    return replace(best, stationarity=best.stationarity / factor)
