"""What a method is: for which problems it is a theorem, what it needs, and a run that gives what it finds step by step.

A new bound or search is one file that ends with its `Method`, and one line in `gwfast.methods`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gwfast.arrays import item
from gwfast.budget import UNLIMITED, Budget
from gwfast.errors import GWFastError
from gwfast.features import FeatureCost
from gwfast.plan import Plan
from gwfast.problem import Problem
from gwfast.result import Bound, Rounding, Stop, judge

EFFORTS = ("sort", "rows", "spectral", "dual", "prove")


@dataclass(frozen=True, eq=False)
class Found:
    """What any method gives: proved bounds, a plan, both, or neither yet.

    Attributes
    ----------
    bounds : tuple of Bound
    plan : Plan or None
        Without a claim about the optimum.
    stop : Stop or None
        Why the method ended; None where it may go on.
    start : str
        Where the plan came from.
    iterations : int
    stationarity : float
        Frank-Wolfe gap at the plan; NaN where not computed.
    potentials : pair of arrays or None
        Of an entropic plan: epsilon log T = f + g - gradient.
    epsilon : float
        The temperature of that plan.
    """

    bounds: tuple[Bound, ...] = ()
    plan: Plan | None = None
    stop: Stop | None = None
    start: str = ""
    iterations: int = 0
    stationarity: float = math.nan
    potentials: tuple[Any, Any] | None = None
    epsilon: float = math.nan


@dataclass(frozen=True, eq=False)
class Incumbent:
    """The best plan and the best bound known, and the gap asked for.

    Attributes
    ----------
    plan : Plan or None
    upper, upper_margin : float
        Proved upper end of the plan and its rounding margin.  Sets step lengths and stops, never enters a bound.
    lower, lower_margin : float
    gap : float
        Relative gap to stop at.
    shift : float
        The caller's objective is larger by this; relative gaps are those of the caller.
    """

    plan: Plan | None = None
    upper: float = math.inf
    upper_margin: float = 0.0
    lower: float = -math.inf
    lower_margin: float = 0.0
    gap: float = 0.0
    shift: float = 0.0

    def with_plan(self, plan: Plan | None, bound: Bound) -> Incumbent:
        """The same with `plan`, whose upper end is `bound`."""
        return replace(self, plan=plan, upper=item(bound.value), upper_margin=bound.margin)

    def with_bounds(self, bounds: tuple[Bound, ...]) -> Incumbent:
        """The same with the best of some bounds, where it is better."""
        best = max(bounds, key=lambda b: item(b.value), default=None)
        if best is None or not item(best.value) > self.lower:
            return self
        return replace(self, lower=item(best.value), lower_margin=best.margin)

    @property
    def target(self) -> float | None:
        """The upper end, or None without a plan."""
        return self.upper if math.isfinite(self.upper) else None

    @property
    def enough(self) -> bool:
        """Whether the gap is as small as asked."""
        return math.isfinite(self.upper) and self.upper - self.lower <= self.gap * abs(self.upper + self.shift)

    def rounding(self, scale: float = 0.0) -> Rounding:
        """What the rounding margins say of the width of the interval."""
        if not math.isfinite(self.upper):
            return Rounding.OPEN
        return judge(self.lower, self.upper, self.lower_margin, self.upper_margin, scale)

    @property
    def closed(self) -> bool:
        """Whether the gap is closed as far as asked, or to rounding."""
        return self.enough or self.rounding() is not Rounding.OPEN


@dataclass(frozen=True)
class Domain:
    """For which problems the bounds of a method are theorems.

    Attributes
    ----------
    marginals, losses : tuple of str
        Names of feasible sets and losses.
    symmetric : bool
        Only where both costs are symmetric.
    permutations : bool
        Only where n = m and all weights are equal.
    features : bool
        Also where the feature cost is no matrix but a `FeatureCost`.
    """

    marginals: tuple[str, ...] = ("balanced",)
    losses: tuple[str, ...] = ("square",)
    symmetric: bool = False
    permutations: bool = False
    features: bool = False

    def holds(self, problem: Problem) -> bool:
        """Whether `problem` is one of them."""
        return (
            problem.marginals.name in self.marginals
            and problem.loss.name in self.losses
            and (problem.symmetric or not self.symmetric)
            and (problem.uniform or not self.permutations)
            and (self.features or not isinstance(problem.M, FeatureCost))
        )


@dataclass(frozen=True)
class Need:
    """What a run takes before it has anything to say: seconds, on a slow machine, and bytes."""

    seconds: float = 0.0
    size: float = 0.0


@dataclass
class Turn:
    """What a run may look at in a step; the schedule renews it before each.

    Attributes
    ----------
    budget : Budget
        Never passed.
    incumbent : Incumbent
    spent : float
        Seconds that the pieces of this step should have taken, by the model of the method: a run hands over by this
        number and not by the clock, so that calls that no deadline cuts give the same numbers every time.
    """

    budget: Budget = UNLIMITED
    incumbent: Incumbent = field(default_factory=Incumbent)
    spent: float = 0.0

    def spend(self, seconds: float) -> None:
        """Note a piece of work that takes so many seconds on a slow machine."""
        self.spent += seconds


Steps = Generator[Found, None, None]


class OutsideTheorem(GWFastError):
    """A method was asked for a bound of a problem for which it is no theorem."""


class Run:
    """A method at work on one problem: what it finds is pulled, a step at a time.

    Parameters
    ----------
    method : Method
    problem : Problem
    """

    def __init__(self, method: Method, problem: Problem):
        self.method, self.turn = method, Turn()
        self._steps = method.steps(problem, self.turn)

    def step(self, budget: Budget = UNLIMITED, length: float = math.inf, incumbent: Incumbent | None = None) -> Found:
        """Work for about `length` seconds or to the end, and return the best found; `stop` is None at a pause."""
        self.turn.budget, self.turn.spent = budget, 0.0
        self.turn.incumbent = incumbent or Incumbent()
        best: dict[str, Bound] = {}
        plan, stop = None, None
        try:
            for found in self._steps:
                keep_best(best, (replace(b, value=_number(b)) for b in found.bounds))
                plan, stop = found.plan or plan, found.stop
                if stop is not None or self.turn.spent >= length:
                    break
            else:
                stop = Stop.EXHAUSTED
        except np.linalg.LinAlgError:  # costs or weights so extreme that linear algebra gives up prove nothing
            stop = Stop.STALLED
        foreign = set(best) - set(self.method.theorems)
        if foreign:
            raise OutsideTheorem(f"{self.method.name}: found bounds of {', '.join(foreign)}, which it does not declare")
        return Found(tuple(best.values()), plan, stop)

    def close(self) -> None:
        """Free what the run holds."""
        self._steps.close()


@dataclass(frozen=True)
class Method:
    """A way to bounds, and to plans beside them.

    Attributes
    ----------
    name : str
    effort : str
        The least effort that asks for it.
    theorems : tuple of str
        Labels of the bounds that it may give; each has a page in docs/theory.
    steps : callable
        (problem, turn) -> generator of `Found`; it yields between two pieces of its work.
    domain : Domain
        The problems for which the bounds are theorems; others are refused.
    suits : callable
        Whether it is worth its time for a problem.
    settles : callable
        Whether it closes problems of this kind; such a method goes before those that may help.
    need : callable
        What it takes before it has anything to say.
    once : bool
        Whether one pass is all: bounds that `verify` computes again.
    differentiable : bool
        Whether its bounds keep torch's gradient tape.
    lean : bool
        Whether it holds no array of n^2, m^2 or nm numbers where the spaces hold none.
    duals : mapping of str to type
        By theorem, the class of the stored numbers that prove it again.
    """

    name: str
    effort: str
    theorems: tuple[str, ...]
    steps: Callable[[Problem, Turn], Steps]
    domain: Domain = Domain()
    suits: Callable[[Problem], bool] = lambda problem: True
    settles: Callable[[Problem], bool] = lambda problem: False
    need: Callable[[Problem], Need] = lambda problem: Need()
    once: bool = False
    differentiable: bool = False
    lean: bool = False
    duals: Mapping[str, type[Any]] = field(default_factory=lambda: dict[str, type[Any]]())

    def applies(self, problem: Problem) -> bool:
        """Whether the bounds are theorems for `problem`."""
        return self.domain.holds(problem)

    def start(self, problem: Problem) -> Run:
        """A run on `problem`; OutsideTheorem where the method is no theorem for it."""
        if not self.applies(problem):
            raise OutsideTheorem(
                f"{self.name}: no theorem for {problem.marginals.name} plans, loss {problem.loss.name!r}"
                f"{'' if problem.symmetric else ', asymmetric costs'}{'' if problem.uniform else ', these weights'}"
            )
        return Run(self, problem)


def one_pass(find: Callable[[Problem], Found]) -> Callable[[Problem, Turn], Steps]:
    """The steps of a method that is done in one pass."""

    def steps(problem: Problem, turn: Turn) -> Steps:
        yield replace(find(problem), stop=Stop.EXHAUSTED)

    return steps


def while_it_fits(pieces: Iterable[Found], seconds: float, turn: Turn) -> Steps:
    """The pieces of a method that cannot make them shorter, as long as another one would end before the deadline.

    `seconds` is what a piece should take.
    """
    longest, begin = 0.0, turn.budget.now()
    for found in pieces:
        longest = max(longest, turn.budget.now() - begin)
        turn.spend(seconds)
        yield found
        begin = turn.budget.now()
        if not turn.budget.fits(longest):
            yield Found(stop=Stop.TIME_LIMIT)
            return


def keep_best(found: dict[str, Bound], bounds: Any) -> None:
    """Keep the largest bound of each theorem in `found`."""
    for bound in bounds:
        old = found.get(bound.theorem)
        if old is None or item(bound.value) > item(old.value):
            found[bound.theorem] = bound


def _number(bound: Bound) -> Any:
    """The value of a bound; minus infinity where extreme weights or costs left no number."""
    return bound.value if item(bound.value) == item(bound.value) else -math.inf
