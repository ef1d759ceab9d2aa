"""What a barycentre is handed back as.  Data only."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gwfast.plan import Plan
from gwfast.result import Certificate, Stop
from gwfast.spaces.dense import Dense


@dataclass(frozen=True, eq=False)
class Barycenter:
    """Costs between n points whose weighted mean of objectives to some spaces is small, with a proved interval.

    Attributes
    ----------
    space : Dense
        Costs (n, n) and weights (n,).
    features : array (n, f) or None
        Features of the points, where the spaces have some.
    plans : tuple of Plan
        From the barycentre to each space, (n, n_s).
    value : float
        The weighted mean of `values`, which is minimised.
    values : array (S,)
        Objective of each plan.
    weights : array (S,)
        Of the spaces; their sum is 1.
    certificate : Certificate
        Bounds of the least value that any costs between any number of points have.
    lowers : array (S, S)
        Proved lower bounds of the objectives between the spaces, which prove the bounds below; 0 where none were taken.
    stop : Stop
        Why the steps of the start that won ended.
    start : str
        Which start won.
    iterations : int
        Its steps.
    seconds : float
        Wall time.
    """

    space: Dense
    plans: tuple[Plan, ...]
    value: float
    values: np.ndarray
    weights: np.ndarray
    certificate: Certificate
    lowers: np.ndarray
    stop: Stop
    start: str
    iterations: int
    seconds: float
    features: np.ndarray | None = field(default=None, repr=False)

    @property
    def lower(self) -> float:
        """Proved: no barycentre, of any number of points and any weights, has a smaller value."""
        return self.certificate.lower

    @property
    def upper(self) -> float:
        """Proved: `value` plus its rounding margin."""
        return self.certificate.upper

    @property
    def gap(self) -> float:
        """(upper - lower) / upper."""
        return self.certificate.gap

    @property
    def optimal(self) -> bool:
        """Whether no barycentre is better, but for rounding."""
        return self.certificate.optimal

    def __str__(self) -> str:
        seconds = f"{1e3 * self.seconds:.3g} ms" if self.seconds < 1 else f"{self.seconds:.3g} s"
        return "\n".join(
            (
                f"gwfast.barycenter   {self.space.n} points, of {len(self.plans)} spaces",
                f"  value        {self.value:.6g}   weighted mean of the objectives",
                str(self.certificate),
                f"  start        {self.start}",
                f"  stopped      {self.stop.value} ({self.iterations} iterations)",
                f"  time         {seconds}",
            )
        )
