"""Estimates of a plan's value from some points of the first space, for spaces where a sum over all pairs is dear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwfast.arrays import to_numpy
from gwfast.plan import Plan
from gwfast.result import Stop
from gwfast.spaces.pair_sums import single_rows, whole_rows
from gwfast.spaces.space import Space

_ROWS = 32  # rows of the second space at a time


@dataclass(frozen=True, eq=False)
class Estimate:
    """A plan, and an estimate of its value from rows that were drawn independently of its choice.

    Attributes
    ----------
    plan : Plan
        Atoms of the plan; its marginals are the weights.
    mean : float
        Unbiased estimate of the objective of the plan, no bound of it.
    standard_error : float
        Standard deviation of `mean` over samples.
    rows : int
        Number of rows in the sample.
    stop : Stop
        Why the search for the plan ended.
    seconds : float
    """

    plan: Plan
    mean: float
    standard_error: float
    rows: int
    stop: Stop
    seconds: float

    def __str__(self) -> str:
        return f"about {self.mean:.6g}, standard error {self.standard_error:.2g} from {self.rows} rows"


class Judge:
    """Values of plans at points that are drawn once, so that plans compare; O(r n) memory for r points.

    Costs of the first space are in single precision, but for `double`.
    """

    def __init__(self, x: Space, y: Space, count: int, seed: int, double: bool = False) -> None:
        self.x, self.y = x, y
        rng, p = np.random.default_rng(seed), to_numpy(x.weights)
        self.points = np.sort(rng.choice(x.n, count, p=p))
        self.share = rng.random(count)  # where in the mass of its point a drawn atom lies
        self.costs = whole_rows(x, self.points) if double else single_rows(x, self.points)

    def values(self, rows: np.ndarray, cols: np.ndarray, mass: np.ndarray) -> np.ndarray:
        """Mean squared difference of the costs (r,) of each point and of an atom of its, over the plan.

        Their mean is an unbiased estimate of the objective.  Atoms are ordered by `rows`.
        """
        ends = np.cumsum(mass)
        begin = np.searchsorted(rows, self.points)
        end = np.searchsorted(rows, self.points, side="right") - 1
        low = ends[begin] - mass[begin]
        drawn = np.clip(np.searchsorted(ends, low + self.share * (ends[end] - low)), begin, end)
        out = np.empty(len(drawn))
        for start in range(0, len(drawn), _ROWS):
            part = slice(start, start + _ROWS)
            gap = self.costs[part][:, rows] - whole_rows(self.y, cols[drawn[part]])[:, cols]
            out[part] = (gap * gap) @ mass
        return out
