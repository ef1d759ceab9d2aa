"""Where the search begins: cross moments between block means, descended there, the good and distinct ones kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from scipy.optimize import linear_sum_assignment

from gwfast.budget import Budget
from gwfast.large.sides import Sides
from gwfast.transport import solve_linear

_AXES = 3  # principal axes that starts permute and turn
_RANDOM = 40  # random rotations
_EQUAL = 2.0  # largest mass of a block over the smallest, up to which blocks are matched one to one
_STEPS = 20  # linear steps of a coarse descent


@dataclass(frozen=True, eq=False)
class Candidate:
    """A cross moment, and the objective that belongs to it."""

    value: float
    moment: np.ndarray


def first_moments(sides: Sides) -> Iterator[np.ndarray]:
    """Zero, signed permutations of the first axes, random rotations of them; the same ones at every call."""
    d, e = sides.x.X.shape[1], sides.y.X.shape[1]
    k = min(d, e, _AXES)
    spread_x, spread_y = (np.sqrt(np.diag(s.moment)) for s in (sides.x, sides.y))

    def placed(turn: np.ndarray) -> np.ndarray:
        out = np.zeros((d, e))
        out[:k, :k] = turn
        return spread_x[:, None] * out * spread_y

    yield np.zeros((d, e))
    for order in permutations(range(k)):
        for signs in product((1.0, -1.0), repeat=k):
            yield placed(np.diag(signs)[:, list(order)])
    rng = np.random.default_rng(0)
    for _ in range(_RANDOM if k > 1 else 0):
        yield placed(np.linalg.qr(rng.normal(size=(k, k)))[0])


def descended(sides: Sides, moments: Iterable[np.ndarray], budget: Budget) -> list[Candidate]:
    """Descend from every moment on few points; one at least is there whatever the budget."""
    found: list[Candidate] = []
    masses = np.concatenate([sides.x.p, sides.y.p])
    equal = sides.x.n == sides.y.n and masses.max() <= _EQUAL * masses.min()
    for moment in moments:
        found.append(_descended(sides, moment, equal))
        if budget.expired:
            break
    return found


def _descended(sides: Sides, moment: np.ndarray, equal: bool) -> Candidate:
    """Full linear steps until none improves; blocks of nearly one mass are matched one to one."""
    best = Candidate(np.inf, moment)
    for _ in range(_STEPS):
        U, V = sides.lifted(best.moment)
        if equal:
            rows, cols = linear_sum_assignment(U @ V.T, maximize=True)
            mass = np.full(len(rows), 1 / len(rows))
        else:
            solved = solve_linear(-(U @ V.T), sides.x.p, sides.y.p)
            rows, cols, mass = solved.rows, solved.cols, solved.mass
        value, moment = sides.measured(rows, cols, mass)
        if value >= best.value - 1e-9 * abs(value):
            break
        best = Candidate(value, moment)
    return best


def distinct(found: list[Candidate], apart: float, most: int, factor: float) -> list[Candidate]:
    """The best few whose values are within a factor of the best, and whose moments differ."""
    kept: list[Candidate] = []
    low = min(c.value for c in found)
    for one in sorted(found, key=lambda c: c.value):
        near = any(np.linalg.norm(one.moment - k.moment) <= apart * np.linalg.norm(k.moment) for k in kept)
        if len(kept) < most and one.value <= factor * low + 1e-300 and not near:
            kept.append(one)
    return kept or [min(found, key=lambda c: c.value)]
