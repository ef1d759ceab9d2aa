"""The search from coarse to fine: starts between block means, levels of more of them, and the points themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gwfast.arrays import from_numpy, item
from gwfast.budget import Budget
from gwfast.features import FeatureCost
from gwfast.large.descent import Level, descend
from gwfast.large.sides import Side, Sides
from gwfast.large.starts import Candidate, descended, distinct, first_moments
from gwfast.losses import SQUARE
from gwfast.marginals import BALANCED
from gwfast.method import Found
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Stop
from gwfast.spaces.form import form_of
from gwfast.spaces.points_value import takes_points

_FEW, _BLOCKS = 64, 256  # blocks of the two levels whose programs are dense
_GROWTH = 8  # more blocks a level
_LOOSE, _TIGHT = 0.1, 2e-4  # accuracies of the transport, in local scales
_FINISH = 12  # steps with the points themselves

METHODS = ("auto", "dense", "multiscale")
Say = Callable[[str], None]


def suits_multiscale(problem: Problem) -> bool:
    """Whether a problem is one between points of one kind and of few coordinates, without a dense feature cost."""
    plain = problem.marginals is BALANCED and problem.loss is SQUARE
    factored = problem.M is None or isinstance(problem.M, FeatureCost)
    return plain and factored and takes_points(problem.x, problem.y)


def takes_multiscale(problem: Problem, method: str) -> bool:
    """Whether the search from coarse to fine is taken: asked for, or worth it."""
    n, m = problem.shape
    return method != "dense" and suits_multiscale(problem) and (method == "multiscale" or n * m >= POLICY.large_entries)


def sides_of(problem: Problem) -> Sides | None:
    """Both sides of a problem between points of one kind; None for others, and where there is a dense feature cost."""
    first, second = form_of(problem.x), form_of(problem.y)
    if first is None or second is None or first.kappa != second.kappa:
        return None
    features = [np.zeros((f.n, 0)) for f in (first, second)]
    if isinstance(problem.M, FeatureCost):
        features = problem.M.centred()
    x, y = (Side(f.X, f.effect, g, f.p) for f, g in zip((first, second), features))
    return Sides(x, y, (first.kappa, second.kappa), item(problem.alpha), first.mean - second.mean)


def multiscale(problem: Problem, budget: Budget, say: Say) -> Found:
    """A plan between points with few atoms: n log n time in practice, O(n d) memory.  Ctrl-C keeps the best so far."""
    sides = sides_of(problem)
    assert sides is not None  # the caller has looked
    best, stop = _search(sides, budget, say)
    plan = best.plan
    assert plan is not None
    shape = problem.shape
    return Found(
        plan=Plan(shape, *(from_numpy(a, problem.p) for a in (plan.rows, plan.cols, plan.mass))),
        stop=stop,
        start="block means",
    )


def _search(sides: Sides, budget: Budget, say: Say) -> tuple[Level, Stop]:
    least = min(sides.x.n, sides.y.n)
    blocks, few = min(_BLOCKS, least), min(_FEW, least)
    best: Level | None = None
    kept: list[Candidate] = []
    try:
        coarsest = sides.quotient(few)
        kept = distinct(descended(coarsest, first_moments(coarsest), budget.slice(0.2)), 0.1, 12, 2.0)
        say(f"{few} blocks, {len(kept)} candidates")
        moments = (c.moment for c in kept)
        kept = distinct(descended(sides.quotient(blocks), moments, budget.slice(0.2)), 0.1, 8, 1.5)
        say(f"{blocks} blocks, {len(kept)} candidates")
        size, most = _GROWTH * blocks, 4
        while 4 * size < least and not budget.expired:
            level = sides.quotient(size)
            kept = distinct([descend(level, c, (_LOOSE / 2,), 4, budget) for c in kept], 0.05, most, 1.3)
            say(f"{size} blocks, {len(kept)} candidates")
            size, most = _GROWTH * size, 2
        if len(kept) > 1 and not budget.expired:
            full: list[Candidate] = []
            for candidate in kept[:3]:
                one = descend(sides, candidate, (_LOOSE,), 1, budget)
                best = one if best is None or one.value < best.value else best
                full.append(one)
            kept = distinct(full, 0.02, 1, 1.0)
            say("all points, one step each")
        found = descend(sides, kept[0], (_LOOSE, _TIGHT), _FINISH, budget)
        if best is None or found.value <= best.value:
            best = found
    except KeyboardInterrupt:
        if best is None:
            if not kept:
                raise
            best = descend(sides, kept[0], (_LOOSE,), 1, budget)
        return best, Stop.INTERRUPTED
    return best, Stop.TIME_LIMIT if budget.expired else Stop.STALLED
