"""Points that coincide: they are one point with their mass, and a plan of the merged points is split again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SHARE = 0.02  # of the points that repeat others, from which merging pays


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of equal points: a first member of each, and the group (n,) of every point."""

    first: np.ndarray
    of: np.ndarray

    @property
    def count(self) -> int:
        """Number of groups."""
        return len(self.first)

    def total(self, mass: np.ndarray) -> np.ndarray:
        """Integer mass of each group."""
        out = np.zeros(self.count, mass.dtype)
        np.add.at(out, self.of, mass)
        return out


def groups_of(points: np.ndarray) -> Groups:
    """Groups of equal rows of points (n, d); every row is one where few repeat.  O(n log n)."""
    n, d = points.shape
    key = np.zeros(n)
    for column, factor in zip(points.T, np.random.default_rng(0).normal(size=d)):
        key += factor * column  # a product with a matrix may round equal rows differently
    order = np.argsort(key, kind="stable")
    if (np.diff(key[order]) == 0).sum() < _SHARE * n:
        return Groups(np.arange(n), np.arange(n))
    _, first, of = np.unique(points, axis=0, return_index=True, return_inverse=True)
    return Groups(first, of.reshape(-1))


def split_rows(
    rows: np.ndarray, cols: np.ndarray, mass: np.ndarray, groups: Groups, supply: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atoms between points of the groups and `cols`, from atoms between groups `rows` and `cols`; integer masses.

    Along a line that holds the groups one after another, both the atoms and the members are intervals.
    """
    atoms = np.argsort(rows, kind="stable")
    members = np.argsort(groups.of, kind="stable")
    members = members[supply[members] > 0]
    ends_a, ends_m = np.cumsum(mass[atoms]), np.cumsum(supply[members])
    ends = np.union1d(ends_a, ends_m)
    atom, member = atoms[np.searchsorted(ends_a, ends)], members[np.searchsorted(ends_m, ends)]
    return member, cols[atom], np.diff(ends, prepend=0)
