"""Conditional gradient (Frank-Wolfe) with exact linear programs and closed-form line search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gwfast.arrays import Array, item, namespace, to_numpy
from gwfast.budget import UNLIMITED, Budget
from gwfast.heuristics.products import Products
from gwfast.method import Found
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.problem import Problem, linearised, second_moments, square_form
from gwfast.result import Stop
from gwfast.transport import LinearSolution


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


def _vertex(problem: Problem, cost: Array, hint: Potentials | None, budget: Budget) -> LinearSolution:
    p, q = to_numpy(problem.p), to_numpy(problem.q)
    near = None
    if hint is not None and cost.shape[0] * cost.shape[1] >= POLICY.smooth_entries:
        xp = namespace(cost)
        dtype = xp.float32
        scaled = problem.marginals.project(
            xp.astype(cost, dtype),
            xp.astype(problem.p, dtype),
            xp.astype(problem.q, dtype),
            xp.astype(hint.g, dtype),
            hint.epsilon,
            1e-3,
            20,
        )
        near = (to_numpy(scaled.f), to_numpy(scaled.g))
    return problem.marginals.minimum(to_numpy(cost).astype(np.float64, copy=False), p, q, near, budget)


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
    budget: Budget = UNLIMITED,
) -> Found:
    """Descend from `start` until no vertex of the feasible set promises an improvement.

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
    budget : Budget
        After its deadline no linear program is begun.

    Returns
    -------
    Found
        One linear program and one matrix product an iteration: the vertex is sparse, and the product at the new
        plan follows by linearity.
    """
    problem = products.problem
    begin = budget.now()
    if not budget.fits(POLICY.program * start.shape[0] * start.shape[1]):
        return Found(plan=start, stop=Stop.TIME_LIMIT, start=name)
    state = _state(products, start)
    longest = budget.now() - begin
    size = problem.alpha * problem.size
    stop, gap, iteration = Stop.ITERATIONS, float("nan"), 0
    while iteration < max_iter:
        now = budget.now()
        if budget.limited and now + longest >= budget.deadline:
            stop = Stop.TIME_LIMIT
            break
        iteration += 1
        cost = linearised(problem, state.image, state.back, state.plan)
        found = _vertex(problem, cost, hint, budget)
        if budget.expired:  # the vertex may not be the best one, and proves no stationarity
            stop, gap = Stop.TIME_LIMIT, float("nan")
            break
        vertex = found.plan(problem.p)
        gap = item(_inner(cost, state.plan)) - item(_inner(cost, vertex))
        structure = problem.alpha * (
            item(second_moments(problem, state.plan)) - 2 * item(_inner(state.image, state.plan))
        )
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
        bend += _free_bend(problem, state.plan, vertex)
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
        longest = max(longest, budget.now() - now)
    stationarity = gap if gap != gap else max(gap, 0.0)
    plan = _sparse(state.plan)
    return Found(plan=plan, stop=stop, start=name, iterations=iteration, stationarity=stationarity)


def _free_bend(problem: Problem, old: Plan, new: Plan) -> float:
    """What marginals that are not given add to the curvature of the objective from one plan towards another."""
    marginals, bend = problem.marginals, 0.0
    if marginals.rows_given and marginals.columns_given:
        return bend
    (rows, columns), (new_rows, new_columns) = old.marginals(), new.marginals()
    if not marginals.rows_given:
        bend += problem.alpha * item(square_form(problem.x, new_rows - rows))
    if not marginals.columns_given:
        bend += problem.alpha * item(square_form(problem.y, new_columns - columns))
    return bend


def _sparse(plan: Plan) -> Plan:
    """A blend of few vertices has few atoms: list them, so that the objective is a sum that cannot cancel."""
    if not plan.is_dense:
        return plan
    rows, cols, mass = plan.atoms()
    few = 4 * sum(plan.shape)
    return Plan(plan.shape, rows, cols, mass) if mass.shape[0] <= few else plan


def first_vertex(products: Products, plan: Array, hint: Potentials, budget: Budget = UNLIMITED) -> Plan:
    """Vertex of least linear cost at a dense plan (n, m); one linear program, cut short at the deadline."""
    problem = products.problem
    xp = namespace(problem.p)
    cost = xp.astype(products.gradient(plan), xp.float64)
    p, q = to_numpy(problem.p), to_numpy(problem.q)
    g = to_numpy(hint.g)
    return problem.marginals.minimum(to_numpy(cost), p, q, (g, g), budget).plan(problem.p)
