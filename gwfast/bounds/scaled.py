"""A problem in host memory, its costs balanced and of size about one, split by the ANOVA identity.

For couplings the objective is E C1^2 + E C2^2 - 2 <T, C1 T C2'>, so that C1 -> 2^k C1, C2 -> 2^-k C2 changes it by a
constant.  Where one cost is much larger than the other the rest would be lost beside that constant: steps, stops and
margins of the deep methods are measured in balanced costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gwfast.bounds.rounding import allowance, unit
from gwfast.problem import Problem
from gwfast.result import Bound


@dataclass(frozen=True, eq=False)
class Decomposition:
    """A cost as total + row_i + column_j + rest_ij, the last three with mean zero under the weights."""

    total: float
    row: np.ndarray
    column: np.ndarray
    rest: np.ndarray


@dataclass(frozen=True, eq=False)
class Scaled:
    """Dense costs: objective / scale = sum (first_ij - second_kl)^2 T_ik T_jl + <features, T> + shift.

    Attributes
    ----------
    first, second : arrays (n, n), (m, m)
        sqrt(alpha / scale) times the costs, and a power of two that balances them.
    features : array (n, m)
        (1 - alpha) / scale times the feature cost; zeros without one.
    p, q : arrays (n,), (m,)
    scale : float
        A power of four, so that dividing by it and by its root is exact.
    size : float
        E first^2 + E second^2 + max |features|: what rounding margins are measured in.
    unit : float
        Relative rounding error of a sum over all points.
    doubt : float
        What it means for an objective that the costs of the spaces are rounded.
    balance : float
        That power of two: the first cost is multiplied by it, the second divided.
    shift, shift_size : float
        What balancing takes from the objective, and the sum that its rounding is measured in.
    symmetric, fused : bool
    """

    first: np.ndarray
    second: np.ndarray
    features: np.ndarray
    p: np.ndarray
    q: np.ndarray
    scale: float
    size: float
    unit: float
    doubt: float
    balance: float
    shift: float
    shift_size: float
    symmetric: bool
    fused: bool

    @cached_property
    def effects(self) -> tuple[Decomposition, Decomposition]:
        """Main effects of both costs."""
        return split(self.first, self.p), split(self.second, self.q)

    @cached_property
    def constant(self) -> float:
        """The part (total1 - total2)^2 of the ANOVA identity."""
        x, y = self.effects
        return (x.total - y.total) ** 2

    @cached_property
    def linear(self) -> np.ndarray:
        """The cost (n, m) of its linear terms, with the features in."""
        x, y = self.effects
        row, column = x.row[:, None] - y.row[None, :], x.column[:, None] - y.column[None, :]
        return row * row + column * column + self.features

    @cached_property
    def rest_norms(self) -> tuple[float, float]:
        """Norms of the doubly centred costs in L2(p x p) and L2(q x q)."""
        x, y = self.effects
        return (
            math.sqrt(float(self.p @ (x.rest * x.rest) @ self.p)),
            math.sqrt(float(self.q @ (y.rest * y.rest) @ self.q)),
        )

    @property
    def margin(self) -> float:
        """Rounding error of a few sums of squares over the costs, in scaled units."""
        return 4 * (self.unit * self.size + self.doubt)

    def inside(self, objective: float) -> float:
        """An objective of the problem in the units of these costs."""
        return objective / self.scale - self.shift

    def outside(self, value: float) -> float:
        """An objective in the units of these costs in those of the problem."""
        return self.scale * (value + self.shift)

    def lower(self, value: float, theorem: str, slack: float = 0.0) -> Bound:
        """Make a Bound from a computed lower bound in scaled units that is off by at most `margin` + `slack`."""
        margin = self.margin + slack + 4 * self.unit * self.shift_size
        value = value + self.shift - margin if math.isfinite(value) else -math.inf
        if not self.fused:
            value = max(value, 0.0)
        return Bound("lower", self.scale * value, theorem, self.scale * margin)


def split(cost: np.ndarray, weights: np.ndarray) -> Decomposition:
    """Split a cost (n, n) into its main effects under the weights (n,); O(n^2)."""
    row, column = cost @ weights, weights @ cost
    total = float(weights @ row)
    row, column = row - total, column - total
    return Decomposition(total, row, column, cost - row[:, None] - column[None, :] - total)


def _balance(problem: Problem) -> float:
    """Power of two by which the first cost is multiplied, and the second divided, so that their mean squares agree.

    That makes E C1^2 + E C2^2 least.  Costs within a factor of ten are left as they are: they are as good raw.
    """
    exponent = round(problem.imbalance / 4)
    return 2.0**exponent if abs(exponent) > 1 else 1.0


def scaled(problem: Problem) -> Scaled:
    """Bring a problem into the form above; O(n^2 + m^2 + nm)."""
    host = problem.hosted()
    p, q = np.ascontiguousarray(host.p), np.ascontiguousarray(host.q)
    first, second = host.x.dense(), host.y.dense()
    top = max(float(np.abs(first).max()), float(np.abs(second).max())) or 1.0
    squares = [host.alpha * top * top * float(w @ (C / top) ** 2 @ w) for w, C in ((p, first), (q, second))]
    balance = _balance(host)
    size = squares[0] * balance**2 + squares[1] / balance**2
    weight = 0.0 if host.M is None else (1 - host.alpha) * float(np.abs(host.M).max())
    total = size + weight
    scale = 4.0 ** round(math.log(total, 4)) if total > 0 else 1.0
    root = math.sqrt(host.alpha)
    inverse = 1 / math.sqrt(scale)
    features = np.zeros((len(p), len(q))) if host.M is None else host.M * ((1 - host.alpha) / scale)
    shift = (1 - balance**2) * (squares[0] / scale) + (1 - balance**-2) * (squares[1] / scale)
    return Scaled(
        np.ascontiguousarray(first * (inverse * balance) * root),
        np.ascontiguousarray(second * (inverse / balance) * root),
        np.ascontiguousarray(features),
        p,
        q,
        scale,
        total / scale,
        unit(problem),
        host.alpha * max(0.0, allowance(problem) - unit(problem) * problem.size) / scale,
        balance,
        shift,
        0.0 if balance == 1 else (squares[0] + squares[1] + size) / scale,
        bool(problem.symmetric),
        host.M is not None,
    )
