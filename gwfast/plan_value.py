"""The upper end: the objective of a plan, with what rounding may have hidden in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gwfast.arrays import Array, item, namespace
from gwfast.arrays.precision import EPS, TINY
from gwfast.features import FeatureCost
from gwfast.losses import SQUARE
from gwfast.losses.value import loss_value
from gwfast.plan import Plan
from gwfast.problem import Problem, Structure, differences, features, second_moments, structure
from gwfast.result import Bound
from gwfast.spaces.space import Space

PLAN = "feasible-plan"


@dataclass(frozen=True)
class PlanValue:
    """Objective of a plan, and the upper bound of the optimum that it proves.

    Attributes
    ----------
    value : 0-d array
        Computed objective.
    bound : Bound
        `value` plus a margin that covers the rounding of the costs, of the sum and of the plan's marginals.
    """

    value: Array
    bound: Bound


def plan_value(problem: Problem, plan: Plan) -> PlanValue:
    r"""Evaluate a plan that is feasible to rounding.

    With S the sum, d the rounding errors of the costs in L2, and e the masses that the marginals of the plan miss,

    .. math:: \min_T \mathrm{GW}(T) \le S + u S + 2 d \sqrt{S} + d^2
              + 4 \Big( \sum_i e_i \sum_j p_j C_{1,ij}^2 + \sum_k e'_k \sum_l q_l C_{2,kl}^2 \Big),

    where u counts the roundings of the sum.  A sum of squares loses nothing else; an expanded form is off by a
    multiple of E C1^2 + E C2^2, and by the missing masses once more.  Unbalanced plans miss nothing, and pay a penalty
    with a margin of its own.  O(N) beyond the objective, for N atoms.
    """
    missing = problem.marginals.missing(plan, problem.p, problem.q)
    if problem.loss is SQUARE:
        found = structure(problem, plan)
        total, margin = found.value, _structure_margin(problem, plan, found, missing)
    else:
        total, margin = _loss_margin(problem, plan, missing)
    value = total
    if problem.M is not None:
        alpha = item(problem.alpha)
        linear, lost = features(problem, plan), _feature_margin(problem, plan, missing)
        value = (1 - alpha) * linear + alpha * total
        margin = (1 - alpha) * lost + alpha * margin
        margin += 8 * EPS * ((1 - alpha) * abs(item(linear)) + alpha * abs(item(total)))
    penalty = problem.marginals.penalty
    if penalty is not None:
        sides = (*plan.marginals(), problem.p, problem.q)
        paid, atoms = penalty.value(*sides), max(plan.shape) if plan.is_dense else plan.mass.shape[0]
        margin += penalty.rounding(*sides, atoms) + 4 * EPS * (abs(item(value)) + abs(item(paid)))
        value = value + paid
    return PlanValue(value, Bound("upper", value + margin, PLAN, margin))


def _structure_margin(problem: Problem, plan: Plan, found: Structure, missing: tuple[Array, Array]) -> float:
    (n, m), total = problem.shape, item(found.value)
    if found.points is not None:
        doubt = found.points.doubt
        rounding = found.points.rounding + doubt * (2 * total**0.5 + doubt)
    elif found.direct:
        rows, cols, mass = plan.atoms()
        same = problem.x.doubt + problem.y.doubt == 0 or (
            problem.x.matches(problem.y, rows, cols) and bool(namespace(mass).all(mass > 0))
        )
        if total == 0 and same and not _differs(problem, Plan(plan.shape, rows, cols, mass)):
            rounding = 0.0
        else:
            doubt = 0.0 if same and total == 0 else _doubt(problem, plan)
            rounding = 4 * (mass.shape[0] + n + m + 16) * EPS * total + doubt * (2 * total**0.5 + doubt) + TINY
    else:
        doubt, size = _doubt(problem, plan), item(second_moments(problem, plan))
        rounding = 8 * (n + m + 32) * EPS * size + doubt * (2 * (2 * size) ** 0.5 + doubt) + TINY
    first, second = missing
    y = problem.y
    if not problem.marginals.columns_used:  # moved mass meets the columns of the plan
        columns = plan.marginals()[1]
        y = y.weighted(columns / namespace(columns).sum(columns))
    moved = item(first @ _squares(problem.x)) + item(second @ _squares(y))
    own = found.direct or found.points is not None  # the value is that of the plan with the marginals it has
    return rounding * (1 + 1e-9) + (2.01 if own else 3.01) * moved


def _doubt(problem: Problem, plan: Plan) -> float:
    """Error of the root of the structure term, from errors of the costs."""
    return (problem.x.doubt + problem.y.doubt) * _mass(problem, plan)


def _mass(problem: Problem, plan: Plan) -> float:
    """Mass of a plan, at least 1; only unbalanced ones have more."""
    if problem.marginals.penalty is None:
        return 1.0
    rows = plan.marginals()[0]
    return max(1.0, 1.001 * item(namespace(rows).sum(rows)))


def _loss_margin(problem: Problem, plan: Plan, missing: tuple[Array, Array]) -> tuple[Array, float]:
    """Value of a loss that is not the square, of admitted costs, and its margin: a missing mass moves it by |L|."""
    found = loss_value(problem.loss, problem.x, problem.y, plan)
    moved = sum(item(namespace(m).sum(m)) for m in missing)
    return found.value, (found.rounding + 4.1 * moved * found.largest) * (1 + 1e-9)


def _differs(problem: Problem, plan: Plan) -> bool:
    """Whether any two matched pairs have different costs, whatever the squares of the differences underflow to."""
    xp = namespace(plan.mass)
    return any(bool(xp.any(gap != 0)) for _, gap in differences(problem.x, problem.y, plan))


def _squares(space: Space) -> Array:
    """Mean squares (n,) of the rows, plus those of the columns."""
    rows = space.moments.rms**2
    return 2 * rows if space.symmetric else rows + space.T.moments.rms**2


def _feature_margin(problem: Problem, plan: Plan, missing: tuple[Array, Array]) -> float:
    if isinstance(problem.M, FeatureCost):
        linear, largest = item(features(problem, plan)), problem.M.largest
        missed = item(namespace(missing[0]).sum(missing[0])) * largest
        if not plan.is_stored:  # an expanded form
            return 16 * (sum(problem.shape) + 64) * EPS * largest + missed * (1 + 1e-9) + TINY
        count = plan.mass.shape[0]
        return (2 * (count + 32) * EPS + problem.M.share_lost) * linear + missed * (1 + 1e-9) + TINY
    xp, M = namespace(problem.M), problem.M
    size = features(replace(problem, M=xp.abs(M)), plan)
    atoms = sum(problem.shape) if plan.is_dense else plan.mass.shape[0]
    spread = item(xp.max(M)) - item(xp.min(M))
    return (2 * (atoms + 32) * EPS * item(size) + item(xp.sum(missing[0])) * spread) * (
        1 + 1e-9
    ) + problem.doubt * _mass(problem, plan)
