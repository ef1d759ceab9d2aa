"""Raises the lower bounds of pairs that cheap ones leave open: easiest first, under one budget."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gwfast.budget import Budget
from gwfast.kernels.pairs.layout import EUCLIDEAN, LABELS, NONE
from gwfast.many.members import Collection
from gwfast.method import Incumbent
from gwfast.methods import METHODS
from gwfast.problem import Problem
from gwfast.schedule import Climb
from gwfast.spaces.dense import Dense

SECONDS = {"dual": 0.1, "prove": 1.0}  # a pair, where the table has no limit
_NAMES = {
    "dual": ("reformulation",),
    "prove": ("reformulation", "branch and bound", "cone", "coupling search"),
}
_MARGIN = 1e-9  # share of a value that its own rounding is below


def raise_bounds(
    collection: Collection,
    i: np.ndarray,
    j: np.ndarray,
    values: np.ndarray,
    lowers: np.ndarray,
    gaps: np.ndarray,
    effort: str,
    budget: Budget,
    tell: Callable[[int], None],
) -> np.ndarray:
    """Lower bounds (r,) that are at least `lowers`, of pairs whose relative gaps should come to `gaps`.

    Pairs are taken by the width of their gap; each may use its part of the time that is left, and what easy ones do
    not need goes to the hard ones.  Threads work on pairs of their own.
    """
    found = lowers.copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        width = (values - lowers) / np.abs(values)
    order = [int(k) for k in np.argsort(width, kind="stable") if width[k] > gaps[k]]
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    left = [len(order)]

    def work(k: int) -> None:
        share = budget.slice(min(1.0, workers / max(left[0], 1)))
        if not budget.expired:
            raised = climbed(_problem(collection, int(i[k]), int(j[k])), effort, values[k], gaps[k], share)
            found[k] = min(max(found[k], raised * collection.unit), values[k])
        left[0] -= 1
        tell(1)

    with ThreadPoolExecutor(workers, thread_name_prefix="gwfast") as pool:
        try:
            list(pool.map(work, order))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def climbed(problem: Problem, effort: str, value: float, gap: float, budget: Budget) -> float:
    """The best lower bound of a problem that the deep methods of an effort prove within a budget."""
    methods = [m for m in METHODS if m.name in _NAMES[effort]]
    upper = value * (1 + _MARGIN)
    climb = Climb(problem, effort, budget, Incumbent(upper=upper, gap=gap), methods=methods)
    for _ in climb:
        pass
    return climb.incumbent.lower


def _problem(collection: Collection, i: int, j: int) -> Problem:
    """The problem of a pair, in the units of the packed spaces."""
    x, y = collection.members[i], collection.members[j]
    M, fused = None, collection.fused
    if fused.metric == LABELS:
        M = fused.labels[np.ix_(x.features[:, 0].astype(int), y.features[:, 0].astype(int))]
    elif fused.metric != NONE:
        M = ((x.features[:, None] - y.features[None]) ** 2).sum(axis=2)
        M = np.sqrt(M) if fused.metric == EUCLIDEAN else M
    alpha = None if M is None else fused.alpha
    return Problem.of(Dense(x.cost, x.weights), Dense(y.cost, y.weights), M=M, alpha=alpha)
