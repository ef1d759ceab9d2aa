"""What an alignment of two slices is handed back as, and its rigid motion.  Data, numpy and no AnnData."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gwfast.plan import Plan
from gwfast.result import Certificate


@dataclass(frozen=True, eq=False)
class Motion:
    """The rigid motion x -> x R' + t, mirrored or not, that is nearest to a matching.

    Attributes
    ----------
    rotation : array (d, d)
    shift : array (d,)
    mirrored : bool
        Whether the rotation turns the slice over.
    """

    rotation: np.ndarray
    shift: np.ndarray
    mirrored: bool

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """Places (n, d) of the first slice in the frame of the second."""
        return places @ self.rotation.T + self.shift


@dataclass(frozen=True)
class Tried:
    """One alpha of a sweep: both terms of the plan between some spots, each 1 where nothing is matched."""

    alpha: float
    features: float
    structure: float


@dataclass(frozen=True, eq=False)
class Alignment:
    """A matching of the spots of two slices, with its proved interval.

    Attributes
    ----------
    plan : Plan
        Masses between spots, with their names: `plan.to_frame(long=True)` is a table.
    value : float
        Objective of the plan, in the unit of the slices (see `factor`).
    certificate : Certificate
        The interval that holds the least objective of all plans that are allowed.
    alpha : float
        Share of the places.
    overlap : float
        Mass that the plan carries; 1 for a balanced one.
    factor : float
        Places were multiplied by it, so that the structure term is 1 at the plan that joins every spot to every spot.
    matches : integer array (n,)
        The spot of the second slice that gets most of the mass of each spot; -1 where none is carried.
    images : array (n, d)
        Mean places of the partners, in the frame and unit of the second slice; NaN where none is carried.
    residuals : array (n,)
        Distances of the images from the places after `motion`, in the unit of the places.
    motion : Motion
        The rigid motion nearest to the matching.
    sweep : tuple of Tried
        What `alpha="sweep"` tried.
    seconds : float
    """

    plan: Plan
    value: float
    certificate: Certificate
    alpha: float
    overlap: float
    factor: float
    matches: np.ndarray
    images: np.ndarray
    residuals: np.ndarray
    motion: Motion
    seconds: float
    sweep: tuple[Tried, ...] = field(default=(), repr=False)

    @property
    def lower(self) -> float:
        """Proved: no allowed plan has a smaller objective."""
        return float(self.certificate.lower)

    @property
    def upper(self) -> float:
        """Proved: `value` plus its rounding margin."""
        return float(self.certificate.upper)

    @property
    def gap(self) -> float:
        """(upper - lower) / upper."""
        return self.certificate.gap

    def to_frame(self, *, long: bool = True) -> Any:
        """The plan as a pandas DataFrame of the names of the spots; `long` has one row for each atom."""
        return self.plan.to_frame(long=long)

    def __str__(self) -> str:
        n, m = self.plan.shape
        held = self.matches >= 0
        middle = float(np.median(self.residuals[held])) if held.any() else float("nan")
        mirror = ", mirrored" if self.motion.mirrored else ""
        return "\n".join(
            (
                f"gwfast alignment   {n} x {m} spots, alpha = {self.alpha:g}, overlap = {self.overlap:g}",
                f"  value        {self.value:.6g}   objective of the plan, in the unit of the slices",
                str(self.certificate),
                f"  matched      {int(held.sum())} of {n} spots",
                f"  residual     {middle:.4g}   median distance from a rigid motion{mirror}, in units of the places",
                f"  time         {self.seconds:.3g} s",
            )
        )


def partners(plan: Plan, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The heaviest partner (n,) of each first spot, -1 without one; the mean place of its partners; and its mass."""
    n = plan.shape[0]
    i, k, w = plan.atoms()
    order = np.lexsort((-k, w))  # of equal masses the first spot is named last, and stays
    matches = np.full(n, -1)
    matches[i[order]] = k[order]
    mass = np.bincount(i, w, n)
    matches[mass <= 0] = -1
    sums = np.stack([np.bincount(i, w * places[k, j], n) for j in range(places.shape[1])], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        images = np.where(mass[:, None] > 0, sums / mass[:, None], np.nan)
    return matches, images, mass


def rigid(places: np.ndarray, images: np.ndarray, mass: np.ndarray) -> Motion:
    """The rigid motion with the least mean squared distance from the images, where there are some."""
    held = mass > 0
    x, y, w = places[held], images[held], mass[held] / mass[held].sum()
    middle, target = w @ x, w @ y
    u, _, vt = np.linalg.svd((y - target).T @ (w[:, None] * (x - middle)))
    rotation = u @ vt
    return Motion(rotation, target - rotation @ middle, bool(np.linalg.det(rotation) < 0))
