"""Block descent: plans for the costs, costs for the plans, from several starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gwfast.barycenters.task import Point, Task, solved
from gwfast.barycenters.updates import best_costs, best_features
from gwfast.budget import Budget
from gwfast.result import Stop

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
    """The best end of all descents; the first start is followed whatever the budget says."""
    best = None
    for start in starts(task, given, count):
        if best is not None and budget.expired:
            break
        found = descend(task, start, budget, tol, max_iter)
        if best is None or found.point.value < best.point.value:
            best = found
    assert best is not None  # `starts` yields one at least
    return best


def descend(task: Task, start: Start, budget: Budget, tol: float, max_iter: int) -> Found:
    """Costs and features for the plans, then plans for these, while the value falls by more than `tol` of itself."""
    name, costs, features = start
    point = solved(task, costs, features, None, budget)
    for step in range(1, max_iter + 1):
        if budget.expired:
            return Found(point, Stop.TIME_LIMIT, name, step - 1)
        if task.fixed != "costs":
            costs = best_costs(point.plans, task.costs, task.weights, task.p, task.loss, task.symmetric)
        if task.features is not None and task.fixed != "features":
            features = best_features(point.plans, task.features, task.weights, task.p)
        after = solved(task, costs, features, point.plans, budget)
        gained, before = point.value - after.value, abs(point.value)
        if gained > 0:
            point = after
        if gained <= tol * before:
            return Found(point, Stop.STALLED, name, step)
    return Found(point, Stop.ITERATIONS, name, max_iter)
