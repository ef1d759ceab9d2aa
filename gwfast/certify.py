"""(Problem, Plan, effort) -> Bounds: what is proved, from the problem and the plan alone."""

from __future__ import annotations

import math

from gwfast.arrays import Array, item, namespace
from gwfast.errors import InputError
from gwfast.plan import Plan
from gwfast.problem import Problem
from gwfast.result import Bound
from gwfast.schedule import Aim, climb, keep_best
from gwfast.transport import round_to_marginals


def lower_bounds(problem: Problem, effort: str, aim: Aim | None = None) -> tuple[Bound, ...]:
    """Climb the ladder of lower bounds up to `effort`, and return the best bound of each theorem."""
    found: dict[str, Bound] = {}
    for rung in climb(problem, effort, aim or Aim()):
        keep_best(found, rung.bounds)
    return tuple(found.values())


def repaired(problem: Problem, plan: Plan) -> tuple[Plan, float]:
    """Return a caller's plan with its marginals made right, and the `marginal_error` that it had; O(nm)."""
    error = marginal_error(problem, plan)
    if error > 0.05:
        raise InputError(f"plan: its marginals differ from p and q by up to {error:.3g}; pass the p and q it is for")
    rows, columns = plan.marginals()
    if error > 1e-13 or _misses(rows, problem.p) or _misses(columns, problem.q):
        plan = Plan(plan.shape, matrix=round_to_marginals(plan.toarray(), problem.p, problem.q))
    return plan, error


def _misses(found: Array, weights: Array) -> bool:
    """Whether some points, light ones perhaps, do not have the mass they should."""
    xp = namespace(weights)
    return bool(xp.any(xp.abs(found - weights) > 1e-8 * weights))


def marginal_error(problem: Problem, plan: Plan) -> float:
    """Largest absolute error of the marginals of a plan."""
    rows, columns = plan.marginals()
    xp = namespace(rows)
    worst = max(item(xp.max(xp.abs(rows - problem.p))), item(xp.max(xp.abs(columns - problem.q))))
    return worst if math.isfinite(worst) else math.inf
