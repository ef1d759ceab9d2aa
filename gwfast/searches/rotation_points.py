"""What the search over rotations of many points works on: forms, block means, and bounds of a cell's linear program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwfast.arrays.precision import EPS
from gwfast.large.prices import block_means, c_transform, dual_value
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.spaces.form import Form
from gwfast.spaces.form_doubt import Doubt, doubted_form

BLOCKS = 256  # block means of a side


@dataclass(frozen=True, eq=False)
class RotationPoints:
    """Both forms, their errors, and block means of (effect, points)."""

    x: Form
    y: Form
    dx: Doubt
    dy: Doubt
    first: np.ndarray
    second: np.ndarray

    @property
    def curvature(self) -> float:
        """The factor c of |M|^2 in the half of the objective that plans decide."""
        return 2 * self.x.kappa * self.y.kappa

    @property
    def spread(self) -> float:
        """What rounding of the linear programs is measured in: the mean squares that make them up, twice."""
        sides = (self.x, self.y)
        effects = sum(float(f.p @ f.effect**2) for f in sides)
        return 8 * effects + abs(self.curvature) * sum(float(np.trace(f.moment)) ** 2 for f in sides)


def suits(problem: Problem) -> bool:
    """Whether both spaces are many points of one kind in at most three dimensions, without features."""
    n, m = problem.shape
    return n * m > POLICY.rotation_entries and applies(problem)


def applies(problem: Problem) -> bool:
    """Whether both spaces are points of one kind in at most three dimensions, without features."""
    return points_of(problem) is not None


def points_of(problem: Problem) -> RotationPoints | None:
    """What the search works on; None for problems that it is no theorem for."""
    if problem.M is not None:
        return None
    first = doubted_form(problem.x)
    second = None if first is None else doubted_form(problem.y)
    if first is None or second is None:
        return None
    (x, dx), (y, dy) = first, second
    if x.kappa != y.kappa or max(x.X.shape[1], y.X.shape[1]) > 3:
        return None
    blocks = min(BLOCKS, x.n, y.n)
    return RotationPoints(x, y, dx, dy, _means(x, blocks), _means(y, blocks))


def _means(form: Form, blocks: int) -> np.ndarray:
    own = np.column_stack([form.effect, form.X])
    weights = None if (form.p == form.p[0]).all() else form.p
    return block_means(np.ascontiguousarray(form.X), weights, blocks, own)


def lifts(slope: np.ndarray, points: RotationPoints) -> tuple[np.ndarray, np.ndarray]:
    """Matrices that take (effect, point) of each side to points whose inner product is 4 a b + x' slope y."""
    left, sizes, right = np.linalg.svd(slope, full_matrices=False)
    roots, d, e, k = np.sqrt(sizes), *slope.shape, len(sizes)
    first, second = np.zeros((1 + d, 1 + k)), np.zeros((1 + e, 1 + k))
    first[0, 0] = second[0, 0] = 2.0
    first[1:, 1:], second[1:, 1:] = left * roots, right.T * roots
    # of equal spread: rounding is measured in their product, and a kd tree likes it
    for c in range(1 + k):
        spreads = [
            float(lift[0, c] ** 2 * (f.p @ f.effect**2) + lift[1:, c] @ f.moment @ lift[1:, c])
            for lift, f in ((first, points.x), (second, points.y))
        ]
        if min(spreads) > 0:
            t = (spreads[1] / spreads[0]) ** 0.25
            first[:, c] *= t
            second[:, c] /= t
    return first, second


def within(points: RotationPoints) -> list[np.ndarray]:
    """Second moments of (effect, points) of both sides within the few blocks."""
    found: list[np.ndarray] = []
    for form, means in zip((points.x, points.y), (points.first, points.second)):
        own = np.column_stack([form.effect, form.X])
        found.append((own.T * form.p) @ own - means.T @ means / len(means))
    return found


def proof(points: RotationPoints, slope: np.ndarray, prices: np.ndarray) -> float:
    """Proved bound of max_T <4 a b + x' slope y, T>: prices of block means, carried to all by two c-transforms."""
    first, second = lifts(slope, points)
    A, B = points.first @ first, points.second @ second
    w = -prices - 0.5 * (B * B).sum(axis=1)
    f, at = c_transform(A, B, w)
    U, V = (np.column_stack([z.effect, z.X]) @ lift for z, lift in ((points.x, first), (points.y, second)))
    values, nearest = c_transform(V, A, -f, B[at])
    least = dual_value(U, V, points.x.p, points.y.p, -values, A[nearest])
    squares = sum(float(z.p @ (Z * Z).sum(axis=1)) for z, Z in ((points.x, U), (points.y, V)))
    # the points are off by rounding of their products, and the slope by that of its factors
    return 0.5 * squares - least + 64 * (U.shape[1] + 8) * EPS * (squares + points.spread)
