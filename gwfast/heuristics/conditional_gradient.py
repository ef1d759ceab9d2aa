"""Conditional gradient (Frank-Wolfe) with exact linear programs and closed-form line search."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gwfast import clock
from gwfast.arrays import Array, item, namespace, to_numpy
from gwfast.heuristics.products import Products
from gwfast.heuristics.sinkhorn import project
from gwfast.heuristics.solution import Solution
from gwfast.plan import Plan
from gwfast.problem import Problem, linearised
from gwfast.result import Stop
from gwfast.transport import PROGRAM, LinearSolution, solve_linear

_SMOOTH = 20_000  # entries from which a few Sinkhorn scalings before each linear program pay


@dataclass(frozen=True)
class Potentials:
    """Column potential and temperature of the last entropic problem: where to look for the next vertex."""

    g: Any
    epsilon: float


@dataclass(frozen=True, eq=False)
class _State:
    """A coupling and its products; `image` is C1 T C2', `back` is C1' T C2 (the same for symmetric costs)."""

    plan: Plan
    image: Array
    back: Array


def _inner(matrix: Array, plan: Plan) -> Array:
    xp = namespace(matrix)
    if plan.is_dense:
        return xp.sum(matrix * plan.matrix)
    return xp.astype(matrix[plan.rows, plan.cols], plan.mass.dtype) @ plan.mass


def _state(products: Products, plan: Plan) -> _State:
    image = products.image(plan)
    back = image if products.problem.symmetric else products.back(plan)
    return _State(plan, image, back)


def _vertex(problem: Problem, cost: Array, hint: Potentials | None, deadline: float) -> LinearSolution:
    p, q = to_numpy(problem.p), to_numpy(problem.q)
    near = None
    if hint is not None and cost.shape[0] * cost.shape[1] >= _SMOOTH:
        xp = namespace(cost)
        dtype = xp.float32
        scaled = project(
            xp.astype(cost, dtype),
            xp.astype(problem.p, dtype),
            xp.astype(problem.q, dtype),
            xp.astype(hint.g, dtype),
            hint.epsilon,
            1e-3,
            20,
        )
        near = (to_numpy(scaled.f), to_numpy(scaled.g))
    return solve_linear(to_numpy(cost).astype(np.float64, copy=False), p, q, near, deadline)


def _blend(old: Plan, new: Plan, step: float) -> Plan:
    if step == 1.0:
        return new
    return Plan(old.shape, matrix=(1 - step) * old.toarray() + step * new.toarray())


def conditional_gradient(
    products: Products,
    start: Plan,
    *,
    name: str,
    tol: float,
    max_iter: int,
    hint: Potentials | None = None,
    deadline: float = math.inf,
) -> Solution:
    """Descend from `start` until no vertex of the transport polytope promises an improvement.

    Parameters
    ----------
    products : Products
        The problem and the precision of the products.
    start : Plan
    name : str
        Name of the start, for the result.
    tol : float
        Stop when the Frank-Wolfe gap, or the change of the objective, is below `tol` times the objective.
    max_iter : int
    hint : Potentials, optional
        Where the first linear program may look.
    deadline : float
        clock.now() after which no linear program is begun.

    Returns
    -------
    Solution
        One linear program and one matrix product an iteration: the vertex is sparse, and the product at the new
        plan follows by linearity.
    """
    problem = products.problem
    begin = clock.now()
    if begin + PROGRAM * start.shape[0] * start.shape[1] > deadline:
        return Solution(start, Stop.TIME_LIMIT, name)
    state = _state(products, start)
    longest = clock.now() - begin
    size = problem.alpha * problem.size
    stop, gap, iteration = Stop.ITERATIONS, float("nan"), 0
    while iteration < max_iter:
        now = clock.now()
        if now + longest >= deadline:
            stop = Stop.TIME_LIMIT
            break
        iteration += 1
        cost = linearised(problem, state.image, state.back)
        found = _vertex(problem, cost, hint, deadline)
        if clock.now() >= deadline:  # the vertex may not be the best one, and proves no stationarity
            stop, gap = Stop.TIME_LIMIT, float("nan")
            break
        vertex = found.plan(problem.p)
        gap = item(_inner(cost, state.plan)) - item(_inner(cost, vertex))
        structure = size - 2 * problem.alpha * item(_inner(state.image, state.plan))
        linear = 0.0
        if problem.M is not None:
            linear = (1 - problem.alpha) * item(_inner(problem.M, state.plan))
        value = max(abs(structure + linear), 1e-12 * size)
        if gap <= tol * value:
            stop = Stop.STATIONARY
            break
        reached = _state(products, vertex)
        cross = item(_inner(state.image, vertex)) + item(_inner(reached.image, state.plan))
        bend = (
            -2 * problem.alpha * (item(_inner(reached.image, vertex)) - cross + item(_inner(state.image, state.plan)))
        )
        step = 1.0 if bend <= 0 else min(1.0, gap / (2 * bend))
        if step * (gap - step * bend) <= tol * value:
            stop = Stop.STALLED
            if step * (gap - step * bend) <= 0:
                break
        if step == 1.0:
            state = reached
        else:
            image = state.image + step * (reached.image - state.image)
            back = image if problem.symmetric else state.back + step * (reached.back - state.back)
            state = _State(_blend(state.plan, vertex, step), image, back)
        if stop is Stop.STALLED:
            break
        longest = max(longest, clock.now() - now)
    return Solution(_sparse(problem, state.plan), stop, name, iteration, gap if gap != gap else max(gap, 0.0))


def _sparse(problem: Problem, plan: Plan) -> Plan:
    """A blend of few vertices has few atoms: list them, so that the objective is a sum that cannot cancel."""
    if not plan.is_dense:
        return plan
    rows, cols, mass = plan.atoms()
    few = 4 * sum(plan.shape)
    return Plan(plan.shape, rows, cols, mass) if mass.shape[0] <= few else plan


def first_vertex(products: Products, plan: Array, hint: Potentials, deadline: float = math.inf) -> Plan:
    """Vertex of least linear cost at a dense coupling (n, m); one linear program, cut short at `deadline`."""
    problem = products.problem
    xp = namespace(problem.p)
    cost = xp.astype(products.gradient(plan), xp.float64)
    p, q = to_numpy(problem.p), to_numpy(problem.q)
    g = to_numpy(hint.g)
    return solve_linear(to_numpy(cost), p, q, (g, g), deadline).plan(problem.p)
