"""A short annealed entropic run: the start that escapes the bad local optima of the product coupling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwfast._array import Array, is_torch, item, namespace
from gwfast.problem import Problem
from gwfast.solvers.products import Products
from gwfast.solvers.sinkhorn import project


@dataclass(frozen=True)
class Schedule:
    """Temperatures as shares of the loss of the product coupling, geometric from `hot` to `cold`."""

    hot: float = 0.3
    cold: float = 0.02
    steps: int = 48
    scalings: int = 20

    def temperatures(self) -> list[float]:
        """The temperature of each step."""
        ratio = (self.cold / self.hot) ** (1 / max(1, self.steps - 1))
        return [self.hot * ratio**k for k in range(self.steps)]


def schedule_for(n: int, m: int) -> Schedule:
    """Many steps where they are cheap, fewer as the products grow: the run costs about as much as the descent."""
    return Schedule(steps=min(48, max(12, round(48 * 40_000 / (n * m)))))


@dataclass(frozen=True, eq=False)
class Annealed:
    """Last plan (n, m) of the run, its potentials, and the last temperature in units of the cost."""

    plan: Array
    f: Array
    g: Array
    epsilon: float


def loss_scale(problem: Problem) -> float:
    """Size of the objective at the product coupling: what temperatures are measured in."""
    a, b = problem.x.moments, problem.y.moments
    structure = item(a.second) + item(b.second) - 2 * item(a.total) * item(b.total)
    scale = problem.alpha * max(structure, 1e-12 * problem.size)
    if problem.M is not None:
        xp = namespace(problem.M)
        scale += (1 - problem.alpha) * item(xp.max(problem.M) - xp.min(problem.M)) / 4
    return scale if scale > 0 else 1.0  # every plan is worth the same


def anneal(products: Products, schedule: Schedule) -> Annealed:
    """Mirror descent with a falling temperature from the product coupling.

    O(steps * (product + scalings * n m)).
    """
    problem = products.problem
    xp = namespace(problem.p)
    dtype = xp.float32 if products.single else xp.float64
    p, q = xp.astype(problem.p, dtype), xp.astype(problem.q, dtype)
    a, b = problem.x.moments, problem.y.moments
    # C1 p q' C2' is of rank one: the first gradient needs no matrix product
    image, back = a.mean[:, None] * b.mean[None, :], a.comean[:, None] * b.comean[None, :]
    cost = -2 * problem.alpha * (image + back)
    if problem.M is not None:
        cost = cost + (1 - problem.alpha) * problem.M
    cost = xp.astype(cost, dtype)
    scale = loss_scale(problem)
    temperatures = [t * scale for t in schedule.temperatures()]
    if products.single and not products.factored and not is_torch(cost):
        return _anneal_host(products, cost, temperatures, schedule.scalings)
    g = xp.zeros_like(q)
    for k, epsilon in enumerate(temperatures):
        scaled = project(cost, p, q, g, epsilon, 1e-4, schedule.scalings)
        g = scaled.g
        if k + 1 < len(temperatures):
            cost = xp.astype(products.gradient(scaled.plan), dtype)
    return Annealed(scaled.plan, scaled.f, scaled.g, temperatures[-1])


def _anneal_host(products: Products, cost: Array, temperatures: list[float], scalings: int) -> Annealed:
    from gwfast._array.anneal_numba import anneal_dense

    problem = products.problem
    c1, c2 = products.costs
    p, q = problem.p.astype(np.float32), problem.q.astype(np.float32)
    linear = np.zeros_like(cost)
    if problem.M is not None:
        linear = ((1 - problem.alpha) * problem.M).astype(np.float32)
    plan, f, g = anneal_dense(
        np.ascontiguousarray(c1),
        np.ascontiguousarray(c2),
        problem.symmetric,
        p,
        q,
        linear,
        np.float32(problem.alpha),
        np.ascontiguousarray(cost),
        np.array(temperatures, dtype=np.float32),
        np.float32(1e-4),
        scalings,
    )
    return Annealed(plan, f, g, temperatures[-1])
