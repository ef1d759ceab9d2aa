"""Plans that are permutations: rounding, iterated exchanges, the best kept."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from gwfast.arrays import from_numpy, item, to_numpy
from gwfast.bounds.linear import minimum
from gwfast.bounds.scaled import Scaled, scaled
from gwfast.budget import UNLIMITED, Budget
from gwfast.kernels.hahn_grant import value_of
from gwfast.kernels.iterated_exchanges import iterated
from gwfast.method import Found
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.problem import Problem


def good_permutation(s: Scaled, plans: list[np.ndarray], kicks: int = 100, budget: Budget = UNLIMITED) -> np.ndarray:
    """Round plans (n, m) to permutations, and return the best after iterated exchanges; O(n^3) a kick, seeded."""
    n = len(s.p)
    M = n * s.features
    rng = np.random.default_rng(0)
    least = 1e-14 * n * n * s.size
    best, least_value = np.arange(n), math.inf
    for T in plans:
        if budget.expired and math.isfinite(least_value):
            break
        target = minimum(-T, s.p, s.q).cols.astype(np.int64)
        iterated(s.first, s.second, M, target, rng.integers(0, n, (kicks, 6)), least)
        value = value_of(s.first, s.second, M, target)
        if value < least_value:
            best, least_value = target, value
    return best


def permuted(problem: Problem, found: Found, budget: Budget = UNLIMITED) -> Found:
    """A found plan as a permutation: itself, its rounding, the linear model's choice and random ones, exchanged.

    About `POLICY.kick_steps` steps in all, fewer before the deadline; for n = m points of one mass.
    """
    assert found.plan is not None
    s, n = scaled(problem), problem.shape[0]
    T = to_numpy(found.plan.toarray())
    slope = -2 * (s.first @ T @ s.second.T + s.first.T @ T @ s.second) + s.features
    rng = np.random.default_rng(1)
    plans = [T, -slope, *(np.eye(n)[rng.permutation(n)] for _ in range(POLICY.kick_starts))]
    steps = min(POLICY.kick_steps, budget.left / POLICY.kick_step) if budget.limited else POLICY.kick_steps
    kicks = int(max(1, min(POLICY.kicks, steps / (len(plans) * n**3))))
    target = good_permutation(s, plans, kicks, budget)
    plan = Plan.from_permutation(from_numpy(target, problem.p), problem.p)
    given = found.plan.permutation
    if given is not None and item(problem.objective(found.plan)) <= item(problem.objective(plan)):
        return found
    return replace(found, plan=plan, start=f"{found.start}, exchanged", stationarity=math.nan)
