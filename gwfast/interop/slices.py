"""Two slices with places and features, in one unit, as spaces; random parts of them, and clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from gwfast.features import FeatureCost
from gwfast.marginals import Marginals
from gwfast.problem import Problem
from gwfast.spaces.point_cloud import PointCloud


@dataclass(frozen=True, eq=False)
class Slice:
    """Spots with places (n, d), features (n, f) and masses (n,)."""

    place: np.ndarray
    features: np.ndarray | None
    mass: np.ndarray

    @property
    def n(self) -> int:
        """Number of spots."""
        return len(self.place)

    def part(self, index: np.ndarray) -> Slice:
        """Some of the spots, of equal masses."""
        own = None if self.features is None else self.features[index]
        return Slice(self.place[index], own, np.full(len(index), 1 / len(index)))

    def clusters(self, count: int, rng: np.random.Generator) -> Slice:
        """Means of the spots around `count` of them, with their masses."""
        if count >= self.n:
            return self
        centres = self.place[np.sort(rng.choice(self.n, count, replace=False))]
        label = KDTree(centres).query(self.place)[1]
        mass = np.bincount(label, self.mass, count)
        held = np.flatnonzero(mass > 0)

        def mean(x: np.ndarray) -> np.ndarray:
            sums = [np.bincount(label, self.mass * x[:, j], count)[held] / mass[held] for j in range(x.shape[1])]
            return np.stack(sums, axis=1)

        own = None if self.features is None else mean(self.features)
        return Slice(mean(self.place), own, mass[held] / mass[held].sum())


def in_one_unit(a: Slice, b: Slice) -> tuple[Slice, Slice, float]:
    """Both slices about their centres, and the factor of their places.

    Both terms of the objective are 1 at the plan that joins every spot to every spot.
    """
    moments = []
    for side in (a, b):
        x = side.place - side.mass @ side.place
        s = (x * x).sum(axis=1)
        spread = x.T @ (side.mass[:, None] * x)
        mean = float(side.mass @ s)  # half that of the squared distances
        moments.append((2 * mean, 2 * float(side.mass @ s**2) + 2 * mean**2 + 4 * float((spread * spread).sum())))
    structure = moments[0][1] + moments[1][1] - 2 * moments[0][0] * moments[1][0]
    factor = structure**-0.25 if structure > 0 else 1.0
    scaled: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    if a.features is not None and b.features is not None:
        middle = (a.mass @ a.features + b.mass @ b.features) / 2
        centred = a.features - middle, b.features - middle
        total = sum(float(s.mass @ (f * f).sum(axis=1)) for s, f in zip((a, b), centred))
        total -= 2 * float((a.mass @ centred[0]) @ (b.mass @ centred[1]))
        root = total**0.5 if total > 0 else 1.0
        scaled = centred[0] / root, centred[1] / root
    moved = [(s.place - s.mass @ s.place) * factor for s in (a, b)]
    return Slice(moved[0], scaled[0], a.mass), Slice(moved[1], scaled[1], b.mass), factor


def problem_of(a: Slice, b: Slice, alpha: float, marginals: Marginals | None = None) -> Problem:
    """The fused problem of squared distances of places and of features."""
    x, y = (PointCloud(s.place, "sqeuclidean", weights=s.mass) for s in (a, b))
    if a.features is None or b.features is None:
        return Problem.of(x, y, marginals=marginals)
    return Problem.of(x, y, M=FeatureCost(a.features, b.features), alpha=alpha, marginals=marginals)
