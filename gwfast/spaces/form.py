"""Spaces of points: costs that are a sum of two effects and an inner product, held in O(n d)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gwfast.arrays import to_numpy
from gwfast.spaces.gram import Gram
from gwfast.spaces.point_cloud import PointCloud
from gwfast.spaces.space import Space


@dataclass(frozen=True, eq=False)
class Form:
    r"""A space whose costs are :math:`C_{ij} = a_i + a_j + \kappa \langle x_i, x_j \rangle`, with centred x.

    Squared Euclidean distances have :math:`a_i = |x_i|^2` and kappa = -2; inner products of h = x + mean have
    :math:`a_i = \langle x_i, mean \rangle + |mean|^2 / 2` and kappa = 1.  In host memory, float64, O(n d).

    Attributes
    ----------
    X : array (n, d)
        Points about their mean under the weights, along principal axes, widest first.
    effect : array (n,)
        a less its mean.
    mean : float
        Mean of a: half of the mean cost.
    kappa : float
        -2 or 1.
    p : array (n,)
        Weights.
    """

    X: np.ndarray
    effect: np.ndarray
    mean: float
    kappa: float
    p: np.ndarray

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.X)

    @cached_property
    def moment(self) -> np.ndarray:
        """Second moments (d, d) of the points."""
        return (self.X.T * self.p) @ self.X

    @cached_property
    def second(self) -> float:
        """E C^2."""
        moment = self.moment
        return float(
            2 * self.p @ self.effect**2 + 4 * self.mean**2 + self.kappa**2 * np.einsum("ab,ab->", moment, moment)
        )


def points_of(space: Space) -> np.ndarray | None:
    """Points (n, d) whose squared distances or inner products are the costs of a space; None for other spaces."""
    if isinstance(space, PointCloud) and space.metric == "sqeuclidean":
        return to_numpy(space.points)
    if isinstance(space, Gram):
        return (space.factor.toarray() if space.is_sparse else to_numpy(space.factor)).T
    return None


def form_of(space: Space) -> Form | None:
    """Return the form of a weighted space; None where its costs are no squared distances or inner products.

    O(n d^2) time.
    """
    points = points_of(space)
    if points is None:
        return None
    p = to_numpy(space.weights)
    mean = p @ points
    X = points - mean
    left = p @ X  # the rounding of the mean is of the size of the points
    X, mean = X - left, mean + left
    _, axes = np.linalg.eigh((X.T * p) @ X)
    X = np.ascontiguousarray(X @ axes[:, ::-1])
    if isinstance(space, PointCloud):
        effect, kappa = np.einsum("ij,ij->i", X, X), -2.0
    else:
        effect, kappa = X @ (axes[:, ::-1].T @ mean) + mean @ mean / 2, 1.0
    total = float(p @ effect)
    return Form(X, effect - total, total, kappa, p)
