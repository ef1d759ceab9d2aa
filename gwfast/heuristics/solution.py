"""What every solver returns."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gwfast.plan import Plan
from gwfast.result import Stop


@dataclass(frozen=True, eq=False)
class Solution:
    """A plan, why the solver stopped, and where the plan came from.

    Attributes
    ----------
    plan : Plan
    stop : Stop
    start : str
        Name of the start or feature.
    iterations : int
    stationarity : float
        Frank-Wolfe gap at the plan; NaN where not computed.
    """

    plan: Plan
    stop: Stop
    start: str
    iterations: int = 0
    stationarity: float = math.nan
