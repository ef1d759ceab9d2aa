"""Spaces whose costs are computed a row at a time, when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

from gwfast import checks
from gwfast.arrays import Array, to_numpy
from gwfast.arrays.precision import EPS, TINY
from gwfast.clock import now
from gwfast.errors import InputError
from gwfast.kernels.rows.sums import row_sums
from gwfast.spaces.remote_rows import RemoteRows
from gwfast.spaces.space import Moments, Space, std_with_error

_BLOCK = 1 << 21  # numbers in a block of rows: many rows at a time pay where each is dear
_LOOKED = 32  # rows that are looked at when a space is made
_SAMPLE = 256  # rows that the effects of all points are estimated from
_MOST = 1024  # rows in a block
_LARGEST = 1e152


@dataclass(frozen=True, eq=False, init=False)
class Rows(Space):
    """A space given by a function that computes rows of a symmetric cost.

    Parameters
    ----------
    count : int
        Number of points n.
    function : callable
        Takes an integer array (r,) of points, and returns their costs to all points, (r, n), as numpy numbers.
    weights : array (n,), optional
        Mass of each point, summing to 1.
    rounding : float
        Largest error of a cost over their root mean square, up to which they are right and symmetric.
    executor : concurrent.futures.Executor, optional
        Where the function runs, some rows a call: a `ProcessPoolExecutor`, dask's `Client().get_executor()`,
        `mpi4py.futures`.  It travels once to each worker, by pickle.

    Raises
    ------
    InputError
        The function returns another shape, NaN or infinite costs, or different costs from i to j and from j to i.

    Notes
    -----
    O(n) memory, and a few blocks of rows.  The symmetry is looked at for 32 points.  A function that is called on
    rows again must return them again.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> x = np.array([0.0, 1.0, 3.0])
    >>> gwfast.Rows(3, lambda i: np.abs(x[i, None] - x)).dense()
    array([[0., 1., 3.],
           [1., 0., 2.],
           [3., 2., 0.]])
    """

    count: int
    function: Callable[[np.ndarray], Any]
    weights: Array
    rounding: float
    index: np.ndarray = field(repr=False)
    factor: float = field(repr=False)
    largest: float = field(repr=False)
    row_seconds: float = field(repr=False)
    symmetric: bool = field(init=False, default=True, repr=False)

    def __init__(
        self,
        count: int,
        function: Callable[[np.ndarray], Any],
        weights: Array = None,
        *,
        rounding: float = 1e-12,
        executor: Executor | None = None,
    ) -> None:
        n = checks.count(count, "count")
        if not callable(function):
            raise InputError(
                f"function: expected one that takes points and returns rows, found {type(function).__name__}"
            )
        function = function if executor is None else RemoteRows(function, executor)
        self._set(count=n, function=function, weights=weights, rounding=checks.number(rounding, "rounding"))
        self._set(index=np.arange(n), factor=1.0, largest=0.0)
        some = np.unique(np.linspace(0, n - 1, min(n, _LOOKED)).astype(np.int64))
        begin = now()
        rows = self.computed(some)
        self._set(largest=float(np.abs(rows).max()), row_seconds=(now() - begin) / len(some))
        square = rows[:, some]
        apart = np.abs(square - square.T)
        i, j = np.unravel_index(apart.argmax(), apart.shape)
        if apart[i, j] > (self.rounding + 16 * EPS) * self.largest:
            raise InputError(
                f"function: expected a symmetric cost, found {square[i, j]:.9g} from {some[i]} to {some[j]}, and "
                f"{square[j, i]:.9g} back; pass its symmetric part, or a larger rounding"
            )

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def n(self) -> int:
        return len(self.index)

    @property
    def like(self) -> Array:
        return np.zeros(1)

    @property
    def order(self) -> np.ndarray:
        """An order (n,) of the points in which blocks of rows are cheapest."""
        return np.arange(self.n)

    def computed(self, i: np.ndarray) -> np.ndarray:
        """Rows (r, n) of the points i (r,), checked."""
        asked = self.index[i]
        rows = self.function(asked)
        rows = rows if isinstance(rows, np.ndarray) else to_numpy(checks.numeric(rows, "function"))
        if rows.shape != (len(asked), self.count):
            raise InputError(
                f"function: for {len(asked)} points, {asked[0]} to {asked[-1]}, expected rows of shape "
                f"({len(asked)}, {self.count}), found {rows.shape}"
            )
        if rows.dtype != np.float64:
            rows = checks.numeric(rows, "function")
        if not (rows.min() > -_LARGEST and rows.max() < _LARGEST):  # NaN too
            bad = asked[~(np.abs(rows) < _LARGEST).all(axis=1)]
            raise InputError(
                f"function: {len(bad)} of {len(asked)} rows, that of point {bad[0]} first, have entries that are NaN, "
                f"infinite or above {_LARGEST:g}"
            )
        if self.n != self.count:
            rows = rows[:, self.index]
        return rows * self.factor if self.factor != 1 else rows

    def rows(self, start: int, stop: int) -> Array:
        return self.computed(np.arange(start, stop))

    def gather(self, i: Array, j: Array) -> Array:
        points, place = np.unique(to_numpy(i), return_inverse=True)
        return self.computed(points)[place][:, to_numpy(j)]

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All points in blocks, with their rows."""
        order, step = self.order, max(1, min(_MOST, _BLOCK // self.n))
        for start in range(0, self.n, step):
            part = order[start : start + step]
            yield part, self.computed(part)

    def restricted(self, index: Array) -> Self:
        index = to_numpy(index)
        weights = None if self.weights is None else self.weights[index]
        return self._with(index=self.index[index], weights=weights)

    def scaled(self, root: float) -> Self:
        return self._with(factor=self.factor * root**2, largest=self.largest * root**2)

    def times(self, x: Array) -> Array:
        out = np.empty((self.n, x.shape[1]))
        for part, rows in self.blocks():
            out[part] = rows @ x
        return out

    @property
    def extent(self) -> float:
        return self.largest

    @cached_property
    def doubt(self) -> float:
        second = float(self.moments.second)
        return self.rounding * second**0.5 + (TINY if second > 0 and self.factor < 1 else 0.0)

    def entry_error(self, cost: Array) -> float:
        largest = float(np.abs(cost).max())
        return self.rounding * largest + (TINY if largest > 0 and self.factor < 1 else 0.0)

    def diagonal(self) -> Array:
        return self._sums[1]

    @cached_property
    def moments(self) -> Moments:
        """Row statistics by one pass over blocks of rows, O(n) memory."""
        return self._sums[0]

    @cached_property
    def _sums(self) -> tuple[Moments, np.ndarray]:
        collector = self.collector()
        for part, rows in self.blocks():
            collector.add(part, rows)
        return collector.result()

    def collector(self) -> Collector:
        """What gathers the statistics of the rows in any pass over them."""
        return Collector(self)

    @property
    def open_moments(self) -> bool:
        """Whether the space has weights, but the statistics of its rows are not known yet."""
        return self.weights is not None and "_sums" not in self.__dict__

    def keep(self, collector: Collector) -> None:
        """Take the statistics that a pass over all rows has gathered."""
        if collector.seen.all() and self.open_moments:
            self.__dict__["_sums"] = collector.result()


class Collector:
    """Statistics of the rows of a space, gathered as rows come, in any order; a row that comes again changes nothing.

    The effects are known after a pass only: deviations are taken from estimates, whose error is known then.
    """

    def __init__(self, space: Rows) -> None:
        n, p = space.n, to_numpy(space.weights)
        self._p, self._rounding = p, space.rounding
        some = np.random.default_rng(0).choice(n, min(n, _SAMPLE), p=p)
        self._effect = space.computed(some).mean(axis=0)
        self._effect -= p @ self._effect
        self._sums, self._diagonal, self.seen = np.empty((3, n)), np.empty(n), np.zeros(n, np.bool_)

    def add(self, points: np.ndarray, rows: np.ndarray) -> None:
        """Take the rows (r, n) of points (r,)."""
        sums = np.empty((3, len(points)))
        row_sums(rows, self._p, self._effect, *sums)
        self._sums[:, points] = sums
        self._diagonal[points] = rows[np.arange(len(points)), points]
        self.seen[points] = True

    def result(self) -> tuple[Moments, np.ndarray]:
        """The statistics and the diagonal (n,), once all rows have come."""
        p, effect, n = self._p, self._effect, len(self._p)
        mean, square, left = self._sums
        total, second = p @ mean, p @ square
        share = 8 * (n + 16) * EPS
        error = share * second**0.5 + 2 * self._rounding * second**0.5
        std, std_error = std_with_error(p, square - mean**2, share * square)
        apart = effect - (mean - total)
        spread = left - (mean - p @ effect) ** 2
        centred, centred_error = std_with_error(p, spread, share * (left + square + 2 * p @ effect**2))
        missed = (p @ apart**2) ** 0.5 * (1 + share)
        std_error = max(std_error, centred_error + missed) + error
        return Moments(mean, mean, total, second, std, centred, error, std_error), self._diagonal
