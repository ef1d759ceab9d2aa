"""The problem of a barycentre: spaces, their weights and features, and the mean objective of costs between n points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gwfast.arrays import item
from gwfast.arrays.precision import EPS
from gwfast.budget import Budget
from gwfast.features import FeatureCost
from gwfast.plan import Plan
from gwfast.plan_value import PLAN
from gwfast.problem import Problem
from gwfast.result import Bound, Result
from gwfast.solve import exact_gw
from gwfast.spaces.dense import Dense
from gwfast.spaces.space import Space

_SHORTEST = 1e-3  # seconds: what a call gets where none are left


@dataclass(frozen=True, eq=False)
class Task:
    """Spaces with weights of sum 1, and what the barycentre may change.

    Attributes
    ----------
    given : tuple of Space
        As the caller passed them, with their weights.
    costs : tuple of arrays (n_s, n_s)
        Written out.
    weights : array (S,)
    p : array (n,)
        Weights of the points of the barycentre, all above 0.
    features : tuple of arrays (n_s, f) or None
    alpha : float or None
    loss : {"square", "kl"}
    floor : float or None
    fixed : {"costs", "features"} or None
        What the steps leave as it is.
    symmetric : bool
        Whether all costs are symmetric.
    """

    given: tuple[Space, ...]
    costs: tuple[np.ndarray, ...]
    weights: np.ndarray
    p: np.ndarray
    features: tuple[np.ndarray, ...] | None
    alpha: float | None
    loss: str
    floor: float | None
    fixed: str | None
    symmetric: bool

    def pair(self, x: Space, y: Space, first: np.ndarray | None, second: np.ndarray | None) -> Problem:
        """The problem between two spaces with their features."""
        M = None if first is None or second is None else FeatureCost(first, second)
        return Problem.of(x, y, M=M, alpha=self.alpha, loss=self.loss, floor=self.floor)


@dataclass(frozen=True, eq=False)
class Point:
    """Costs and features of a barycentre, and the plans to all spaces that were found for them."""

    costs: np.ndarray
    features: np.ndarray | None
    results: tuple[Result, ...]
    value: float

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The plans (n, n_s)."""
        return tuple(result.plan for result in self.results)


def solved(
    task: Task, costs: np.ndarray, features: np.ndarray | None, starts: Sequence[Plan] | None, budget: Budget
) -> Point:
    """Plans from a barycentre to all spaces: annealed ones, or descents from `starts` where these are lower."""
    space, results = Dense(costs, task.p), []
    for s, y in enumerate(task.given):
        own = None if task.features is None else task.features[s]
        problem = task.pair(space, y, features, own)
        result = exact_gw(problem, method="dense", time_limit=_limit(budget))
        if starts is not None and item(problem.objective(starts[s])) < item(result.value):
            result = exact_gw(problem, start=starts[s], method="dense", time_limit=_limit(budget))
        results.append(result)
    value = float(task.weights @ np.array([item(result.value) for result in results]))
    return Point(costs, features, tuple(results), value)


def _limit(budget: Budget) -> float | None:
    return max(budget.left, _SHORTEST) if budget.limited else None


def upper_bound(task: Task, point: Point) -> Bound:
    """The mean of the proved values of the plans."""
    ends = np.array([item(result.upper) for result in point.results])
    margins = np.array([plan.margin for r in point.results if (plan := r.certificate.plan_value) is not None])
    lost = 4 * (len(ends) + 4) * EPS * float(task.weights @ np.abs(ends))
    return Bound("upper", float(task.weights @ ends) + lost, PLAN, float(task.weights @ margins) + lost)
