"""Unbalanced plans: any marginals, at a price."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from gwfast import checks
from gwfast.arrays import Array, item, namespace
from gwfast.budget import UNLIMITED, Budget
from gwfast.errors import GWFastError, InputError
from gwfast.marginals.penalty import Penalty
from gwfast.plan import Plan
from gwfast.scaling import Scaling
from gwfast.transport import LinearSolution

_LEAST, _MOST = 1e-280, 1e280


@dataclass(frozen=True)
class Unbalanced:
    r"""All plans T >= 0; the objective gains a penalty for marginals that are not p and q.

    .. math:: \rho \, \mathrm{KL}(T 1 \otimes T 1 \mid p \otimes p) + \rho' \, \mathrm{KL}(T^\top 1 \otimes T^\top 1
              \mid q \otimes q)

    Parameters
    ----------
    rho : float, or pair of floats
        Prices rho and rho' of both marginals, above 0, in the unit of the objective.

    Raises
    ------
    InputError
        `rho` is not as above.

    Notes
    -----
    The penalty is not multiplied by alpha.  A plan of no mass has the objective rho + rho', which no optimum exceeds.

    References
    ----------
    T. Sejourne, F.-X. Vialard, G. Peyre, The unbalanced Gromov Wasserstein distance: conic formulation and relaxation,
    2021; docs/theory/unbalanced_entries.md.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> x, y = np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0, 3.0, 30.0])
    >>> C1, C2 = np.abs(x[:, None] - x), np.abs(y[:, None] - y)
    >>> res = gwfast.exact_gw(C1, C2, marginals=gwfast.Unbalanced(rho=0.5))
    >>> res.plan.marginals()[1].round(2).tolist()  # the last point is too far from the others
    [0.29, 0.29, 0.29, 0.0]
    """

    rho: Any
    name: str = "unbalanced"
    rows_given: bool = False
    columns_given: bool = False
    columns_used: bool = True
    mass: float = 1.0
    penalty: Penalty = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        several = isinstance(self.rho, (tuple, list)) or getattr(self.rho, "ndim", 0) == 1
        given: list[Any] = list(self.rho) if several else [self.rho, self.rho]  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
        if len(given) != 2:
            raise InputError(f"rho: expected a number or two, found {len(given)}; pass (rho of rows, rho of columns)")
        rows, columns = (checks.positive(x, "rho") for x in given)
        for x in (rows, columns):
            if not _LEAST <= x <= _MOST:
                raise InputError(f"rho: expected {_LEAST:g} to {_MOST:g}, found {x:g}; rescale costs and rho")
        object.__setattr__(self, "rho", rows if rows == columns else (rows, columns))
        object.__setattr__(self, "penalty", Penalty(rows, columns))

    def scaled(self, factor: float) -> Unbalanced:
        """The same for an objective that is multiplied by a power of two."""
        return Unbalanced((self.penalty.rows * factor, self.penalty.columns * factor))

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
        """Refused: the set is not bounded, and linear steps know no penalty."""
        _no_step()

    def project(self, cost: Array, p: Array, q: Array, g: Array, epsilon: float, tol: float, max_iter: int) -> Scaling:
        """Refused: an entropic step depends on the last plan; see `gwfast.heuristics.unbalanced`."""
        _no_step()

    def repair(self, T: Array, p: Array, q: Array) -> Array:
        """The plan as it is."""
        return T

    def error(self, plan: Plan, p: Array, q: Array) -> float:
        """0: no marginal is required; infinite where one is no number."""
        total = item(namespace(p).sum(plan.marginals()[0]))
        return 0.0 if math.isfinite(total) else math.inf

    def missing(self, plan: Plan, p: Array, q: Array) -> tuple[Array, Array]:
        """No mass."""
        xp = namespace(p)
        return xp.zeros_like(p), xp.zeros_like(q)


def _no_step() -> NoReturn:
    raise GWFastError("unbalanced plans have no linear step")
