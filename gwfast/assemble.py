"""From a plan and bounds to what the caller gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gwfast.arrays import cast_like, item, namespace
from gwfast.budget import UNLIMITED, Budget
from gwfast.certify import marginal_error
from gwfast.method import Found
from gwfast.plan import Plan
from gwfast.plan_value import PlanValue
from gwfast.presolve import Presolved
from gwfast.result import Bound, Certificate, Result, Stop
from gwfast.schedule import Climb, lower_bounds
from gwfast.weight_gradients import optimal_potentials


def finished(request: Presolved, found: Found, effort: str, budget: Budget, solver: str, begin: float) -> Result:
    """The result of a heuristic that is done, with the bounds of an effort."""
    climb = Climb(request.problem, effort, budget, taped=request.taped)
    plan: Plan = found.plan  # pyright: ignore[reportAssignmentType]
    valued = request.valued(plan)  # first: where rows are computed, it gathers what the bounds need
    return assembled(request, found, lower_bounds(climb), solver, begin, valued)


def assembled(
    request: Presolved,
    found: Found,
    bounds: tuple[Bound, ...],
    solver: str,
    begin: float,
    valued: PlanValue | None = None,
) -> Result:
    """The result of a plan and of bounds that are there, in the caller's units and precision."""
    problem = request.problem
    plan: Plan = found.plan  # pyright: ignore[reportAssignmentType]
    valued = request.valued(plan) if valued is None else valued
    value, upper = valued.value, valued.bound
    if request.weights is not None:
        why = "the loss of an entropic plan is no minimum; take result.regularised, which is"
        slope = request.weight_slope(optimal_potentials(problem, plan) if found.potentials is None else why)
        value, upper = value + slope, replace(upper, value=upper.value + slope)
    certificate = request.certificate(Certificate(bounds, upper, marginal_error(problem, plan)))
    result = Result(
        value=value,
        plan=request.plan(plan),
        certificate=certificate,
        stop=found.stop or Stop.EXHAUSTED,
        start=found.start,
        seconds=UNLIMITED.now() - begin,
        solver=solver,
        iterations=found.iterations,
        stationarity=found.stationarity * request.unit,
        loss="square" if request.stated is None else request.stated.problem.loss.name,
    )
    return result if found.potentials is None else _regularised(request, found, result, valued.value)


def _regularised(request: Presolved, found: Found, result: Result, value: Any) -> Result:
    """The result of an entropic plan, with the minimum that it reaches and its duals."""
    plan, potentials = found.plan, found.potentials
    assert plan is not None
    assert potentials is not None
    T = plan.toarray()
    xp = namespace(T)
    entropy = item(xp.sum(T * xp.log(xp.where(T > 0, T, xp.ones_like(T)))))
    total = value + found.epsilon * request.unit * entropy
    slope = request.weight_slope(potentials if found.stop is Stop.MARGINALS else "the iterations had not converged")
    duals = tuple(cast_like(f * request.unit, request.dtype) for f in potentials)
    return replace(result, regularised=total + slope, potentials=duals)
