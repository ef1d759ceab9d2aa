r"""Two sides of points, and the objective of a plan between them through the cross moment of the points.

With costs :math:`a_i + a_j + \kappa \langle x_i, x_j \rangle` (see `gwfast.spaces.form`) and features f, g,

.. math:: \mathrm{FGW}(T) = \text{const} - 4 \alpha E_T[a b] - 2 \alpha \kappa_1 \kappa_2 |M|^2
          - 2 (1 - \alpha) E_T[\langle f, g \rangle], \qquad M = E_T[x y'].

Its linear model at M is a linear transport between points of d + 1 coordinates, and one for each feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gwfast.large.prices import block_means
from gwfast.policy import POLICY


@dataclass(frozen=True, eq=False)
class Side:
    """Points of one space: X (n, d) and `effect` (n,), centred; features (n, f), perhaps none; weights (n,)."""

    X: np.ndarray
    effect: np.ndarray
    features: np.ndarray
    p: np.ndarray

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.p)

    @cached_property
    def moment(self) -> np.ndarray:
        """Second moments (d, d)."""
        return (self.X.T * self.p) @ self.X

    def quotient(self, blocks: int) -> Side:
        """Means over blocks of near points, found by points and features together, taken as of equal mass.

        An auction of equal masses ends many times sooner; where n / blocks is no integer, equal weights differ by a
        point a block.
        """
        d, width = self.X.shape[1], self.features.shape[1]
        points = np.ascontiguousarray(np.hstack([self.X, self.features])) if width else self.X
        weights = None if (self.p == self.p[0]).all() else self.p
        means = block_means(points, weights, blocks, np.column_stack([points, self.effect]))
        return Side(means[:, :d].copy(), means[:, -1].copy(), means[:, d:-1].copy(), np.full(blocks, 1 / blocks))


@dataclass(frozen=True, eq=False)
class Sides:
    """Both sides of a problem: kappa of each, the weight of the structure, and the difference of the mean effects."""

    x: Side
    y: Side
    kappas: tuple[float, float]
    alpha: float
    apart: float

    @cached_property
    def constant(self) -> float:
        """The part of the objective that no plan sees."""
        total = 4 * self.apart**2
        for side, kappa in ((self.x, self.kappas[0]), (self.y, self.kappas[1])):
            total += 2 * float(side.p @ side.effect**2) + kappa**2 * float((side.moment**2).sum())
        norms = sum(float(s.p @ (s.features**2).sum(axis=1)) for s in (self.x, self.y))
        return self.alpha * total + (1 - self.alpha) * norms

    @property
    def uniform(self) -> bool:
        """Whether both sides have as many points, all of one mass."""
        p, q = self.x.p, self.y.p
        return len(p) == len(q) and bool((p == p[0]).all() and (q == p[0]).all())

    @property
    def weights(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Weights of both sides; None where all are equal and plans are permutations."""
        return (None, None) if self.uniform else (self.x.p, self.y.p)

    def quotient(self, blocks: int) -> Sides:
        """Both sides averaged over blocks."""
        return Sides(self.x.quotient(blocks), self.y.quotient(blocks), self.kappas, self.alpha, self.apart)

    def measured(self, rows: np.ndarray, cols: np.ndarray, mass: np.ndarray) -> tuple[float, np.ndarray]:
        """Objective of a plan, to the rounding of its constant, and its cross moment; O(N (d^2 + f))."""
        x, y = self.x, self.y
        X = (x.X[rows].T * mass).T
        moment = X.T @ y.X[cols]
        linear = float(mass @ (x.effect[rows] * y.effect[cols]))
        value = self.constant - self.alpha * (4 * linear + 2 * self._curvature * float((moment**2).sum()))
        if x.features.shape[1]:
            value -= 2 * (1 - self.alpha) * float(mass @ np.einsum("ij,ij->i", x.features[rows], y.features[cols]))
        return value, moment

    def lifted(self, moment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points U (n, r), V (m, r) whose inner products are the gain at a cross moment, over 4; of equal spread."""
        x, y = self.x, self.y
        left, sizes, right = np.linalg.svd(self._curvature * moment, full_matrices=False)
        kept = sizes > 1e-9 * sizes.max(initial=1e-300)
        root = np.sqrt(self.alpha * sizes[kept])
        share, half = np.sqrt(self.alpha), np.sqrt((1 - self.alpha) / 2)
        U = np.column_stack([share * x.effect, x.X @ (left[:, kept] * root), half * x.features])
        V = np.column_stack([share * y.effect, y.X @ (right[kept].T * root), half * y.features])
        spread_u, spread_v = np.sqrt(x.p @ U**2), np.sqrt(y.p @ V**2)
        good = (spread_u > 0) & (spread_v > 0)
        if not good.any():
            return np.zeros((x.n, 1)), np.zeros((y.n, 1))
        t = np.sqrt(spread_v[good] / spread_u[good])
        return _narrowed(U[:, good] * t, V[:, good] / t, x.p, y.p)

    @property
    def _curvature(self) -> float:
        return self.kappas[0] * self.kappas[1]


def _narrowed(U: np.ndarray, V: np.ndarray, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points along the few axes that hold most of both: a kd tree needs few, and any plan is valued exactly."""
    if U.shape[1] > POLICY.tree_width:
        _, axes = np.linalg.eigh((U.T * p) @ U + (V.T * q) @ V)
        kept = axes[:, -POLICY.tree_width :]
        U, V = U @ kept, V @ kept
    return np.ascontiguousarray(U), np.ascontiguousarray(V)
