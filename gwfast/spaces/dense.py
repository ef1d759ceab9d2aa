"""A space given by its cost matrix."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from gwfast import checks
from gwfast.arrays import Array, item, namespace
from gwfast.arrays.precision import TINY
from gwfast.spaces.space import Space


@dataclass(frozen=True, eq=False)
class Dense(Space):
    """A space given by its cost matrix.

    Parameters
    ----------
    cost : array (n, n)
        Cost between points, symmetric or not, of any sign and unit.
    weights : array (n,), optional
        Mass of each point, summing to 1.

    Raises
    ------
    InputError
        `cost` is not square, not finite, or outside the range that can be squared.

    Notes
    -----
    O(n^2) memory; whether the cost is symmetric is found out in one pass.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> gwfast.Dense(np.array([[0.0, 1.0], [2.0, 0.0]])).symmetric
    False
    """

    cost: Array
    weights: Array = None
    name: str = field(default="C", repr=False)
    symmetric: bool = field(init=False, default=True, repr=False)
    extremes: tuple[float, float] = field(init=False, default=(0.0, 0.0), repr=False)
    doubt: float = field(init=False, default=0.0, repr=False)
    labels: tuple[Any, ...] | None = field(init=False, default=None, repr=False)  # pyright: ignore

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", checks.names(self.cost))
        cost, extremes = checks.cost_matrix(self.cost, self.name)
        object.__setattr__(self, "cost", cost)
        object.__setattr__(self, "extremes", extremes)
        object.__setattr__(self, "symmetric", _is_symmetric(self.cost))

    @property
    def n(self) -> int:
        return self.cost.shape[0]

    @property
    def like(self) -> Array:
        return self.cost

    def rows(self, start: int, stop: int) -> Array:
        return self.cost[start:stop]

    def gather(self, i: Array, j: Array) -> Array:
        xp = namespace(self.cost)
        return xp.take(xp.take(self.cost, i, axis=0), j, axis=1)

    def dense(self) -> Array:
        return self.cost

    def entry_error(self, cost: Array) -> float:
        return self.doubt

    def doubted(self, doubt: float) -> Self:
        """The same costs, each known to within `doubt`."""
        return self._with(doubt=doubt)

    def diagonal(self) -> Array:
        return namespace(self.cost).linalg.diagonal(self.cost)

    def named(self, labels: tuple[Any, ...] | None) -> Self:
        """The same space with names of its points."""
        return self if labels is None else self._with(labels=labels)

    def restricted(self, index: Array) -> Self:
        xp = namespace(self.cost)
        weights = None if self.weights is None else xp.take(self.weights, index, axis=0)
        cost = self.gather(index, index)
        return self._with(cost=cost, weights=weights, extremes=(item(xp.min(cost)), item(xp.max(cost))), labels=None)

    def scaled(self, root: float) -> Self:
        xp, factor = namespace(self.cost), root**2
        cost = self.cost * factor
        low, high = self.extremes
        # a power of two is exact but for numbers that leave float64 at its lower end
        lost = factor < 1 and bool(xp.any((xp.abs(cost) < TINY) & (self.cost != 0)))
        doubt = self.doubt * factor + (TINY if lost else 0.0)
        return self._with(cost=cost, extremes=(low * factor, high * factor), doubt=doubt)

    def shifted(self, offset: float) -> Self:
        """The same points with `offset` taken from every cost; exact where it is within a factor 2 of each."""
        low, high = self.extremes
        return self._with(cost=self.cost - offset, extremes=(low - offset, high - offset))

    @property
    def extent(self) -> float:
        return max(abs(x) for x in self.extremes)

    @property
    def T(self) -> Space:
        return self if self.symmetric else self._with(cost=namespace(self.cost).matrix_transpose(self.cost))


def _is_symmetric(C: Array, tile: int = 256) -> bool:
    # tiles keep both the block and its mirror image in cache
    xp, n = namespace(C), C.shape[0]
    for i in range(0, n, tile):
        for j in range(0, i + tile, tile):
            mirror = xp.matrix_transpose(C[j : j + tile, i : i + tile])
            if not bool(xp.all(C[i : i + tile, j : j + tile] == mirror)):
                return False
    return True
