"""Proved lower bounds of the objectives between the spaces of a barycentre."""

from __future__ import annotations

import numpy as np

from gwfast.arrays import item
from gwfast.barycenters.task import Task
from gwfast.budget import Budget
from gwfast.result import Certificate
from gwfast.solve import exact_gw, lower_bound

_GAP = 1e-7  # relative gap that "prove" asks of a pair


def pair_lowers(task: Task, effort: str, budget: Budget) -> tuple[np.ndarray, np.ndarray]:
    """Proved lower bounds (S, S), at least 0, and their margins; a pair gets its share of the time that is left."""
    count = len(task.given)
    lowers, margins = np.zeros((count, count)), np.zeros((count, count))
    todo = [(s, t) for s in range(count) for t in range(s) if task.weights[s] > 0 and task.weights[t] > 0]
    for k, (s, t) in enumerate(todo):
        if budget.expired:
            break
        limit = budget.slice(1 / (len(todo) - k)).left if budget.limited else None
        found = _proved(task, s, t, effort, limit)
        lowers[s, t] = lowers[t, s] = max(item(found.lower), 0.0)
        margins[s, t] = margins[t, s] = found.best.margin
    return lowers, margins


def _proved(task: Task, s: int, t: int, effort: str, limit: float | None) -> Certificate:
    own = (None, None) if task.features is None else (task.features[s], task.features[t])
    problem = task.pair(task.given[s], task.given[t], *own)
    if effort == "prove":
        return exact_gw(problem, effort=effort, rtol=_GAP, time_limit=limit).certificate
    return lower_bound(problem, effort=effort, time_limit=limit)
