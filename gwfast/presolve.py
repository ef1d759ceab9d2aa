"""From a caller's problem to the one that is solved, and the way back: support, units, offset, precision, tape."""

# pyright: reportConstantRedefinition=false, reportUnnecessaryIsInstance=false
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gwfast import checks
from gwfast.arrays import (
    Array,
    asks_for_gradient,
    cast_like,
    detach,
    item,
    like_scalar,
    namespace,
    needs_grad,
    refused_gradient,
    returned_dtype,
    scalar,
    scalar_down,
    scalar_up,
)
from gwfast.arrays.precision import EPS
from gwfast.errors import InputError
from gwfast.features import FeatureCost
from gwfast.foreign import plan_of
from gwfast.large.atoms import given_atoms, is_large
from gwfast.losses import SPLITS, SQUARE, Loss, loss_of
from gwfast.losses.squared import admitted, squared
from gwfast.marginals import BALANCED
from gwfast.plan import Plan
from gwfast.plan_value import PlanValue, plan_value
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound, Certificate
from gwfast.spaces.dense import Dense
from gwfast.spaces.points_value import takes_points, taped_points
from gwfast.spaces.space import Space
from gwfast.units import near_one, without_offset
from gwfast.weight_gradients import Potentials, weighed, weighed_constant

_MOST_POINTS = 20_000


@dataclass(frozen=True, eq=False)
class Stated:
    """A problem with a loss that is not the square, as its caller stated it.

    Attributes
    ----------
    problem : Problem
        On the points that carry mass, with the costs of the caller, cut from the gradient tape.
    constant : 0-d array
        What its objective has beyond the squared one that is solved, with the gradient tape.
    margin : float
        Bound of the rounding error of `constant`.
    """

    problem: Problem
    constant: Array
    margin: float


@dataclass(frozen=True, eq=False)
class Presolved:
    """A problem made ready for the methods, and what brings their answers back to the caller.

    Attributes
    ----------
    problem : Problem
        On the points that carry mass, cut from the gradient tape, without the offset that both costs share, and of an
        order of magnitude whose squares float64 holds.
    taped : Problem or None
        The same with the tape, where the caller asked torch for gradients.
    rows, cols : integer arrays or None
        The points that carry mass, where some carry none.
    shape : tuple of int
        Numbers of points that the caller passed.
    dtype : torch dtype or None
        Precision of what is handed back; None for numpy.
    unit : float
        Power of two: the caller's objective over that of `problem`.
    weights : pair of arrays or None
        p and q with the tape, where the caller asked torch for gradients of weights; `taped` is cut from them.
    stated : Stated or None
        Where the caller asked for another loss than the square: the caller's objective is `unit` times that of
        `problem`, plus `stated.constant`.
    labels : pair or None
        Names of the points, where the caller passed DataFrames or graphs with names.
    """

    problem: Problem
    taped: Problem | None
    rows: Array | None
    cols: Array | None
    shape: tuple[int, int]
    dtype: Any
    unit: float = 1.0
    stated: Stated | None = None
    weights: tuple[Array, Array] | None = None
    labels: tuple[Any, Any] | None = None

    @property
    def shift(self) -> float:
        """What the caller's objective has beyond `unit` times that of `problem`."""
        return 0.0 if self.stated is None else item(self.stated.constant)

    def plan(self, plan: Plan) -> Plan:
        """Return a plan of the problem as the caller should see it: all points, the caller's precision."""
        plan = plan.lifted(self.rows, self.cols, self.shape)
        if self.labels is not None and plan.is_stored:
            plan = replace(plan, labels=self.labels)
        if self.dtype is None:
            return plan
        if not plan.is_stored:
            return plan
        if plan.is_dense:
            return replace(plan, matrix=cast_like(plan.matrix, self.dtype))
        return replace(plan, mass=cast_like(plan.mass, self.dtype))

    def given(self, plan: Any, name: str = "plan") -> Plan:
        """Return a plan that the caller passed, checked, on the points of the problem; cut from the tape."""
        plan = plan_of(plan, name)
        if isinstance(plan, Plan) and is_large(plan):
            return given_atoms(plan, self.shape, self.rows, self.cols, self.problem.p)
        array = plan.toarray() if isinstance(plan, Plan) or hasattr(plan, "tocoo") else plan
        like = checks.same_library(C1=self.problem.p, **{name: array})
        T = detach(checks.matrix(array, name, "a matrix (n, m)", like=like))
        if tuple(T.shape) != self.shape:
            raise InputError(f"{name}: expected shape {self.shape}, found {tuple(T.shape)}")
        xp = namespace(T)
        if item(xp.min(T)) < 0:
            raise InputError(f"{name}: expected entries >= 0, found {item(xp.min(T)):.3g}; a plan moves mass")
        whole = item(xp.sum(xp.astype(T > 0, xp.int64)))
        if self.rows is not None:
            T = T[self.rows]
        if self.cols is not None:
            T = T[:, self.cols]
        if self.problem.marginals.penalty is not None and item(xp.sum(xp.astype(T > 0, xp.int64))) < whole:
            raise InputError(f"{name}: found mass at points without weight, whose penalty is infinite; take it off")
        filled = int(xp.sum(xp.astype(T > 0, xp.int64)))
        dense = Plan(self.problem.shape, matrix=T)
        return dense if filled > 2 * sum(T.shape) else Plan(self.problem.shape, *dense.atoms())

    def certificate(self, certificate: Certificate) -> Certificate:
        """Return a certificate whose lower bounds are in the caller's units, its ends rounded outwards."""
        bounds = tuple(self._rounded(self._stated(self._in_units(b, -1.0)), scalar_down) for b in certificate.bounds)
        return replace(certificate, bounds=bounds, scale=self.problem.scale * self.unit)

    def valued(self, plan: Plan) -> PlanValue:
        """Objective of a plan, and the upper bound that it proves, in the caller's units and number type.

        With the tape both have the envelope gradient: that of the objective at the fixed plan.
        """
        if self.stated is not None and not self._expanded(plan):
            found = plan_value(self.stated.problem, plan)
            value, bound = found.value, found.bound
        else:
            found = plan_value(self.problem, plan)
            value, bound = found.value * self.unit, self._stated(self._in_units(found.bound, 1.0), 1.0)
            value = value if self.stated is None else value + item(self.stated.constant)
        if self.taped is not None:
            smooth = _taped_objective(self.taped, plan) * self.unit
            smooth = smooth if self.stated is None else smooth + self.stated.constant
            slope = smooth - smooth.detach()
            value, bound = value + slope, replace(bound, value=bound.value + slope)
        return PlanValue(scalar(value, self.dtype), self._rounded(bound, scalar_up))

    def weight_slope(self, potentials: Potentials | str) -> Any:
        """Zero, with the gradient in the weights that potentials of the problem give, or a word why there is none."""
        if self.weights is None:
            return 0.0
        if isinstance(potentials, str):
            refused = refused_gradient(self.weights, f"p, q: {potentials}; pass detached weights to go on")
            return scalar(refused, self.dtype)
        smooth = weighed(self.problem, *self.weights, potentials) * self.unit
        if self.stated is not None:
            smooth = smooth + weighed_constant(self.stated.problem, *self.weights)
        return scalar(smooth - smooth.detach(), self.dtype)

    def _expanded(self, plan: Plan) -> bool:
        """Whether a plan between points has so many atoms that its objective is summed through moments."""
        many = not plan.is_stored or (not plan.is_dense and plan.mass.shape[0] > POLICY.point_atoms)
        return many and takes_points(self.problem.x, self.problem.y)

    def _in_units(self, bound: Bound, side: float) -> Bound:
        """A bound of the squared objective in the caller's units; `side` is 1 for upper ones, -1 for lower ones."""
        value = like_scalar(bound.value, self.problem.p) * self.unit
        if self.unit < 1 and item(value) / self.unit != item(bound.value):  # left float64 at its lower end
            value = value + math.copysign(5e-324, side)
        return replace(bound, value=value, margin=bound.margin * self.unit)

    def _stated(self, bound: Bound, side: float = -1.0) -> Bound:
        """A bound of the squared objective as one of the loss that was asked for."""
        if self.stated is None:
            return bound
        constant, loss = self.stated.constant, self.stated.problem.loss
        margin = self.stated.margin + 4 * EPS * (abs(item(bound.value)) + abs(item(constant)))
        value = bound.value + constant + side * (margin if math.isfinite(margin) else 0.0)
        if side < 0 and SPLITS[loss.name].least == 0 and self.problem.M is None and item(value) < 0:
            value = value - value  # keeps its type
        return replace(bound, value=value, margin=bound.margin + margin)

    def _rounded(self, bound: Bound, rounded: Callable[[Any, Any], Any]) -> Bound:
        given = rounded(bound.value, self.dtype)
        return replace(bound, value=given, margin=bound.margin + abs(item(given) - item(bound.value)))


def presolve(problem: Problem, dtype: Any = None) -> Presolved:
    """Make a checked problem ready for the methods.

    Parameters
    ----------
    problem : Problem
        From `Problem.of`.
    dtype : torch dtype, optional
        Precision to answer in; that of the problem without it.

    Returns
    -------
    Presolved
        `problem` is what methods take.  O(n^2 + m^2).

    Raises
    ------
    InputError
        A gradient in alpha is asked for where float64 holds no common unit of both terms.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> from gwfast.presolve import presolve
    >>> float(presolve(gwfast.Problem.of(np.eye(3) + 1e15, np.eye(3) + 1e15)).problem.x.cost.max())
    0.5
    """
    whole, shape = problem, problem.shape
    weights = (problem.p, problem.q) if asks_for_gradient(problem.p) or asks_for_gradient(problem.q) else None
    x, y, M = problem.x.weighted(detach(problem.p)), problem.y.weighted(detach(problem.q)), problem.M
    rows, cols = _support(problem.p), _support(problem.q)
    if rows is not None:
        x = x.restricted(rows)
        M = M.restricted(rows, None) if isinstance(M, FeatureCost) else None if M is None else M[rows]
    if cols is not None:
        y = y.restricted(cols)
        M = M.restricted(None, cols) if isinstance(M, FeatureCost) else None if M is None else M[:, cols]
    if problem.marginals is not BALANCED:
        x, y, M = _written_out(x, y, M)
    problem, stated = _squared(replace(problem, x=x, y=y, M=M))
    x, y = without_offset(problem.x, problem.y)
    problem, unit = near_one(replace(problem, x=x, y=y))
    taped = None
    if needs_grad(problem.alpha, None if isinstance(M, FeatureCost) else M, *x.arrays(), *y.arrays()):
        taped, problem = problem, problem.detached()
    given = dtype or returned_dtype(whole.x.like)
    names = whole.x.labels, whole.y.labels
    labels = None if names == (None, None) else names
    return Presolved(problem, taped, rows, cols, shape, given, unit, stated, weights, labels)


def _written_out(x: Space, y: Space, M: Any) -> tuple[Space, Space, Any]:
    """Spaces as matrices: where a marginal is free, an error of costs in the mean over it bounds nothing."""
    if max(x.n, y.n) > _MOST_POINTS:
        raise InputError(
            f"marginals: found {x.n} x {y.n} points; plans other than couplings take at most {_MOST_POINTS} on a side"
        )
    dense: list[Space] = []
    for space, name in ((x, "C1"), (y, "C2")):
        if not isinstance(space, Dense):
            written = Dense(space.dense(), space.weights, name=name)
            space = written.doubted(space.detached().entry_error(detach(written.cost)))
        dense.append(space)
    return *dense, M.dense() if isinstance(M, FeatureCost) else M  # pyright: ignore[reportReturnType]


def _squared(problem: Problem) -> tuple[Problem, Stated | None]:
    """The problem with the squared loss, of other costs where the caller asked for another loss."""
    if problem.loss is SQUARE:
        return problem, None
    if problem.marginals is not BALANCED:
        raise InputError(
            f'loss: found "{problem.loss.name}" with {problem.marginals.name} plans; losses other than "square" are '
            "there for couplings"
        )
    x, y = admitted(problem.loss, problem.x, problem.y)
    found, alpha = squared(problem.loss, x, y), item(problem.alpha)
    stated = replace(problem, x=x, y=y).detached()
    constant = problem.alpha * found.constant
    return replace(problem, x=found.x, y=found.y, loss=SQUARE), Stated(stated, constant, alpha * found.margin)


def problem_of(
    C1: Any,
    C2: Any,
    p: Any,
    q: Any,
    M: Any,
    alpha: Any,
    loss: Any = "square",
    floor: Any = None,
    marginals: Any = None,
    weighed: bool = False,
) -> tuple[Problem, Any]:
    """The problem that a front door was given, as such or in parts, and the precision to answer in.

    Weights may ask for a gradient where the door has one, `weighed`.
    """
    if isinstance(C1, Problem):
        parts = {"C2": C2, "p": p, "q": q, "M": M, "alpha": alpha, "floor": floor, "marginals": marginals}
        names = [name for name, value in parts.items() if value is not None]
        names += [] if isinstance(loss, str) and loss == "square" else ["loss"]
        if names:
            raise InputError(f"{names[0]}: found one beside a Problem, which holds its own; pass the Problem alone")
        _check_parts(C1)
        share = None if C1.M is None else C1.alpha
        problem = Problem.of(C1.x, C1.y, M=C1.M, alpha=share, marginals=C1.marginals)
        _check_weights(problem, weighed, ("p", "q"))
        return replace(problem, loss=C1.loss), None
    if C2 is None:
        raise InputError("C2: expected an array of numbers or a Space, found None; pass two costs, or one Problem")
    problem = Problem.of(C1, C2, p, q, M=M, alpha=alpha, loss=loss, floor=floor, marginals=marginals)
    _check_weights(problem, weighed, ("p" if p is not None else "C1.weights", "q" if q is not None else "C2.weights"))
    return problem, returned_dtype(C1)


def _check_weights(problem: Problem, weighed: bool, names: tuple[str, str]) -> None:
    for weights, name in zip((problem.p, problem.q), names):
        if not asks_for_gradient(weights):
            continue
        if not weighed:
            raise InputError(
                f"{name}: found weights that ask for a gradient, which exact_gw and entropic_gw alone compute; "
                f"pass {name}.detach()"
            )
        count = int(namespace(weights).sum(weights == 0))
        if count:
            raise InputError(
                f"{name}: found {count} points without mass and weights that ask for a gradient; the value has "
                f"one-sided derivatives there: drop those points, or pass {name}.detach()"
            )


def _check_parts(problem: Problem) -> None:
    if not isinstance(problem.loss, Loss):
        raise InputError(f"loss: expected a Loss, found {problem.loss!r}; leave it out for the squared loss")
    loss_of(problem.loss)


def _support(p: Array) -> Array | None:
    xp = namespace(p)
    if bool(xp.all(p > 0)):
        return None
    return xp.nonzero(p > 0)[0]


def _taped_objective(problem: Problem, plan: Plan) -> Array:
    """Objective at a fixed plan, as plain differentiable operations."""
    if not plan.is_stored:
        n, m = plan.shape
        raise InputError(
            f"C1: found points that ask for a gradient, and an entropic plan of {n} x {m} points, which is not stored; "
            "pass C1.detached(), or exact_gw, whose plan has few atoms"
        )
    if plan.is_dense:
        T = plan.matrix
        p, q = plan.marginals()
        c1, c2 = problem.x.dense(), problem.y.dense()
        value = p @ (c1 * c1) @ p + q @ (c2 * c2) @ q - 2 * (T * (c1 @ T @ c2.mT)).sum()
    elif plan.mass.shape[0] > POLICY.point_atoms and takes_points(problem.x, problem.y):
        value = taped_points(problem.x, problem.y, plan)
    else:
        gap = problem.x.gather(plan.rows, plan.rows) - problem.y.gather(plan.cols, plan.cols)
        value = plan.mass @ (gap * gap) @ plan.mass
    if problem.M is None:
        return value
    linear = (problem.M * plan.toarray()).sum()
    return (1 - problem.alpha) * linear + problem.alpha * value
