"""Entropic GW by mirror descent (PGD) or the proximal form (PPA), warm-started from step to step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gwfast import clock
from gwfast.arrays import Array, is_torch, item, namespace
from gwfast.heuristics.annealing import single_arguments
from gwfast.heuristics.products import Products
from gwfast.heuristics.sinkhorn import project
from gwfast.heuristics.solution import Solution
from gwfast.plan import Plan
from gwfast.problem import Problem, linearised
from gwfast.result import Stop
from gwfast.transport import round_to_marginals


def falling_temperatures(epsilon: float) -> list[float]:
    """Temperatures of the few first steps, one each: they leave the product coupling by the better side."""
    return [epsilon * 6 ** (1 - k / 6) for k in range(6)]


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
    max_iter : int
        Outer steps at most.
    deadline : float
        clock.now() after which the run stops.
    """

    epsilon: float
    proximal: bool = False
    tol: float = 1e-4
    max_iter: int = 1000
    deadline: float = float("inf")

    @property
    def scalings(self) -> int:
        """Sinkhorn scalings in a step at most: mirror descent carries its potentials over, proximal steps do not."""
        return 500 if self.proximal else 50

    @property
    def fits_single(self) -> bool:
        """Whether float32 steps can reach the tolerance; the plan is rounded and valued in float64 anyway."""
        return not self.proximal and self.tol >= 1e-5 and self.deadline == float("inf")


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
    problem, factor = problem.normalised()
    options = replace(options, epsilon=min(options.epsilon * factor, 1e30))  # float32 holds it
    products = Products(problem, single=False)
    xp = namespace(problem.p)
    if options.fits_single and not products.factored and not is_torch(problem.p):
        return _compiled(problem, options)
    p, q = problem.p, problem.q
    a, b = problem.x.moments, problem.y.moments
    plan = p[:, None] * q[None, :]
    log_plan = xp.log(p)[:, None] + xp.log(q)[None, :]
    image, back = a.mean[:, None] * b.mean[None, :], a.comean[:, None] * b.comean[None, :]
    g = xp.zeros_like(q)
    if not options.proximal:
        for temperature in falling_temperatures(options.epsilon):
            scaled = project(linearised(problem, image, back), p, q, g, temperature, 1e-3, 20)
            g, image = scaled.g, products.image(scaled.plan)
            back = image if problem.symmetric else products.back(scaled.plan)
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
        if clock.now() > options.deadline:
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


def _compiled(problem: Problem, options: Entropic) -> Solution:
    from gwfast.kernels.sinkhorn import entropic_dense

    plan, _, steps, met = entropic_dense(
        *single_arguments(Products(problem, single=True)),
        np.array(falling_temperatures(options.epsilon), dtype=np.float32),
        np.float32(options.epsilon),
        problem.size,
        options.tol,
        options.max_iter,
        options.scalings,
    )
    rounded = round_to_marginals(plan.astype(np.float64), problem.p, problem.q)
    stop = Stop.MARGINALS if met else Stop.ITERATIONS
    return Solution(Plan(problem.shape, matrix=rounded), stop, "the product coupling", steps)
