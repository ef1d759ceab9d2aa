"""Couplings: plans whose marginals are the weights of both spaces."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gwfast.arrays import Array, item, namespace, sum_by_index
from gwfast.arrays.precision import EPS
from gwfast.budget import UNLIMITED, Budget
from gwfast.marginals.penalty import Penalty
from gwfast.plan import Plan
from gwfast.scaling import Scaling, project
from gwfast.transport import LinearSolution, round_to_marginals, solve_linear


@dataclass(frozen=True)
class Balanced:
    """The couplings of p and q: T >= 0, T 1 = p, T' 1 = q."""

    name: str = "balanced"
    rows_given: bool = True
    columns_given: bool = True
    columns_used: bool = True
    mass: float = 1.0
    penalty: Penalty | None = None

    def scaled(self, factor: float) -> Balanced:
        """The same: no price depends on the unit."""
        return self

    def start(self, p: Array, q: Array) -> Array:
        """The product coupling p q'."""
        return p[:, None] * q[None, :]

    def minimum(
        self,
        cost: np.ndarray,
        p: np.ndarray,
        q: np.ndarray,
        near: tuple[np.ndarray, np.ndarray] | None = None,
        budget: Budget = UNLIMITED,
    ) -> LinearSolution:
        """Linear transport; see `gwfast.transport.solve_linear`."""
        return solve_linear(cost, p, q, near, budget)

    def project(self, cost: Array, p: Array, q: Array, g: Array, epsilon: float, tol: float, max_iter: int) -> Scaling:
        """Entropic transport by Sinkhorn scalings; see `gwfast.scaling.project`."""
        return project(cost, p, q, g, epsilon, tol, max_iter)

    def repair(self, T: Array, p: Array, q: Array) -> Array:
        """Shrink what is too heavy, spread the rest; see `gwfast.transport.round_to_marginals`."""
        return round_to_marginals(T, p, q)

    def error(self, plan: Plan, p: Array, q: Array) -> float:
        """Largest absolute error of the marginals; infinite where they are no numbers."""
        rows, columns = plan.marginals()
        xp = namespace(rows)
        worst = max(item(xp.max(xp.abs(rows - p))), item(xp.max(xp.abs(columns - q))))
        return worst if math.isfinite(worst) else math.inf

    def missing(self, plan: Plan, p: Array, q: Array) -> tuple[Array, Array]:
        """Masses (n,) and (m,), from above, that a coupling near the plan has to move.

        The plan is shrunk where it is too heavy (that of a row takes from the columns too) and what is missing is
        spread as a product, as `repair` does.  A point that is matched whole misses nothing.
        """
        rows, columns = plan.marginals()
        if plan.is_dense and plan.is_stored:
            xp = namespace(plan.matrix)
            filled = xp.astype(plan.matrix != 0, plan.matrix.dtype)
            atoms_of_rows, atoms_of_columns = xp.sum(filled, axis=1), xp.sum(filled, axis=0)
        elif plan.is_dense:
            atoms_of_rows, atoms_of_columns = float(plan.shape[1]), float(plan.shape[0])
        else:
            one = namespace(p).ones_like(plan.mass)
            atoms_of_rows = sum_by_index(plan.rows, one, plan.shape[0])
            atoms_of_columns = sum_by_index(plan.cols, one, plan.shape[1])
        off_rows, off_columns = _off(rows, p, atoms_of_rows), _off(columns, q, atoms_of_columns)
        xp = namespace(p)
        exact = not bool(xp.any(off_rows > 0)) and not bool(xp.any(off_columns > 0))
        if exact:
            return off_rows, off_columns
        total = (p.shape[0] + q.shape[0]) * EPS  # the weights of both sides sum to 1 to rounding only
        off_rows, off_columns = off_rows + total * p, off_columns + total * q
        if not plan.is_stored:  # a product with the plan would compute all its entries
            share_rows, share_columns = item(xp.max(off_rows / p)), item(xp.max(off_columns / q))
            return (off_rows + share_columns * (p + off_rows)) * (1 + 1e-6), (
                off_columns + share_rows * (q + off_columns)
            ) * (1 + 1e-6)
        first = off_rows + plan.apply(off_columns / q)
        second = off_columns + plan.T.apply(off_rows / p)
        return first * (1 + 1e-6), second * (1 + 1e-6)


BALANCED = Balanced()


def _off(found: Array, weights: Array, atoms: Array | float) -> Array:
    """Bound of the difference between the masses that a plan gives some points and their weights."""
    xp = namespace(weights)
    gap = xp.abs(found - weights)
    return xp.where((gap == 0) & (atoms == 1), xp.zeros_like(gap), gap + (8 + atoms) * EPS * weights)
