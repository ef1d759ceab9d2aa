"""Small problems: the compiled pair solver, many starts in the time of a few calls."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from gwfast.arrays import from_numpy, item, to_numpy
from gwfast.budget import Budget
from gwfast.kernels.pairs.layout import LABELS, NONE, Fused
from gwfast.losses import SQUARE
from gwfast.marginals import BALANCED
from gwfast.method import Found
from gwfast.packed.pack import LIGHTEST, Member, pack
from gwfast.packed.pairs import Workspace, solve_block
from gwfast.packed.presets import NAMES, STARTS, STATIONARY
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Stop

_TABLE = np.zeros((1, 1))
_NEAR = 5  # quarters of the exponent of E C1^2 + E C2^2 that single precision takes as they are


def fits_pair(problem: Problem, budget: Budget) -> bool:
    """Whether the compiled solver takes a problem: small, balanced, no weight too light for it."""
    n, m = problem.shape
    return (
        max(n, m) <= POLICY.pair_points
        and problem.marginals is BALANCED
        and problem.loss is SQUARE
        and budget.fits(POLICY.pair_seconds)
        and min(item(problem.p.min()), item(problem.q.min())) >= LIGHTEST
    )


def best_pair(problem: Problem) -> Found:
    """The best plan of the starts in `gwfast.packed.presets`, and the Frank-Wolfe gap of its last linear program."""
    (n, m), like = problem.shape, problem.p
    problem, total = _costs_near_one(problem.hosted())
    members = [_member(problem.x.dense(), problem.p), _member(problem.y.dense(), problem.q)]
    fused = Fused(1.0, NONE, _TABLE)
    if problem.M is not None:  # the points are their own labels
        members = [Member(a.cost, a.weights, np.arange(a.n, dtype=float)[:, None], a.symmetric) for a in members]
        fused = Fused(item(problem.alpha), LABELS, np.ascontiguousarray(to_numpy(problem.M)))
    packed = pack(members, bounds=False)
    plans = np.empty(n * m)
    first, second = np.zeros(1, np.int64), np.ones(1, np.int64)
    starts = STARTS["tiny" if n * m <= POLICY.tiny_entries else "alone"]
    found = solve_block(packed, fused, first, second, starts, Workspace.for_spaces(packed), plans)
    matrix = plans.reshape(n, m)
    rows, cols = np.nonzero(matrix)
    gap, scale = float(found.gap[0]), item(problem.alpha) * problem.size
    if problem.M is not None:
        scale += (1 - item(problem.alpha)) * float(np.abs(fused.labels).max())
    return Found(
        plan=Plan((n, m), *(from_numpy(x, like) for x in (rows, cols, matrix[rows, cols]))),
        stop=Stop.STATIONARY if gap <= STATIONARY * scale else Stop.STALLED,
        start=NAMES[int(starts[found.chosen[0], 0])],
        stationarity=max(gap, 0.0) * total,
        iterations=len(starts),  # descents, of which each has some steps
    )


def _costs_near_one(problem: Problem) -> tuple[Problem, float]:
    """The same problem with costs that single precision can square, whatever their weight, and a factor.

    With C = t C', the objective (1 - a) M + a C^2 is Z times that of C' and a' = a t^2 / Z, Z = 1 - a + a t^2.
    """
    if problem.M is None or not problem.size > 0:
        return problem, 1.0
    apart = round(math.log2(problem.size) / 4)
    if abs(apart) < _NEAR:
        return problem, 1.0
    alpha, square = item(problem.alpha), 2.0 ** (4 * apart)
    total = 1 - alpha + alpha * square
    root = 2.0**-apart
    return replace(problem, x=problem.x.scaled(root), y=problem.y.scaled(root), alpha=alpha * square / total), total


def _member(cost: np.ndarray, weights: np.ndarray) -> Member:
    cost = np.ascontiguousarray(cost)
    return Member(cost, weights, np.zeros((len(weights), 0)), bool((cost == cost.T).all()))
