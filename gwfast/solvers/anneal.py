"""A short annealed entropic run: the start that escapes the bad local optima of the product coupling."""

from __future__ import annotations

from dataclasses import dataclass

from gwfast._array import Array, item, namespace
from gwfast.problem import Problem
from gwfast.solvers.products import Products
from gwfast.solvers.sinkhorn import project


@dataclass(frozen=True)
class Schedule:
    """Temperatures as shares of the loss of the product coupling, geometric from `hot` to `cold`."""

    hot: float = 0.2
    cold: float = 0.01
    steps: int = 12
    scalings: int = 30

    def temperatures(self) -> list[float]:
        """The temperature of each step."""
        ratio = (self.cold / self.hot) ** (1 / max(1, self.steps - 1))
        return [self.hot * ratio**k for k in range(self.steps)]


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
    g = xp.zeros_like(q)
    temperatures = [t * scale for t in schedule.temperatures()]
    for k, epsilon in enumerate(temperatures):
        scaled = project(cost, p, q, g, epsilon, 1e-4, schedule.scalings)
        g = scaled.g
        if k + 1 < len(temperatures):
            cost = xp.astype(products.gradient(scaled.plan), dtype)
    return Annealed(scaled.plan, scaled.f, scaled.g, temperatures[-1])
