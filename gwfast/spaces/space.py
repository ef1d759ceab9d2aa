"""Spaces: a cost between points, weights on them, and what each kind can answer without an n x n matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

from gwfast.arrays import Array, detach, is_array, item, namespace, row_block, safe_sqrt, to_numpy
from gwfast.arrays.precision import EPS


@dataclass(frozen=True, eq=False)
class Moments:
    """Row statistics of a cost C under its weights p; everything the sorting bounds need.

    Attributes
    ----------
    mean, comean : arrays (n,)
        C p and C' p: mean cost of each row and of each column.
    total, second : scalars
        p' C p and p' (C * C) p.
    std : array (n,)
        Standard deviation of each row.
    centred_std : array (n,)
        Standard deviation of each row of the doubly centred cost C - a 1' - 1 a'' - total.
    error : scalar
        Proved bound on the rounding error of total, mean and comean (the latter two in L2(p)).
    std_error : scalar
        The same for std and centred_std.
    """

    mean: Array
    comean: Array
    total: Array
    second: Array
    std: Array
    centred_std: Array
    error: Array
    std_error: Array

    @property
    def rms(self) -> Array:
        """Root mean square (n,) of each row, the eccentricity of order 2."""
        return safe_sqrt(self.mean * self.mean + self.std * self.std)


class Space:
    """Points with weights and a square cost between them; the base of every kind of space."""

    weights: Array
    symmetric: bool

    @property
    def labels(self) -> tuple[Any, ...] | None:
        """Names (n,) of the points, where the caller gave some."""
        return None

    @property
    def factored(self) -> bool:
        """Whether `times` costs much less than a product with the dense cost."""
        return False

    @property
    def n(self) -> int:
        """Number of points."""
        raise TypeError("Space is the base class: use Dense, PointCloud, Gram or Graph")

    @property
    def like(self) -> Array:
        """An array of the library and device of the space."""
        raise TypeError("Space is the base class: use Dense, PointCloud, Gram or Graph")

    def rows(self, start: int, stop: int) -> Array:
        """Rows `start` to `stop` of the cost, (stop - start, n)."""
        raise TypeError("Space is the base class: use Dense, PointCloud, Gram or Graph")

    def gather(self, i: Array, j: Array) -> Array:
        """The costs C[i][:, j], (len(i), len(j))."""
        raise TypeError("Space is the base class: use Dense, PointCloud, Gram or Graph")

    def restricted(self, index: Array) -> Self:
        """The space on the points `index` only."""
        raise TypeError("Space is the base class: use Dense, PointCloud, Gram or Graph")

    def dense(self) -> Array:
        """The whole cost (n, n)."""
        return self.rows(0, self.n)

    def diagonal(self) -> Array:
        """The costs (n,) of the points with themselves."""
        raise TypeError("Space is the base class: use Dense, PointCloud, Gram or Graph")

    def times(self, x: Array) -> Array:
        """C @ x for x (n, k)."""
        return self.dense() @ x

    @property
    def T(self) -> Space:
        """The space with the transposed cost."""
        return self

    def weighted(self, weights: Array) -> Self:
        """The same space with the weights (n,)."""
        return self._with(weights=weights)

    def scaled(self, root: float) -> Self:
        """The same points with all costs multiplied by the square of `root`."""
        raise TypeError("Space is the base class: use Dense, PointCloud, Gram or Graph")

    @property
    def extent(self) -> float:
        """Order of magnitude of the costs, from above."""
        raise TypeError("Space is the base class: use Dense, PointCloud, Gram or Graph")

    @property
    def doubt(self) -> float:
        """Proved bound, in L2(p x p), on the rounding errors of the costs that `rows` and `gather` compute."""
        raise TypeError("Space is the base class: use Dense, PointCloud, Gram or Graph")

    def entry_error(self, cost: Array) -> float:
        """Proved bound of the error of every entry of the computed costs (n, n); `doubt` bounds their mean."""
        return self.doubt / item(namespace(self.weights).min(self.weights))

    def matches(self, other: Space, i: Array, j: Array) -> bool:
        """Whether the costs between the points `i` are computed as those of `other` between its points `j`."""
        return False

    def arrays(self) -> list[Array]:
        """The arrays that define the space."""
        return [v for f in fields(self) if is_array(v := getattr(self, f.name))]  # pyright: ignore

    def detached(self) -> Self:
        """The same space cut from torch's gradient tape."""
        return self._mapped(detach)

    def hosted(self) -> Self:
        """The same space in host memory, as numpy arrays."""
        return self._mapped(to_numpy)

    def _mapped(self, change: Callable[[Array], Array]) -> Self:
        named = ((f.name, getattr(self, f.name)) for f in fields(self))  # pyright: ignore[reportArgumentType]
        return self._with(**{name: change(value) for name, value in named if is_array(value)})

    def _with(self, **changes: Any) -> Self:
        # dataclasses.replace would run the checks of __post_init__ over the whole matrix again
        new = object.__new__(type(self))
        for f in fields(self):  # pyright: ignore[reportArgumentType]
            object.__setattr__(new, f.name, changes.get(f.name, getattr(self, f.name)))
        return new

    @cached_property
    def moments(self) -> Moments:
        """Row statistics by two passes over blocks of rows, O(n^2) time, O(n) memory."""
        xp, p, n = namespace(self.like), self.weights, self.n
        blocks = [(i, min(n, i + row_block(n))) for i in range(0, n, row_block(n))]
        mean = xp.concat([self.rows(*b) @ p for b in blocks])
        comean = mean if self.symmetric else sum(p[i:j] @ self.rows(i, j) for i, j in blocks)
        total = p @ mean
        effect = comean - total
        variance, centred = [], []
        for i, j in blocks:
            deviation = self.rows(i, j) - mean[i:j, None]
            variance.append((deviation * deviation) @ p)
            deviation = deviation - effect
            centred.append((deviation * deviation) @ p)
        variance, centred = xp.concat(variance), xp.concat(centred)
        second = p @ (variance + mean * mean)
        error = 8 * (n + 16) * EPS * xp.sqrt(second)
        return Moments(mean, comean, total, second, safe_sqrt(variance), safe_sqrt(centred), error, error)


def std_with_error(p: Array, square: Array, doubt: Array) -> tuple[Array, Array]:
    """Root of `square` known to +-`doubt` (both (n,)), and the L2(p) norm of its error."""
    xp = namespace(p)
    root = safe_sqrt(square)
    positive = xp.where(root > 0, root, xp.ones_like(root))
    worst = xp.where(root > 0, xp.minimum(xp.sqrt(doubt), doubt / positive), xp.sqrt(doubt))
    return root, xp.sqrt(p @ (worst * worst))
