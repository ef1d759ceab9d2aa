"""Descent on a level: linear transport at a cross moment, the moment of its plan, and careful extrapolation."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gwfast.budget import Budget
from gwfast.large.sides import Sides
from gwfast.large.starts import Candidate
from gwfast.large.transport import Prices, Transported, transport

_STILL, _FLAT = 1e-4, 2e-4  # relative moves of the moment and of the value that end an accuracy
_REACH = 0.03  # moves beyond the found moment, at most: longer ones start price wars
_PUSH = 8.0  # times a step is lengthened, at most


@dataclass(frozen=True, eq=False)
class Level(Candidate):
    """A candidate with its plan, and the prices of its transport without the squares of the points."""

    plan: Transported | None = None
    potential: np.ndarray | None = field(default=None, repr=False)


def descend(sides: Sides, start: Candidate, accuracies: tuple[float, ...], steps: int, budget: Budget) -> Level:
    """Minimise from the moment of `start`; accuracy after accuracy, each until it gains little.

    With kappas of one sign a full step never raises the objective, so a step that does tells of an inexact transport,
    or of an extrapolation that went too far: it is taken back.
    """
    own = isinstance(start, Level) and start.plan is not None and len(start.plan.prices.w) == sides.y.n
    warm: Level | None = start if own else None  # pyright: ignore[reportAssignmentType]
    best = Level(np.inf, start.moment)
    moment, push, k = start.moment, 0.0, 0
    for _ in range(steps):
        U, V = sides.lifted(moment)
        found = transport(U, V, *sides.weights, accuracy=accuracies[k], warm=_prices(sides, warm, U, V), budget=budget)
        value, reached = sides.measured(found.rows, found.cols, found.mass)
        warm = Level(value, reached, found, found.prices.w + 0.5 * (V * V).sum(axis=1))
        moved = float(np.linalg.norm(reached - moment)) / max(float(np.linalg.norm(reached)), 1e-300)
        gain = (best.value - value) / max(abs(value), 1e-300)
        if value < best.value:
            best = warm
            push = min(push, _REACH / max(moved, 1e-9))
            moment, push = reached + push * (reached - moment), min(_PUSH, 2 * push + 1)
        else:
            moment, push = best.moment, 0.0
        if budget.expired or not found.finished:
            break
        if gain < _FLAT or moved < _STILL:
            if k == len(accuracies) - 1:
                break
            k, push, moment = k + 1, 0.0, best.moment
    return best


def _prices(sides: Sides, warm: Level | None, U: np.ndarray, V: np.ndarray) -> Prices | None:
    """Prices for lifted points from the potential of another lift."""
    if warm is None or warm.potential is None or warm.plan is None:
        return None
    target = np.zeros_like(V)
    target[warm.plan.cols] = U[warm.plan.rows]
    return Prices(warm.potential - 0.5 * (V * V).sum(axis=1), target)
