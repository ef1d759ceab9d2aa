"""What solvers ask of a set of feasible plans."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from gwfast.arrays import Array
from gwfast.budget import UNLIMITED, Budget
from gwfast.marginals.penalty import Penalty
from gwfast.plan import Plan
from gwfast.scaling import Scaling
from gwfast.transport import LinearSolution


class Marginals(Protocol):
    """The plans T (n, m) that a problem allows, for weights p (n,) and q (m,).

    Attributes
    ----------
    name : str
        Methods name the sets for which they are theorems.
    rows_given, columns_given : bool
        Whether T 1 = p, and T' 1 = q, for every feasible plan.  Where not, terms of the objective that are constant
        otherwise depend on the plan.
    columns_used : bool
        Whether the weights of the second space restrict the plans.
    mass : float
        The mass of every feasible plan; of unbalanced ones that of the weights.
    penalty : Penalty or None
        What the objective gains for marginals that are not the weights.
    """

    @property
    def name(self) -> str: ...
    @property
    def rows_given(self) -> bool: ...
    @property
    def columns_given(self) -> bool: ...
    @property
    def columns_used(self) -> bool: ...
    @property
    def mass(self) -> float: ...
    @property
    def penalty(self) -> Penalty | None: ...

    def scaled(self, factor: float) -> Marginals:
        """The same for an objective that is multiplied by a power of two."""
        ...

    def start(self, p: Array, q: Array) -> Array:
        """A feasible plan (n, m) that prefers no pair."""
        ...

    def minimum(
        self,
        cost: np.ndarray,
        p: np.ndarray,
        q: np.ndarray,
        near: tuple[np.ndarray, np.ndarray] | None = None,
        budget: Budget = UNLIMITED,
    ) -> LinearSolution:
        """The feasible plan of least <cost, T>, with a proved lower bound of that minimum; on the host."""
        ...

    def project(self, cost: Array, p: Array, q: Array, g: Array, epsilon: float, tol: float, max_iter: int) -> Scaling:
        """The plan of least <cost, T> + epsilon <T, log T - 1>, from the column potential g (m,)."""
        ...

    def repair(self, T: Array, p: Array, q: Array) -> Array:
        """A feasible plan near the matrix T (n, m) of entries >= 0."""
        ...

    def error(self, plan: Plan, p: Array, q: Array) -> float:
        """Largest violation of what is required of a plan."""
        ...

    def missing(self, plan: Plan, p: Array, q: Array) -> tuple[Array, Array]:
        """Masses (n,) and (m,), from above, that a feasible plan near `plan` has to move."""
        ...
