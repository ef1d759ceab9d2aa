"""Un-regularised GW from good starts: anneal, descend, exchange, keep the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from gwfast.arrays import item, namespace, to_numpy
from gwfast.budget import UNLIMITED, Budget
from gwfast.heuristics.annealing import Schedule, anneal, loss_scale
from gwfast.heuristics.conditional_gradient import Potentials, conditional_gradient, first_vertex
from gwfast.heuristics.exchanges import two_exchange
from gwfast.heuristics.labels import best_labels
from gwfast.heuristics.pair import best_pair, fits_pair
from gwfast.heuristics.permutations import permuted
from gwfast.heuristics.products import Products
from gwfast.heuristics.sampled import sampled, takes_rows
from gwfast.heuristics.sorting import best_sorted
from gwfast.heuristics.unbalanced import ROUGH, settled
from gwfast.heuristics.unbalanced_steps import falling
from gwfast.large.multiscale import multiscale, takes_multiscale
from gwfast.marginals import BALANCED
from gwfast.method import Found
from gwfast.packed.presets import PROGRAMS, STATIONARY
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Stop

GIVEN = "the given plan"


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
    budget : Budget
        After its deadline nothing new is begun.
    method : {"auto", "dense", "multiscale"}
        Whether plans are matrices or lists of atoms on the way; "auto" looks at the size and kind of the spaces.
    say : callable
        Takes a line about what was done.
    start : Plan or None
        A feasible plan to descend from too.
    permutations : bool
        Whether plans have to be permutations.
    """

    schedule: Schedule
    tol: float = 1e-9
    max_iter: int = 1000
    swaps: int = 100_000
    budget: Budget = UNLIMITED
    method: str = "auto"
    say: Callable[[str], None] = lambda line: None
    start: Plan | None = None
    permutations: bool = False


def descend(problem: Problem, start: Plan, name: str, options: Descent, hint: Potentials | None = None) -> Found:
    """Exchanges, then conditional gradient, in turn until neither helps.

    Exchanges come first because they are cheap beside a linear program, of which the descent then needs fewer.
    """
    if problem.marginals.penalty is not None:
        return settled(problem, start, name, options.max_iter, options.budget)
    plan, steps = start, 0
    if problem.shape[0] * problem.shape[1] >= POLICY.single_entries:
        rough = conditional_gradient(
            Products(problem, single=True),
            plan,
            name=name,
            tol=1e-6,
            max_iter=options.max_iter,
            hint=hint,
            budget=options.budget,
        )
        plan, steps = _plan(rough), rough.iterations
        if options.budget.expired:
            return replace(rough, stop=Stop.TIME_LIMIT)
    exact = Products(problem, single=False)
    plan = two_exchange(problem, plan, options.swaps, options.budget) or plan
    while True:
        found = conditional_gradient(
            exact,
            plan,
            name=name,
            tol=options.tol,
            max_iter=options.max_iter,
            hint=hint,
            budget=options.budget,
        )
        steps += found.iterations
        found = replace(found, iterations=steps)
        if options.budget.expired:
            return replace(found, stop=Stop.TIME_LIMIT)
        reached = _plan(found)
        better = None if reached is plan else two_exchange(problem, reached, options.swaps, options.budget)
        if better is None:
            return found
        plan = better


def annealed_start(problem: Problem, schedule: Schedule, budget: Budget = UNLIMITED) -> tuple[Plan, Potentials]:
    """Vertex that the annealed run points to, and where the next linear programs should look."""
    products = Products(problem, single=True)
    for_run, for_vertex = budget.slice(POLICY.anneal_share), budget.slice(POLICY.vertex_share)
    run = anneal(products, schedule, for_run)
    hint = Potentials(run.g, run.epsilon)
    xp = namespace(run.plan)
    if not bool(xp.all(xp.isfinite(run.plan))):  # terms so far apart that single precision holds them not both
        return next(_rivals(problem))[1], Potentials(xp.zeros_like(run.g), 1.0)
    if not budget.fits(POLICY.program * problem.shape[0] * problem.shape[1]):
        # a linear program cannot be stopped: none is begun that would end late
        return next(_rivals(problem))[1], hint
    return first_vertex(products, run.plan, hint, for_vertex), hint


def _plan(found: Found) -> Plan:
    assert found.plan is not None  # heuristics always have one
    return found.plan


def _rivals(problem: Problem) -> Iterator[tuple[str, Plan]]:
    """Other starts: the best sorted plan, and for small problems, where they cost little, many more."""
    n, m = problem.shape
    marginals, balanced = problem.marginals, problem.marginals is BALANCED
    if balanced:
        sorting = best_sorted(problem)
        yield sorting.start, _plan(sorting)
        if n * m > POLICY.many_starts:
            return
    yield "the product coupling", Plan(problem.shape, matrix=marginals.start(problem.p, problem.q))
    if n * m > POLICY.many_starts:
        return
    # vertices for random linear costs, the same ones at every call
    rng = np.random.default_rng(0)
    p, q = to_numpy(problem.p), to_numpy(problem.q)
    few = not balanced and n * m <= POLICY.tiny_free
    for _ in range(POLICY.few_starts if few else POLICY.random_starts):
        yield "a random vertex", marginals.minimum(rng.random((n, m)), p, q).plan(problem.p)


def _best_free(problem: Problem, options: Descent) -> Found:
    """The best of the descents from a short annealed run and from every rival, where a marginal is free."""
    start, _ = annealed_start(problem, Schedule(steps=POLICY.free_steps, scalings=8), options.budget)
    rough = replace(options, tol=max(options.tol, 1e-6), max_iter=min(options.max_iter, POLICY.free_programs))
    best = descend(problem, start, "an annealed start", rough)
    value = item(problem.objective(_plan(best)))
    rivals = list(_rivals(problem))
    n, m = problem.shape
    if problem.marginals.name == "semi_relaxed" and n * n * m <= POLICY.label_entries:
        rivals.append(("the best labels", best_labels(problem, [_plan(best), start])))
    for name, plan in rivals:
        if options.budget.expired:
            return replace(best, stop=Stop.TIME_LIMIT)
        other = descend(problem, plan, name, rough)
        reached = item(problem.objective(_plan(other)))
        if reached < value:
            best, value = other, reached
    last = descend(problem, _plan(best), best.start, options)
    return replace(last, iterations=best.iterations + last.iterations)


_UNBALANCED = {
    "an annealed start": Schedule(hot=0.3, cold=0.002, steps=60),
    "a cool annealed start": Schedule(hot=0.05, cold=0.002, steps=30),
}
"""Runs of the annealed starts; with the best coupling they are three starts, of which none is the best everywhere."""


def _best_unbalanced(problem: Problem, options: Descent) -> Found:
    """The best of the descents from two annealed runs and from the best coupling."""
    xp, products, scale = namespace(problem.p), Products(problem, single=False), loss_scale(problem)
    product, found = problem.p[:, None] * problem.q[None, :], list[Found]()

    def follow(start: Plan, name: str) -> None:
        found.append(settled(problem, start, name, options.max_iter, options.budget, ROUGH))

    for name, schedule in _UNBALANCED.items():
        if not found or not options.budget.expired:
            temperatures = [t * scale for t in schedule.temperatures()]
            T = falling(products, product, temperatures, options.budget.slice(POLICY.anneal_share)).plan
            follow(Plan(problem.shape, matrix=T if bool(xp.all(xp.isfinite(T))) else product), name)
    if not options.budget.expired:
        coupling = _best_found(replace(problem, marginals=BALANCED), options)
        follow(_plan(coupling), f"a coupling, from {coupling.start}")
    empty = Plan(problem.shape, matrix=0.0 * product)
    found.append(Found(plan=empty, stop=Stop.STATIONARY, start="no mass"))
    best = min(found, key=lambda f: item(problem.objective(_plan(f))))
    if options.budget.expired:
        return replace(best, stop=Stop.TIME_LIMIT)
    last = descend(problem, _plan(best), best.start, options)
    return replace(last, iterations=best.iterations + last.iterations)


def _better_sorted(problem: Problem, found: Found) -> Found:
    """A plan, or the best sorted one where that is better: of points on a line it is optimal."""
    rival = best_sorted(problem)
    better = item(problem.objective(_plan(rival))) < item(problem.objective(_plan(found)))
    return replace(rival, stop=found.stop) if better else found


def best_descent(problem: Problem, options: Descent) -> Found:
    """Descend from the given start, from the annealed one and its rivals, and keep the best.

    The sorted plan is only followed where it begins below what the annealed start reached; small problems try all.
    Ties are won by the given start.
    """
    if takes_rows(problem, options.method):
        found = sampled(problem, options.budget, options.say)
        return permuted(problem, found, options.budget) if options.permutations else found
    normal, factor = problem.normalised()
    given = None
    if options.start is not None:
        given = descend(normal, options.start, GIVEN, options)
        if item(normal.objective(options.start)) < item(normal.objective(_plan(given))):  # only rounding can do that
            given = replace(given, plan=options.start, stationarity=math.nan)
    found = _best_found(normal, options)
    if given is not None and item(normal.objective(_plan(given))) <= item(normal.objective(_plan(found))):
        found = given
    found = permuted(normal, found, options.budget) if options.permutations else found
    return replace(found, stationarity=found.stationarity / factor)


def _best_found(problem: Problem, options: Descent) -> Found:
    """The best of the solver's own starts, for a normalised problem."""
    if takes_multiscale(problem, options.method):
        return _better_sorted(problem, multiscale(problem, options.budget, options.say))
    if fits_pair(problem, options.budget) and options.max_iter >= PROGRAMS and options.tol >= STATIONARY:
        return best_pair(problem)
    if problem.marginals.penalty is not None:
        return _best_unbalanced(problem, options)
    if problem.marginals is not BALANCED:
        return _best_free(problem, options)
    start, hint = annealed_start(problem, options.schedule, options.budget)
    small = problem.shape[0] * problem.shape[1] <= POLICY.many_starts
    rough = replace(options, tol=max(options.tol, 1e-6)) if small else options
    best = descend(problem, start, "an annealed start", rough, hint)
    value = item(problem.objective(_plan(best)))
    for name, plan in _rivals(problem):
        if options.budget.expired:
            best = replace(best, stop=Stop.TIME_LIMIT)
            if item(problem.objective(plan)) < value:  # where time was short, the sorted plan may be the better one
                best = replace(best, plan=plan, start=name, stationarity=math.nan)
            break
        if not small and item(problem.objective(plan)) >= value:
            continue
        other = descend(problem, plan, name, rough, hint)
        reached = item(problem.objective(_plan(other)))
        if reached < value:
            best, value = other, reached
    if rough is not options and not options.budget.expired:
        last = descend(problem, _plan(best), best.start, options, hint)
        best = replace(last, iterations=best.iterations + last.iterations)
    return best
