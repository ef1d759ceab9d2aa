"""What a call hands back: why it stopped, what is proved, and the plan.  Data only."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from gwfast.arrays import item
from gwfast.errors import InputError
from gwfast.plan import Plan
from gwfast.problem import Problem


class Stop(Enum):
    """Why a solver stopped; each value is the sentence that the table prints."""

    CLOSED_FORM = "closed form: nothing to iterate"
    STATIONARY = "stationary: no linear step improves the plan"
    STALLED = "the objective no longer changes"
    MARGINALS = "marginal error and objective change below tolerance"
    ITERATIONS = "iteration limit"
    TIME_LIMIT = "time limit"
    GAP_REACHED = "asked gap reached"
    OPTIMAL = "proved optimal to rounding"
    ROUNDING = "the interval is no wider than its rounding margins: the size of the costs hides the rest"
    MEMORY_LIMIT = "memory limit: bounds that need more were left out; raise memory_limit"
    EXHAUSTED = "every bound of the asked effort was computed"
    INTERRUPTED = "interrupted: best so far"


class Rounding(Enum):
    """What the rounding margins of an interval say of its width."""

    OPEN = "wider than the margins"
    OPTIMAL = "no wider than the margins, and these are small beside the objective or the costs"
    HIDDEN = "no wider than the margins, which the size of the costs makes large beside the objective"


LOSS_NAMES = {"square": "squared loss", "kl": "Kullback-Leibler loss", "inner": "inner-product loss"}
_SMALL_MARGIN, _SMALL_VALUE = 1e-6, 1e-12  # shares of the objective and of the costs' scale that count as rounding
_CLOSED = 4  # margins: bounds that are lowered before they are squared lose up to three more on the way


def judge(lower: float, upper: float, lower_margin: float, upper_margin: float, scale: float) -> Rounding:
    """Compare the width of an interval with the rounding margins of its ends."""
    margin = lower_margin + upper_margin
    if not upper - lower <= _CLOSED * margin:
        return Rounding.OPEN
    value = abs(upper - upper_margin)
    if margin <= _SMALL_MARGIN * value or value <= _SMALL_VALUE * scale:
        return Rounding.OPTIMAL
    return Rounding.HIDDEN


class Dual(Protocol):
    """Numbers that a solver found and that prove a bound without it."""

    def verify(self, problem: Problem) -> Bound:
        """Prove the bound from the problem and these numbers alone."""
        ...


@dataclass(frozen=True)
class Bound:
    """A proved bound on the optimal objective.

    Attributes
    ----------
    side : {"lower", "upper"}
    value : float or 0-d tensor
        The bound, with its rounding margin already taken off (lower) or added (upper).
    theorem : str
        Label of the theorem and of its page in the docs.
    margin : float
        The rounding margin.
    seconds : float
        What it cost; NaN where not measured.
    dual : Dual or None
        What proves it again without the solver, where the theorem has one (reformulation, cone); see `verify`.
    """

    side: str
    value: Any
    theorem: str
    margin: float = 0.0
    seconds: float = math.nan
    dual: Dual | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, eq=False)
class Certificate:
    """What is proved about a problem: every bound by name, and the interval that they leave.

    Attributes
    ----------
    bounds : tuple of Bound
        All lower bounds that were computed, in the order of the ladder.
    plan_value : Bound or None
        Upper bound: the objective of a feasible plan; None where no plan was given.
    marginal_error : float
        Largest violation of the marginals by the plan that was certified, before it was repaired; NaN without plan.
    scale : float
        What counts as rounding is measured in: the variance of both costs without offsets of rows, columns and
        diagonal, and the range of M, weighted by alpha; NaN where not known.
    unverified : tuple of str
        Theorems of the certificate that `verify` was given whose bounds it could not prove again, and so left out.
    """

    bounds: tuple[Bound, ...]
    plan_value: Bound | None = None
    marginal_error: float = math.nan
    unverified: tuple[str, ...] = ()
    scale: float = math.nan

    @property
    def best(self) -> Bound:
        """The largest lower bound; minus infinity where nothing is proved."""
        return max(self.bounds, key=lambda b: item(b.value), default=Bound("lower", -math.inf, "nothing proved"))

    @property
    def lower(self) -> Any:
        """Value of the largest lower bound, never above the upper end."""
        best = self.best.value
        if self.plan_value is not None and item(best) > item(self.plan_value.value):
            return self.plan_value.value
        return best

    @property
    def upper(self) -> Any:
        """Objective of the plan plus its rounding margin, or infinity without a plan."""
        return math.inf if self.plan_value is None else self.plan_value.value

    @property
    def gap(self) -> float:
        """(upper - lower) / abs(upper); 0 where the ends are equal."""
        upper, lower = item(self.upper), item(self.lower)
        if upper == lower:
            return 0.0
        return (upper - lower) / abs(upper) if upper and math.isfinite(upper - lower) else math.inf

    @property
    def rounding(self) -> Rounding:
        """What the rounding margins say of the width of the interval."""
        if self.plan_value is None:
            return Rounding.OPEN
        return judge(item(self.lower), item(self.upper), self.best.margin, self.plan_value.margin, self.scale)

    @property
    def optimal(self) -> bool:
        """Whether the plan is proved optimal to rounding."""
        return self.rounding is Rounding.OPTIMAL

    def __getitem__(self, theorem: str) -> Bound:
        for bound in self.bounds:
            if bound.theorem == theorem:
                return bound
        raise KeyError(f"{theorem!r} is not among the bounds {', '.join(b.theorem for b in self.bounds)}")

    def __str__(self) -> str:
        return "\n".join(_certificate_lines(self))


@dataclass(frozen=True, eq=False)
class Result:
    """Answer of a front door.

    Attributes
    ----------
    value : float or 0-d tensor
        Objective of `plan`, in float64: a squared Gromov-Wasserstein loss, POT's `gromov_wasserstein2`.
    plan : Plan
        A feasible plan.
    certificate : Certificate
        What is proved.
    stop : Stop
        Why the solver stopped; says nothing about optimality.
    start : str
        Which start or feature the plan came from.
    iterations : int
        Outer iterations of the solver.
    stationarity : float
        Frank-Wolfe gap of the plan: how much a linear model promises to a better plan; NaN where not computed.
    seconds : float
        Wall time.
    solver : str
        Name of the front door.
    loss : str
        Name of the loss.
    notes : tuple of str
        What was done with a start, and which plans were allowed, where it was asked for.
    regularised : float or 0-d tensor
        Of `entropic_gw` with mirror descent: `value` plus epsilon times the sum of T log T, what it minimises, with its
        gradient in costs and weights; NaN otherwise.
    potentials : pair of arrays (n,), (m,) or None
        The duals of that minimum: epsilon log T_ik = f_i + g_k - gradient_ik, on the points that carry mass.
    """

    value: Any
    plan: Plan
    certificate: Certificate
    stop: Stop
    start: str
    seconds: float
    solver: str
    iterations: int = 0
    stationarity: float = math.nan
    loss: str = "square"
    notes: tuple[str, ...] = ()
    regularised: Any = math.nan
    potentials: tuple[Any, Any] | None = field(default=None, repr=False)

    @property
    def lower(self) -> Any:
        """Proved: no plan has a smaller objective."""
        return self.certificate.lower

    @property
    def upper(self) -> Any:
        """Proved: `value` plus its rounding margin; the plan is feasible."""
        return self.certificate.upper

    @property
    def gap(self) -> float:
        """(upper - lower) / abs(upper)."""
        return self.certificate.gap

    @property
    def optimal(self) -> bool:
        """Whether the plan is proved optimal to rounding: the interval is no wider than small rounding margins."""
        return self.certificate.optimal

    @property
    def distance(self) -> Any:
        """Square root of `value`, the distance GW_2 where no feature cost is given; NaN where features make it < 0.

        The squared loss alone has one; InputError for others.
        """
        if self.loss != "square":
            raise InputError(f'distance: found loss="{self.loss}", whose root is no distance; take value')
        return self.value**0.5 if item(self.value) >= 0 else math.nan

    def __str__(self) -> str:
        n, m = self.plan.shape
        lines = [
            f"gwfast.{self.solver}   {n} x {m} points",
            f"  value        {_number(self.value)}   objective of the plan ({LOSS_NAMES[self.loss]})",
            *([f"  distance     {_number(self.distance)}   its square root"] if self.loss == "square" else []),
            *_certificate_lines(self.certificate),
            f"  plan         {self.plan!r}, from {self.start}",
            f"  stopped      {self.stop.value}" + (f" ({self.iterations} iterations)" if self.iterations else ""),
        ]
        if math.isfinite(self.stationarity):
            lines.append(f"  stationarity {_number(self.stationarity)}   Frank-Wolfe gap")
        lines.extend(f"  note         {note}" for note in self.notes)
        lines.append(f"  time         {_time(self.seconds)}")
        return "\n".join(lines)


def _certificate_lines(certificate: Certificate) -> list[str]:
    if certificate.plan_value is None:
        lines = [f"  lower        {_number(certificate.lower)}   proved: no plan has a smaller objective"]
    else:
        ends = f"[{_number(certificate.lower)}, {_number(certificate.upper)}]"
        lines = [
            f"  interval     {ends}   proved to hold the optimum",
            f"  gap          {_gap(certificate)}",
        ]
    lines.append(f"  lower from   {certificate.best.theorem}")
    if certificate.unverified:
        lines.append(f"  left out     {', '.join(certificate.unverified)}   not proved again: no dual is stored")
    if math.isfinite(certificate.marginal_error):
        lines.append(f"  marginals    {certificate.marginal_error:.1e}   largest error of the plan")
    return lines


def _gap(certificate: Certificate) -> str:
    if certificate.optimal:
        return "none: optimal to rounding"
    hidden = "   the size of the costs hides the answer: rounding margins are as wide as the interval"
    gap = f"{100 * certificate.gap:.3g} %" if math.isfinite(certificate.gap) else "-"
    return gap + (hidden if certificate.rounding is Rounding.HIDDEN else "")


def _number(x: Any) -> str:
    return f"{item(x):.6g}" if math.isfinite(item(x)) else "-"


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
