"""How far the costs of a computed form are from those of its space, and what rounding leaves of its centring."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gwfast.arrays import item, namespace
from gwfast.arrays.precision import EPS, TINY
from gwfast.spaces.form import Form, form_of
from gwfast.spaces.gram import Gram
from gwfast.spaces.point_cloud import PointCloud
from gwfast.spaces.space import Space

_ROTATED = 16  # errors of orthogonality and of backward stability, over d u, that eigenvectors may have


@dataclass(frozen=True, eq=False)
class Doubt:
    r"""Errors of a `Form` whose numbers are read as exact.

    With the residues r = E x and s = E effect, the exactly centred form of effects ``effect - s``, mean ``mean + s``
    and points x - r has costs within `cost` of those of the space.

    Attributes
    ----------
    cost : float
        Bound of that distance in L2(p x p).
    effect : float
        Bound of \|s\|.
    moment : float
        Bound, in the Frobenius norm, of the error of the computed second moments of x - r.
    """

    cost: float
    effect: float
    moment: float


def narrow(space: Space) -> bool:
    """Whether a form costs no more than the row statistics of the space: few coordinates, or dense ones."""
    if isinstance(space, PointCloud):
        return space.metric == "sqeuclidean" and space.points.shape[1] <= max(space.n, 16)
    return isinstance(space, Gram) and space.factor.shape[0] <= (64 if space.is_sparse else max(space.n, 16))


def doubted_form(space: Space) -> tuple[Form, Doubt] | None:
    """Return the form of a weighted space and its errors; None for other spaces, and for very many coordinates.

    O(n d^2) time, d at most n.
    """
    form = form_of(space) if narrow(space) else None
    return None if form is None else (form, doubt_of(space, form))


def doubt_of(space: Space, form: Form) -> Doubt:
    """The errors of the form of a space; O(n d)."""
    n, d = form.X.shape
    p, X = form.p, form.X
    tiny = TINY if space.extent > 0 else 0.0
    sums = 2 * (n + 8) * EPS
    norms = np.einsum("ij,ij->i", X, X)
    spread, fourth = float(p @ norms), math.sqrt(float(p @ norms**2))
    # x is what rounding leaves of a rotation of the points z about a centre c, which is their mean but for its own
    # rounding: |x_i - Q'(z_i - c)| <= turned |x_i| + lost
    turned = 4 * (d**1.5 + 8) * EPS + _ROTATED * (d + 4) * EPS
    size = math.sqrt(_square(space)) * (1 + sums)
    root, lost = math.sqrt(spread), EPS * sums * size
    left = float(np.linalg.norm(p @ X)) + sums * root
    # C' less the costs of x about that centre: -kappa r.(x_i + x_j) + kappa |r|^2
    residue = abs(form.kappa) * left * (2 * root + left)
    if isinstance(space, PointCloud):
        # | |x_i - x_j|^2 - |z_i - z_j|^2 | <= 3 turned (|x_i| + |x_j|)^2 and what is lost, and the rounding of effects
        rounded = 12 * turned * fourth + 8 * lost * (root + lost) + 2 * (d + 8) * EPS * (fourth + form.mean)
    else:  # a centre of inner products is no longer than the root mean square of the points
        rounded = (3 * turned * root + 4 * lost) * (root + 2 * size) + 2 * (d + 8) * EPS * size * (size + root)
    effect = abs(float(p @ form.effect)) + sums * float(p @ np.abs(form.effect)) + tiny
    moment = sums * spread + left * left + _ROTATED * (d + 4) * EPS * spread + tiny
    return Doubt((rounded + residue) * (1 + sums) + tiny, effect, moment)


def _square(space: Space) -> float:
    """E |z|^2 of the points of a space, about the origin."""
    xp, p = namespace(space.weights), space.weights
    if isinstance(space, PointCloud):
        return item(xp.sum(p * xp.sum(space.points**2, axis=1)))
    return item(xp.sum(space.diagonal() * p))
