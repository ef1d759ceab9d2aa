"""Semi-relaxed plans: the first marginal is given, the second is free."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gwfast.arrays import Array, item, namespace, sum_by_index
from gwfast.arrays.precision import EPS
from gwfast.budget import UNLIMITED, Budget
from gwfast.marginals.penalty import Penalty
from gwfast.plan import Plan
from gwfast.scaling import Scaling
from gwfast.transport import LinearSolution


@dataclass(frozen=True)
class SemiRelaxed:
    """The plans T >= 0 with T 1 = p: each point of the first space goes where it costs least.

    A linear step and an entropic one take O(nm); weights of the second space are not used.

    References
    ----------
    C. Vincent-Cuaz, R. Flamary, M. Corneli, T. Vayer, N. Courty, Semi-relaxed Gromov-Wasserstein divergence and
    applications on graphs, 2022; docs/theory/semi_relaxed_rows.md.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> C = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 2.0], [2.0, 2.0, 0.0]])
    >>> part = C[:2, :2]
    >>> res = gwfast.exact_gw(part, C, marginals=gwfast.SemiRelaxed())
    >>> res.value, res.plan.marginals()[1].tolist()
    (0.0, [0.5, 0.5, 0.0])
    """

    name: str = "semi_relaxed"
    rows_given: bool = True
    columns_given: bool = False
    columns_used: bool = False
    mass: float = 1.0
    penalty: Penalty | None = None

    def scaled(self, factor: float) -> SemiRelaxed:
        """The same: no price depends on the unit."""
        return self

    def start(self, p: Array, q: Array) -> Array:
        """The product p q' with the weights of the second space, which are uniform."""
        return p[:, None] * q[None, :]

    def minimum(
        self,
        cost: np.ndarray,
        p: np.ndarray,
        q: np.ndarray,
        near: tuple[np.ndarray, np.ndarray] | None = None,
        budget: Budget = UNLIMITED,
    ) -> LinearSolution:
        """Each row wholly at its cheapest column; O(nm)."""
        u = cost.min(axis=1)
        lower = float(p @ u) - (2 * len(p) + 8) * EPS * float(p @ np.abs(u))
        return LinearSolution(np.arange(len(p)), cost.argmin(axis=1), p, lower, (u, np.zeros(len(q))))

    def project(self, cost: Array, p: Array, q: Array, g: Array, epsilon: float, tol: float, max_iter: int) -> Scaling:
        """The softmin of each row, in closed form."""
        xp = namespace(cost)
        low = xp.min(cost, axis=1)
        K = xp.exp((low[:, None] - cost) / epsilon)
        sums = xp.sum(K, axis=1)
        return Scaling(K * (p / sums)[:, None], epsilon * xp.log(p / sums) + low, xp.zeros_like(g), 0.0, 1)

    def repair(self, T: Array, p: Array, q: Array) -> Array:
        """Each row scaled to its weight; a row without mass is spread evenly."""
        xp = namespace(T)
        rows = xp.sum(T, axis=1)
        empty = rows == 0
        plan = xp.where(empty[:, None], xp.ones_like(T) / T.shape[1], T)
        return plan * (p / xp.where(empty, xp.ones_like(rows), rows))[:, None]

    def error(self, plan: Plan, p: Array, q: Array) -> float:
        """Largest absolute error of the first marginal; infinite where it is no number."""
        rows, xp = plan.marginals()[0], namespace(p)
        worst = item(xp.max(xp.abs(rows - p)))
        return worst if math.isfinite(worst) else math.inf

    def missing(self, plan: Plan, p: Array, q: Array) -> tuple[Array, Array]:
        """Masses (n,) that rows miss, and (m,) where scaling puts them; a point that is matched whole misses none."""
        rows, xp = plan.marginals()[0], namespace(p)
        if plan.is_dense:
            atoms = float(plan.shape[1])
        else:
            atoms = sum_by_index(plan.rows, xp.ones_like(plan.mass), plan.shape[0])
        gap = xp.abs(rows - p)
        off = xp.where((gap == 0) & (atoms == 1), xp.zeros_like(gap), gap + (8 + atoms) * EPS * p)
        return off * (1 + 1e-6), plan.T.apply(off / p) * (1 + 1e-6)
