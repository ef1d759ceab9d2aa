"""(Problem, Plan, effort) -> Bounds: what is proved, from the problem and the plan alone."""

from __future__ import annotations

import math

from gwfast._array import item, namespace
from gwfast.bounds.entries import second_lower_bound
from gwfast.bounds.one_feature import fit, one_feature_bound
from gwfast.bounds.rounding import unit
from gwfast.bounds.rows import row_bounds
from gwfast.bounds.sorting import sorting_bounds
from gwfast.plan import Plan
from gwfast.problem import Problem, objective
from gwfast.result import Bound

EFFORTS = ("sort", "rows")
PLAN = "feasible-plan"


def lower_bounds(problem: Problem, effort: str) -> tuple[Bound, ...]:
    """Climb the ladder of lower bounds up to `effort`."""
    bounds = sorting_bounds(problem)
    family = one_feature_forms(problem)
    if family is not None:
        bounds += (one_feature_bound(problem, *family),)
    if effort == "sort":
        return bounds
    problem = problem.detached()
    return (*bounds, second_lower_bound(problem), *row_bounds(problem)[0])


def one_feature_forms(problem: Problem):
    """Both costs in one-feature form, or None."""
    x = fit(problem.x)
    if x is None:
        return None
    y = fit(problem.y)
    return None if y is None else (x, y)


def plan_bound(problem: Problem, plan: Plan) -> Bound:
    """Upper bound: the objective of a plan whose marginals are right to rounding."""
    value = objective(problem, plan)
    margin = unit(problem) * abs(item(value))
    if plan.is_dense:  # the expanded form cancels
        margin += unit(problem) * problem.size
    return Bound("upper", value, PLAN, margin)


def marginal_error(problem: Problem, plan: Plan) -> float:
    """Largest absolute error of the marginals of a plan."""
    rows, columns = plan.marginals()
    xp = namespace(rows)
    worst = max(item(xp.max(xp.abs(rows - problem.p))), item(xp.max(xp.abs(columns - problem.q))))
    return worst if math.isfinite(worst) else math.inf
