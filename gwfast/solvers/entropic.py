"""Entropic GW by mirror descent (PGD) or the proximal form (PPA), warm-started from step to step."""

from __future__ import annotations

import time
from dataclasses import dataclass

from gwfast._array import Array, item, namespace
from gwfast.plan import Plan
from gwfast.problem import Problem, linearised
from gwfast.result import Stop
from gwfast.solvers.products import Products
from gwfast.solvers.sinkhorn import project
from gwfast.solvers.solution import Solution
from gwfast.transport import round_to_marginals


@dataclass(frozen=True)
class Entropic:
    """Options of the entropic solver.

    Attributes
    ----------
    epsilon : float
        Temperature in units of the gradient, POT's convention.
    proximal : bool
        Proximal point (the temperature is a step size) instead of mirror descent (the entropy stays in the limit).
    tol : float
        Stop when the objective changes by less than `tol` of itself and the L1 marginal error is below `tol`.
    max_iter, scalings : int
        Outer steps, and Sinkhorn scalings in each, at most.
    deadline : float
        time.perf_counter() after which the run stops.
    """

    epsilon: float
    proximal: bool = False
    tol: float = 1e-6
    max_iter: int = 1000
    scalings: int = 1000
    deadline: float = float("inf")


def entropic_descent(problem: Problem, options: Entropic) -> Solution:
    r"""Iterate T <- argmin <grad(T_k), T> + epsilon KL(T | reference) over couplings.

    The reference is uniform (PGD: the limit minimises GW minus epsilon times the entropy) or T_k (PPA).  The inner
    problems start from the last potentials and are solved to an accuracy that follows the outer progress.

    Returns
    -------
    Solution
        Dense plan, rounded to the exact marginals.  O(n m (n + m)) a step (O(n m d) for factored spaces) plus O(nm)
        a scaling.
    """
    products = Products(problem, single=False)
    xp = namespace(problem.p)
    p, q = problem.p, problem.q
    a, b = problem.x.moments, problem.y.moments
    plan = p[:, None] * q[None, :]
    log_plan = xp.log(p)[:, None] + xp.log(q)[None, :]
    image, back = a.mean[:, None] * b.mean[None, :], a.comean[:, None] * b.comean[None, :]
    g = xp.zeros_like(q)
    value, inner, stop, step = float("inf"), 1e-2, Stop.ITERATIONS, 0
    while step < options.max_iter:
        step += 1
        cost = linearised(problem, image, back)
        if options.proximal:
            cost = cost - options.epsilon * log_plan
            g = xp.zeros_like(q)  # the last plan is already in the cost
        scaled = project(cost, p, q, g, options.epsilon, max(inner, options.tol / 2), options.scalings)
        plan, g = scaled.plan, scaled.g
        if options.proximal:
            log_plan = (scaled.f[:, None] + scaled.g[None, :] - cost) / options.epsilon
        image = products.image(plan)
        back = image if problem.symmetric else products.back(plan)
        last, value = value, _objective(problem, plan, image)
        change = abs(last - value) / max(abs(value), 1e-12 * problem.size, 1e-300)
        inner = min(inner, 0.1 * change)
        if change <= options.tol and scaled.error <= options.tol:
            stop = Stop.MARGINALS
            break
        if time.perf_counter() > options.deadline:
            stop = Stop.TIME_LIMIT
            break
    rounded = Plan(problem.shape, matrix=round_to_marginals(plan, p, q))
    return Solution(rounded, stop, "the product coupling", step)


def _objective(problem: Problem, plan: Array, image: Array) -> float:
    xp = namespace(plan)
    value = problem.alpha * (problem.size - 2 * item(xp.sum(plan * image)))
    if problem.M is None:
        return value
    return value + (1 - problem.alpha) * item(xp.sum(plan * problem.M))
