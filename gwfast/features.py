"""Feature costs that are squared distances of features, never stored as a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gwfast import checks
from gwfast.arrays import Array, asks_for_gradient, detach, from_numpy, namespace, to_numpy
from gwfast.arrays.precision import EPS
from gwfast.errors import InputError
from gwfast.plan import Plan


@dataclass(frozen=True, eq=False)
class FeatureCost:
    r"""Squared Euclidean distances between the features of two sets of points, :math:`M_{ik} = |f_i - g_k|^2`.

    Pass it as `M`: small problems use the matrix, large ones the features, in O((n + m) r) memory.

    Parameters
    ----------
    first, second : arrays (n, r), (m, r)
        Features of the points of C1 and of C2, of one library.

    Raises
    ------
    InputError
        They are no finite matrices with as many columns as each other.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> M = gwfast.FeatureCost(np.array([[0.0], [2.0]]), np.array([[1.0]]))
    >>> M.shape, M.dense()
    ((2, 1), array([[1.],
           [1.]]))
    """

    first: Array
    second: Array

    def __post_init__(self) -> None:
        for name in ("first", "second"):
            array = checks.matrix(getattr(self, name), name, "features of shape (n, r)", power=2)
            object.__setattr__(self, name, array)
        if self.first.shape[1] != self.second.shape[1]:
            raise InputError(
                f"second: expected {self.first.shape[1]} columns, as first has, found {self.second.shape[1]}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(n, m)."""
        return self.first.shape[0], self.second.shape[0]

    @property
    def taped(self) -> bool:
        """Whether torch's gradient tape holds the features."""
        return asks_for_gradient(self.first) or asks_for_gradient(self.second)

    @cached_property
    def largest(self) -> float:
        """An upper bound of every entry."""
        spans = [float(np.abs(to_numpy(z)).max(axis=0, initial=0.0) @ np.ones(z.shape[1])) for z in self._pair]
        return (spans[0] + spans[1]) ** 2 * (1 + 1e-9)

    def dense(self) -> Array:
        """The matrix (n, m), a coordinate at a time, without cancellation."""
        xp = namespace(self.first)
        total = xp.zeros_like(self.first[:, :1] * self.second[None, :, 0])
        for k in range(self.first.shape[1]):
            total = total + (self.first[:, None, k] - self.second[None, :, k]) ** 2
        return total

    @property
    def share_lost(self) -> float:
        """Relative rounding error of every entry of `dense` and `at`."""
        return (self.first.shape[1] + 4) * EPS

    def at(self, rows: Array, cols: Array) -> Array:
        """The entries (N,) at N places."""
        xp = namespace(self.first)
        gap = xp.take(self.first, rows, axis=0) - xp.take(self.second, cols, axis=0)
        return xp.sum(gap * gap, axis=1)

    def mean_under(self, plan: Plan) -> Array:
        """The inner product <M, T> of a plan: O(N r) for N atoms, one product for a plan that is not stored."""
        if plan.is_stored:
            rows, cols, mass = plan.atoms()
            return self.at(rows, cols) @ mass
        first, second = self.centred()
        p, q = (to_numpy(w) for w in plan.marginals())
        image = to_numpy(plan.apply(from_numpy(second, self.first)))
        squares = float(p @ (first * first).sum(axis=1) + q @ (second * second).sum(axis=1))
        return from_numpy(np.asarray(max(squares - 2 * float((first * image).sum()), 0.0)), self.first)

    def restricted(self, rows: Array | None, cols: Array | None) -> FeatureCost:
        """The same for some of the points."""
        first = self.first if rows is None else namespace(self.first).take(self.first, rows, axis=0)
        second = self.second if cols is None else namespace(self.second).take(self.second, cols, axis=0)
        return FeatureCost(first, second)

    def scaled(self, root: float) -> FeatureCost:
        """The cost multiplied by the square of `root`."""
        return FeatureCost(self.first * root, self.second * root)

    def detached(self) -> FeatureCost:
        """The same, cut from torch's gradient tape."""
        return FeatureCost(detach(self.first), detach(self.second))

    def hosted(self) -> FeatureCost:
        """The same as numpy arrays."""
        return FeatureCost(*self._pair)

    @property
    def _pair(self) -> tuple[np.ndarray, np.ndarray]:
        return to_numpy(detach(self.first)), to_numpy(detach(self.second))

    def centred(self) -> tuple[np.ndarray, np.ndarray]:
        """Both features in host memory about a common vector, which no entry sees."""
        first, second = self._pair
        middle = (first.mean(axis=0) + second.mean(axis=0)) / 2
        return first - middle, second - middle

    def cheapest(self, p: np.ndarray, q: np.ndarray) -> float:
        r"""Proved lower bound of <M, T> over couplings of p and q, from means and covariances, O((n + m) r^2).

        .. math:: \langle M, T \rangle \ge |\mu - \nu|^2 + \operatorname{tr} S_1 + \operatorname{tr} S_2
                  - 2 \| S_1^{1/2} S_2^{1/2} \|_*

        Gelbrich 1990.  With factors R'R = S from orthogonal triangular decompositions, whose errors are of the size of
        the features, the nuclear norm is that of R_1 R_2'.
        """
        halves, means, total = [], [], 0.0
        for z, w in zip(self.centred(), (p, q)):
            mean = w @ z
            root = np.sqrt(w)[:, None] * (z - mean)
            halves.append(np.linalg.qr(root, mode="r"))
            means.append(mean)
            total += float((root * root).sum())
        gap = means[0] - means[1]
        matched = float(np.linalg.svd(halves[0] @ halves[1].T, compute_uv=False).sum())
        n, r = len(p) + len(q), self.first.shape[1]
        size = float(gap @ gap) + total + float(means[0] @ means[0] + means[1] @ means[1])
        lost = 16 * (n * r + 32 * r * r + 64) * EPS * size
        return max(float(gap @ gap) + total - 2 * matched - lost, 0.0)


def feature_cost(M: Any, shape: tuple[int, int], alpha: Any, like: Array) -> tuple[FeatureCost, float]:
    """Check a feature cost that a caller passed as M, and its weight."""
    if M.shape != shape:
        raise InputError(f"M: expected features of {shape[0]} and {shape[1]} points, found {M.shape}")
    checks.same_library(C1=like, **{"M.first": M.first, "M.second": M.second})
    return M, checks.fraction(0.5 if alpha is None else alpha, "alpha")
