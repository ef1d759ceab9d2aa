"""From a plan and bounds to what the caller gets."""

from __future__ import annotations

from gwfast.budget import UNLIMITED, Budget
from gwfast.certify import marginal_error
from gwfast.method import Found
from gwfast.plan import Plan
from gwfast.plan_value import PlanValue
from gwfast.presolve import Presolved
from gwfast.result import Bound, Certificate, Result, Stop
from gwfast.schedule import Climb, lower_bounds


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
    certificate = request.certificate(Certificate(bounds, valued.bound, marginal_error(problem, plan)))
    return Result(
        value=valued.value,
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
