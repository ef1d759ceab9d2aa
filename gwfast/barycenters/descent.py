"""Block descent: plans for the costs, costs for the plans, from several starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gwfast.arrays import item
from gwfast.barycenters.task import Point, Task, solved
from gwfast.barycenters.updates import best_costs, best_features
from gwfast.budget import Budget
from gwfast.result import Stop

_BETTER = 1e-6  # share of the value by which another descent has to be better, so that they come to an end

Start = tuple[str, np.ndarray, np.ndarray | None]
"""A name, costs (n, n) and features (n, f)."""


@dataclass(frozen=True, eq=False)
class Found:
    """The end of a descent."""

    point: Point
    stop: Stop
    start: str
    iterations: int


def starts(task: Task, given: Start | None, count: int) -> Iterator[Start]:
    """The given start; every space on n of its points, heaviest first; clouds of random points in the plane."""
    if given is not None:
        yield given
    rng = np.random.default_rng(0)
    order = np.argsort(-task.weights, kind="stable")[:count]
    for s in order:
        chosen = _chosen(task, int(s), rng)
        own = None if task.features is None else task.features[s][chosen]
        yield _kept(task, given, (f"space {s}", task.costs[s][np.ix_(chosen, chosen)], own))
    mean = float(sum(w * (np.abs(c).mean()) for w, c in zip(task.weights, task.costs)))
    for k in range(count - len(order)):
        x = rng.normal(size=(len(task.p), 2))
        cloud = np.hypot(*(x[:, None] - x).transpose(2, 0, 1))
        cloud *= mean / max(float(cloud.mean()), 1e-9)
        s = int(order[k % len(order)])
        own = None if task.features is None else task.features[s][_chosen(task, s, rng)]
        yield _kept(task, given, (f"random points {k}", cloud, own))


def _kept(task: Task, given: Start | None, start: Start) -> Start:
    """A start with the parts of the given one that are fixed."""
    if given is None or task.fixed is None:
        return start
    return (start[0], given[1], start[2]) if task.fixed == "costs" else (start[0], start[1], given[2])


def _chosen(task: Task, s: int, rng: np.random.Generator) -> np.ndarray:
    """As many points of a space as the barycentre has: all of them where that fits."""
    n, mass = len(task.p), task.given[s].weights
    held = np.flatnonzero(mass > 0)
    if len(held) <= n:
        return np.resize(held, n)
    return np.sort(rng.choice(len(mass), n, replace=False, p=mass / mass.sum()))


def best_descent(task: Task, given: Start | None, count: int, budget: Budget, tol: float, max_iter: int) -> Found:
    """The best end of all descents, and of those that leave one space out first, as long as these find a better one.

    The first start is followed whatever the budget says.
    """
    best = None
    for start in starts(task, given, count):
        if best is not None and budget.expired:
            break
        found = descend(task, start, budget, tol, max_iter)
        if best is None or found.point.value < best.point.value:
            best = found
    assert best is not None  # `starts` yields one at least
    improved = True
    while improved:
        improved = False
        for start in without_one(task, best.point, count):
            if budget.expired:
                break
            found = descend(task, start, budget, tol, max_iter)
            if found.point.value < best.point.value * (1 - _BETTER):
                best, improved = found, True
                break
    return best


def without_one(task: Task, point: Point, count: int) -> Iterator[Start]:
    """What the plans of a barycentre make of all spaces but one; those of the largest share of its value first."""
    held = np.flatnonzero(task.weights > 0)
    if len(held) < 2 or (task.fixed == "costs" and task.features is None):
        return
    shares = task.weights * np.array([item(result.value) for result in point.results])
    for s in held[np.argsort(-shares[held], kind="stable")][:count]:
        rest = np.where(np.arange(len(task.weights)) == s, 0.0, task.weights)
        yield f"all but space {s}", *updated(task, point, rest / rest.sum())


def updated(task: Task, point: Point, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The best costs and features for the plans of a barycentre, where they are not fixed."""
    costs, features = point.costs, point.features
    if task.fixed != "costs":
        costs = best_costs(point.plans, task.costs, weights, task.p, task.loss, task.symmetric)
    if task.features is not None and task.fixed != "features":
        features = best_features(point.plans, task.features, weights, task.p)
    return costs, features


def descend(task: Task, start: Start, budget: Budget, tol: float, max_iter: int) -> Found:
    """Costs and features for the plans, then plans for these, while the value falls by more than `tol` of itself."""
    name, costs, features = start
    point = solved(task, costs, features, None, budget)
    for step in range(1, max_iter + 1):
        if budget.expired:
            return Found(point, Stop.TIME_LIMIT, name, step - 1)
        after = solved(task, *updated(task, point, task.weights), point.plans, budget)
        gained, before = point.value - after.value, abs(point.value)
        if gained > 0:
            point = after
        if gained <= tol * before:
            return Found(point, Stop.STALLED, name, step)
    return Found(point, Stop.ITERATIONS, name, max_iter)
