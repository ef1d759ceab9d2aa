r"""Entropic steps between unbalanced plans: the plan T is the best partner Q of the last one in the bilinear objective.

Each step minimises over Q the objective of :math:`T \otimes Q`, a linear unbalanced transport with prices rho m and
temperature epsilon m, where m is the mass of T; Q is then brought to the mass that is best for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gwfast.arrays import Array, item, namespace
from gwfast.arrays.precision import TINY
from gwfast.budget import UNLIMITED, Budget
from gwfast.heuristics.products import Products
from gwfast.marginals.penalty import Penalty, best_share, entropy
from gwfast.plan import Plan
from gwfast.problem import Problem, features, linearised, second_moments


@dataclass(frozen=True, eq=False)
class Step:
    """A plan (n, m), its product C1 T C2', its potentials, and its objective with the entropic term."""

    plan: Array
    image: Array
    f: Array
    g: Array
    level: float = math.inf


def penalty_of(problem: Problem) -> Penalty:
    """The penalty of an unbalanced problem."""
    penalty = problem.marginals.penalty
    assert penalty is not None
    return penalty


def first_step(products: Products, plan: Array) -> Step:
    """A plan with potentials of 0."""
    problem = products.problem
    xp = namespace(plan)
    return Step(plan, products.image(plan), xp.zeros_like(problem.p), xp.zeros_like(problem.q))


def next_step(products: Products, last: Step, epsilon: float, scalings: int, pull: float = 0.0) -> Step | None:
    """The next plan at a temperature, or None where it is no number; O(n m (n + m) + scalings n m).

    With `pull` the step also pays pull / 2 KL(T x Q | T x T), and is shorter.
    """
    problem, T = products.problem, last.plan
    xp, penalty = namespace(T), penalty_of(problem)
    a, b = xp.sum(T, axis=1), xp.sum(T, axis=0)
    mass = item(xp.sum(a))
    back = last.image if problem.symmetric else products.back(T)
    slopes = penalty.slopes(a, b, problem.p, problem.q)
    own = linearised(problem, last.image, back, Plan(problem.shape, matrix=T)) - slopes[0][:, None] - slopes[1]
    level = penalty.rows * entropy(a, problem.p) + penalty.columns * entropy(b, problem.q)
    cost = own / 2 + level + epsilon / 2 * entropy(T, problem.p[:, None] * problem.q)
    temperature = mass * (epsilon + pull) / 2
    if not temperature > 0:  # no mass, or too little for float64
        return None
    product = xp.log(problem.p)[:, None] + xp.log(problem.q)
    logs = product if pull == 0 else (epsilon * product + pull * xp.log(xp.clip(T, TINY, None))) / (epsilon + pull)
    kernel = logs - cost / temperature
    f, g = _scaled(problem, kernel, last, mass, temperature, scalings)
    plan = xp.exp(f[:, None] / temperature + g / temperature + kernel)
    total = item(xp.sum(plan))
    if not (0 < total < math.inf and mass > 0):
        return None
    plan = plan * math.sqrt(mass / total)
    return weighed(problem, Step(plan, products.image(plan), f, g), epsilon)


def _scaled(
    problem: Problem, kernel: Array, last: Step, mass: float, temperature: float, scalings: int
) -> tuple[Array, Array]:
    """Potentials after some scalings, each followed by the best exchange of a constant between them."""
    xp, penalty, p, q = namespace(kernel), penalty_of(problem), problem.p, problem.q
    first, second = mass * penalty.rows, mass * penalty.columns
    log_p, log_q, f, g = xp.log(p), xp.log(q), last.f, last.g
    for _ in range(scalings):
        inner = g / temperature + kernel
        top = xp.max(inner, axis=1)
        sums = top + xp.log(xp.sum(xp.exp(inner - top[:, None]), axis=1)) - log_p
        f = -temperature * first / (first + temperature) * sums
        inner = (f / temperature)[:, None] + kernel
        top = xp.max(inner, axis=0)
        sums = top + xp.log(xp.sum(xp.exp(inner - top), axis=0)) - log_q
        g = -temperature * second / (second + temperature) * sums
        shift = _log_mean(p, -f / first) - _log_mean(q, -g / second)
        shift = first * second / (first + second) * shift
        f, g = f + shift, g - shift
    return f, g


def _log_mean(weights: Array, values: Array) -> float:
    xp = namespace(values)
    top = item(xp.max(values))
    return top + math.log(max(item(weights @ xp.exp(values - top)), 5e-324))


def weighed(problem: Problem, step: Step, epsilon: float) -> Step:
    """The plan of a step at its best mass, and its objective there."""
    T = step.plan
    xp, penalty = namespace(T), penalty_of(problem)
    plan, product = Plan(problem.shape, matrix=T), problem.p[:, None] * problem.q
    a, b = plan.marginals()
    mass, total = item(xp.sum(a)), penalty.total + epsilon / 2
    linear = 0.0 if problem.M is None else (1 - item(problem.alpha)) * item(features(problem, plan))
    square = _structure(problem, plan, step.image) - total * mass * mass
    entropies = penalty.rows * entropy(a, problem.p) + penalty.columns * entropy(b, problem.q)
    square += 2 * mass * item(entropies + epsilon / 2 * entropy(T, product))
    bend = total * mass * mass
    share = best_share(square, linear, bend) if bend > 0 else 1.0  # no mass, no scale
    level = share * share * (square + 2 * total * mass * mass * math.log(share)) + share * linear + total
    return Step(T * share, step.image * share, step.f, step.g, level)


def _structure(problem: Problem, plan: Plan, image: Array) -> float:
    """Structure term alpha GW of a dense plan from its product."""
    xp = namespace(image)
    return item(problem.alpha * (second_moments(problem, plan) - 2 * xp.sum(plan.matrix * image)))


def falling(products: Products, plan: Array, temperatures: list[float], budget: Budget = UNLIMITED) -> Step:
    """Steps at falling temperatures from a plan; the first is always taken."""
    step = first_step(products, plan)
    for k, epsilon in enumerate(temperatures):
        found = next_step(products, step, epsilon, 10)
        if found is None or (k and budget.expired):
            break
        step = found
    return step
