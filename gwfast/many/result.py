"""What tables and searches hand back."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gwfast.errors import InputError
from gwfast.many.blocks import Atoms
from gwfast.many.triangle import proved_ends
from gwfast.plan import Plan


@dataclass(frozen=True, eq=False)
class Pairwise:
    """Values and proved lower bounds of pairs of a data set.

    Attributes
    ----------
    count : int
        Number of spaces, N.
    i, j : integer arrays (R,)
        The pairs.
    values, lowers : arrays (R,)
        Objective of the plan found for each pair, an upper bound, and the proved lower bound of the optimum.  NaN
        and 0 where a time limit came first.
    plans : list of Plan or None
        Plans, where they were asked for.
    largest : array (N,) or None
        Largest square of a cost of each space; None with features, where the distance is no metric.
    """

    count: int
    i: np.ndarray
    j: np.ndarray
    values: np.ndarray
    lowers: np.ndarray
    plans: list[Plan] | None = field(default=None, repr=False)
    largest: np.ndarray | None = field(default=None, repr=False)

    @cached_property
    def value(self) -> np.ndarray:
        """Values (N, N), symmetric, 0 on the diagonal, NaN where a pair was not asked for."""
        return self._square(self.values)

    @cached_property
    def lower(self) -> np.ndarray:
        """Proved lower bounds (N, N), as `value`."""
        return self._square(self.lowers)

    @property
    def distance(self) -> np.ndarray:
        """Square roots of `value` (N, N): what scikit-learn takes as ``metric="precomputed"``."""
        return np.sqrt(self.value)

    @cached_property
    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Proved lower and upper ends (N, N) of all distances, pairs that were not asked for included.

        Ends of other pairs tighten them by the triangle inequality, where there are no features.  O(N^3) time.
        """
        return proved_ends(self.lower, self.value, self.largest)

    @property
    def condensed(self) -> np.ndarray:
        """Square roots of the values of all pairs, in the order of `scipy.spatial.distance.squareform`."""
        if len(self.i) != self.count * (self.count - 1) // 2:
            raise InputError("condensed: needs all pairs; this table has some of them")
        return np.sqrt(self.values[np.lexsort((self.j, self.i))])

    @property
    def gap(self) -> np.ndarray:
        """Share (R,) of each value that is not proved; 0 where value and bound are equal."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.values == self.lowers, 0.0, (self.values - self.lowers) / np.abs(self.values))

    @property
    def complete(self) -> bool:
        """Whether every pair was solved."""
        return not bool(np.isnan(self.values).any())

    def plan(self, i: int, j: int) -> Plan:
        """The plan from space i to space j.

        Raises
        ------
        InputError
            Plans were not asked for, or the pair is not in the table.
        """
        if self.plans is None:
            raise InputError("plan: this table keeps none; pass plans=True")
        for a, b, turn in ((i, j, False), (j, i, True)):
            place = np.flatnonzero((self.i == a) & (self.j == b))
            if len(place):
                plan = self.plans[int(place[0])]
                return plan.T if turn else plan
        raise InputError(f"plan: the table has no pair ({i}, {j})")

    def to_frame(self, labels: Any = None) -> Any:
        """The distances as a pandas DataFrame, rows and columns named by `labels` (N,), or numbered."""
        import pandas as pd

        names = list(range(self.count)) if labels is None else list(labels)
        if len(names) != self.count:
            raise InputError(f"labels: expected {self.count}, one a space, found {len(names)}")
        return pd.DataFrame(self.distance, index=names, columns=names)

    def _square(self, flat: np.ndarray) -> np.ndarray:
        table = np.full((self.count, self.count), np.nan)
        np.fill_diagonal(table, 0.0)
        table[self.i, self.j] = table[self.j, self.i] = flat
        return table


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest spaces to a query, or to every space of a data set.

    Attributes
    ----------
    index : integer array (k,) or (N, k)
        Positions in the data set, nearest first; of equal values the lower position first.
    value : array, as `index`
        Objectives of the plans found.
    solved : int
        Pairs for which a plan was computed; the others were ruled out by their lower bound alone.
    pairs : int
        Pairs in question.
    proved : boolean array, as `index`, or None
        Whether a place is proved: no space but those at it and before it can be nearer, by any plan.
    """

    index: np.ndarray
    value: np.ndarray
    solved: int
    pairs: int = 0
    proved: np.ndarray | None = None


def plans_of(atoms: Atoms, shapes: list[tuple[int, int]]) -> list[Plan]:
    """Plans of a block."""
    ends = np.cumsum(atoms.count)
    return [
        Plan(
            shape, atoms.rows[e - c : e].astype(np.int64), atoms.cols[e - c : e].astype(np.int64), atoms.mass[e - c : e]
        )
        for shape, c, e in zip(shapes, atoms.count.tolist(), ends.tolist())
    ]
