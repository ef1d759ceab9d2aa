"""Partial plans: a given share of the mass is carried, from and to whichever points cost least."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gwfast import checks
from gwfast.arrays import Array, item, namespace
from gwfast.arrays.precision import EPS
from gwfast.budget import UNLIMITED, Budget
from gwfast.errors import InputError
from gwfast.marginals.penalty import Penalty
from gwfast.partial_scaling import project_partial
from gwfast.plan import Plan
from gwfast.scaling import Scaling
from gwfast.transport import LinearSolution, monotone_atoms, solve_linear


@dataclass(frozen=True)
class Partial:
    """The plans T >= 0 with T 1 <= p, T' 1 <= q and the total mass `mass`.

    Parameters
    ----------
    mass : float
        Above 0, at most 1.

    Raises
    ------
    InputError
        `mass` is not as above.

    Notes
    -----
    A linear step is a transport of n + 1 by m + 1 points, an entropic one some hundred scalings of O(nm).

    References
    ----------
    L. Chapel, M. Z. Alaya, G. Gasso, Partial optimal transport with applications on positive-unlabeled learning, 2020;
    docs/theory/partial_rows.md.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> x, y = np.array([0.0, 1.0, 3.0, 9.0]), np.array([3.0, 2.0, 0.0, 30.0])
    >>> C1, C2 = np.abs(x[:, None] - x), np.abs(y[:, None] - y)
    >>> gwfast.exact_gw(C1, C2, marginals=gwfast.Partial(mass=0.75)).value
    0.0
    """

    mass: float
    name: str = "partial"
    rows_given: bool = False
    columns_given: bool = False
    columns_used: bool = True
    penalty: Penalty | None = None

    def __post_init__(self) -> None:
        mass = checks.positive(self.mass, "mass")
        if mass > 1:
            raise InputError(f"mass: expected a share of the mass, above 0 and at most 1, found {mass:g}")
        object.__setattr__(self, "mass", mass)

    def scaled(self, factor: float) -> Partial:
        """The same: no price depends on the unit."""
        return self

    def start(self, p: Array, q: Array) -> Array:
        """The share of the product coupling p q'."""
        return self.mass * p[:, None] * q[None, :]

    def minimum(
        self,
        cost: np.ndarray,
        p: np.ndarray,
        q: np.ndarray,
        near: tuple[np.ndarray, np.ndarray] | None = None,
        budget: Budget = UNLIMITED,
    ) -> LinearSolution:
        """Linear transport with one more point on each side, which takes what is not carried.

        Costs are shifted to [0, 1], and the pair of added points costs 2: mass on it and on a pair of points could be
        exchanged for less, so that no plan of least cost has any.
        """
        n, m = cost.shape
        left = 1 - self.mass
        if left <= 0:
            return solve_linear(cost, p, q, near, budget)
        low, span = float(cost.min()), float(cost.max() - cost.min())
        whole = np.zeros((n + 1, m + 1))
        whole[:n, :m] = (cost - low) / span if span > 0 else 0.0
        whole[n, m] = 2.0
        total = 1 + left
        found = solve_linear(whole, np.append(p, left) / total, np.append(q, left) / total, None, budget)
        inner = (found.rows < n) & (found.cols < m)
        rows, cols, mass = found.rows[inner], found.cols[inner], found.mass[inner] * total
        carried = float(mass.sum())
        if not abs(carried - self.mass) <= 1e-9:  # the simplex gave up: any plan will do, the bound stands by itself
            rows, cols, mass = monotone_atoms(p, q)
            carried = 1.0
        lower = low * self.mass + span * total * found.lower
        lower -= 16 * EPS * (abs(low) + span * (1 + abs(found.lower)))
        u, v = found.duals
        duals = (low + span * (u[:n] - u[n]), span * (v[:m] - v[m]))
        return LinearSolution(rows, cols, mass * (self.mass / carried), lower, duals)

    def project(self, cost: Array, p: Array, q: Array, g: Array, epsilon: float, tol: float, max_iter: int) -> Scaling:
        """Entropic partial transport; see `gwfast.partial_scaling.project_partial`."""
        return project_partial(cost, p, q, g, self.mass, epsilon, tol, max_iter)

    def repair(self, T: Array, p: Array, q: Array) -> Array:
        """Shrink what is too heavy; then shrink to the mass, or add a product of what rows and columns have left."""
        xp, plan = namespace(T), T
        for axis, weights in ((1, p), (0, q)):
            sums = xp.sum(plan, axis=axis)
            share = xp.where(sums > weights, weights / xp.where(sums > 0, sums, xp.ones_like(sums)), xp.ones_like(sums))
            plan = plan * (share[:, None] if axis == 1 else share[None, :])
        total = item(xp.sum(plan))
        if total >= self.mass:
            return plan * (self.mass / total)
        rows, columns = xp.clip(p - xp.sum(plan, axis=1), 0.0, None), xp.clip(q - xp.sum(plan, axis=0), 0.0, None)
        return plan + rows[:, None] * columns[None, :] * ((self.mass - total) / item(xp.sum(rows) * xp.sum(columns)))

    def error(self, plan: Plan, p: Array, q: Array) -> float:
        """Largest excess of a marginal, or error of the mass."""
        rows, columns = plan.marginals()
        xp = namespace(rows)
        worst = max(item(xp.max(rows - p)), item(xp.max(columns - q)), abs(item(xp.sum(rows)) - self.mass))
        return max(worst, 0.0) if math.isfinite(worst) else math.inf

    def missing(self, plan: Plan, p: Array, q: Array) -> tuple[Array, Array]:
        """Masses (n,) and (m,) that `repair` may move: what exceeds, and the error of the mass spread over all."""
        rows, columns = plan.marginals()
        xp = namespace(rows)
        count = sum(plan.shape) + 16
        over_rows = xp.clip(rows - p, 0.0, None) + count * EPS * rows
        over_columns = xp.clip(columns - q, 0.0, None) + count * EPS * columns
        off = abs(item(xp.sum(rows)) - self.mass) + item(xp.sum(over_rows)) + item(xp.sum(over_columns))
        # what is shrunk or added lies anywhere among the weights
        return (over_rows + off * xp.ones_like(p)) * (1 + 1e-6), (over_columns + off * xp.ones_like(q)) * (1 + 1e-6)
