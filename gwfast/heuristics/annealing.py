"""A short annealed entropic run: the start that escapes the bad local optima of the product coupling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gwfast.arrays import Array, item, namespace, on_host
from gwfast.budget import UNLIMITED, Budget
from gwfast.heuristics.products import Products
from gwfast.marginals import BALANCED
from gwfast.policy import POLICY
from gwfast.problem import Problem, linearised


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
    if n * m <= 64**2:
        return Schedule(steps=120)
    return Schedule(steps=min(56, max(12, round(56 * 40_000 / (n * m)))))


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
    mass = problem.marginals.mass  # of which the gradient is a multiple
    scale = problem.alpha * mass * max(structure, 1e-12 * problem.size)
    if problem.M is not None:
        xp = namespace(problem.M)
        scale += (1 - problem.alpha) * item(xp.max(problem.M) - xp.min(problem.M)) / 4
    return scale if scale > 0 else 1.0  # every plan is worth the same


def anneal(products: Products, schedule: Schedule, budget: Budget = UNLIMITED) -> Annealed:
    """Mirror descent with a falling temperature from the product coupling.

    O(steps * (product + scalings * n m)).  Where not all steps fit into `budget`, fewer of them reach the last
    temperature; the first is always taken.
    """
    scale = loss_scale(products.problem)
    left = [t * scale for t in schedule.temperatures()]
    host = products.single and not products.factored and on_host(products.problem.p)
    host = host and products.problem.marginals is BALANCED
    run = _host_run(products, schedule.scalings) if host else _array_run(products, schedule.scalings)
    begin, done, count = budget.now(), 0, 1 if budget.limited else len(left)
    while True:
        found = run(left[:count])
        done += count
        pace = max((budget.now() - begin) / done, 1e-9)
        left = _fitting(left[count:], int(budget.left / pace) if budget.limited else done)
        if not left:
            return found
        count = min(len(left), max(1, int(POLICY.anneal_look / pace)))


def _fitting(temperatures: list[float], most: int) -> list[float]:
    """At most so many of the temperatures, evenly spread, the last one among them."""
    size = len(temperatures)
    if most >= size:
        return temperatures
    return [temperatures[size - 1 - round(k * size / most)] for k in range(most)][::-1]


Run = Callable[[list[float]], Annealed]


def _array_run(products: Products, scalings: int) -> Run:
    """Steps at some temperatures, each call from where the last one ended."""
    problem = products.problem
    xp = namespace(problem.p)
    dtype = xp.float32 if products.single else xp.float64
    p, q = xp.astype(problem.p, dtype), xp.astype(problem.q, dtype)
    last: list[Annealed] = []

    def run(temperatures: list[float]) -> Annealed:
        for epsilon in temperatures:
            cost = products.gradient(last[0].plan) if last else _first_gradient(products)
            g = last[0].g if last else xp.zeros_like(q)
            found = problem.marginals.project(xp.astype(cost, dtype), p, q, g, epsilon, 1e-4, scalings)
            last[:] = [Annealed(found.plan, found.f, found.g, epsilon)]
        return last[0]

    return run


def _host_run(products: Products, scalings: int) -> Run:
    """The same by the compiled kernel."""
    from gwfast.kernels.sinkhorn import anneal_dense

    arguments = single_arguments(products)
    n, m = products.problem.shape
    K, f, g = np.empty((n, m), np.float32), np.zeros(n, np.float32), np.zeros(m, np.float32)
    begun = [False]

    def run(temperatures: list[float]) -> Annealed:
        falling = np.array(temperatures, dtype=np.float32)
        anneal_dense(*arguments, falling, np.float32(1e-4), scalings, K, f, g, begun[0])
        begun[0] = True
        return Annealed(K, f, g, temperatures[-1])

    return run


def _first_gradient(products: Products) -> Array:
    """Gradient (n, m) at the plan that prefers no pair."""
    problem = products.problem
    if problem.marginals is BALANCED:
        return first_gradient(problem)
    return products.gradient(problem.marginals.start(problem.p, problem.q))


def first_gradient(problem: Problem) -> Array:
    """Gradient (n, m) at the product coupling: C1 p q' C2' is of rank one, so no matrix product is needed."""
    a, b = problem.x.moments, problem.y.moments
    return linearised(problem, a.mean[:, None] * b.mean[None, :], a.comean[:, None] * b.comean[None, :])


def single_arguments(products: Products) -> tuple[Any, Any, bool, Any, Any, Any, Any, Any]:
    """What the compiled runs need, in float32: costs, symmetry, weights, (1 - alpha) M, alpha, first gradient."""
    problem = products.problem
    c1, c2 = products.costs
    cost = np.ascontiguousarray(first_gradient(problem), dtype=np.float32)
    linear = np.zeros_like(cost)
    if problem.M is not None:
        linear = ((1 - problem.alpha) * problem.M).astype(np.float32)
    return (
        np.ascontiguousarray(c1),
        np.ascontiguousarray(c2),
        problem.symmetric,
        problem.p.astype(np.float32),
        problem.q.astype(np.float32),
        linear,
        np.float32(problem.alpha),
        cost,
    )
