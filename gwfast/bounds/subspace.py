"""Few eigenvalues of both costs, found along a subspace, with what it leaves: for spaces too large for all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gwfast.arrays import from_numpy, item, to_numpy
from gwfast.arrays.precision import EPS
from gwfast.bounds.feature_term import cheapest_partner
from gwfast.bounds.rounding import proved
from gwfast.bounds.sorting import main_effects
from gwfast.method import Domain, Found, Method, Need, one_pass
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound
from gwfast.spaces.on_demand import Rows
from gwfast.spaces.pair_sums import whole_rows
from gwfast.spaces.points_value import takes_points
from gwfast.spaces.space import Space

SUBSPACE = "subspace-eigenvalues"

_LANDMARKS, _RANK = 256, 16
_SOME = 64  # rows that are held in double precision
_ENTRY = 2e-8  # seconds an entry of a pass, on a slow machine


@dataclass(frozen=True, eq=False)
class Ritz:
    """Part of the spectrum of a doubly centred cost A, in L2(p x p).

    A is within `apart` of a matrix that has the eigenvalues `values` and others whose squares sum to `rest` squared.

    Attributes
    ----------
    values : array (r,)
    apart : float
    rest, rest_error : float
        The latter bounds the error of the former.
    """

    values: np.ndarray
    apart: float
    rest: float
    rest_error: float

    def known(self, sign: int) -> np.ndarray:
        """Sizes of the eigenvalues of a sign that no unknown one exceeds, falling."""
        found = np.sort(sign * self.values)[::-1]
        return found[found >= max(self.rest + self.rest_error, 1e-300)]


def ritz(space: Space) -> Ritz:
    """Rayleigh-Ritz values along 16 vectors from 256 columns; one product of the cost with them, O(16 n) memory."""
    p, moments = to_numpy(space.weights), space.moments
    mean, total = to_numpy(moments.mean), item(moments.total)
    root = np.sqrt(p)
    size = item(moments.second) ** 0.5
    V = _basis(space, p, mean, total, size if size > 0 else 1.0)
    image = to_numpy(space.times(from_numpy(root[:, None] * V, space.like)))
    scaled = root[:, None] * V
    W = root[:, None] * (image - mean[:, None] * scaled.sum(axis=0) - mean @ scaled + total * scaled.sum(axis=0))
    inner = V.T @ W
    values, turn = np.linalg.eigh((inner + inner.T) / 2)
    left = float(np.linalg.norm(W @ turn - (V @ turn) * values))
    # products, the basis and the small eigenproblem are right to a multiple of n roundings of the cost's size
    slack = 32 * (len(p) + 64) * EPS * math.sqrt(len(values)) * size
    effects = 3 * item(moments.error)
    centred = size**2 - 2 * float(p @ (mean - total) ** 2) - total**2  # the parts of a cost are orthogonal
    square = centred - 2 * left**2 - float(values @ values)
    off = 8 * size * (effects + slack) + 4 * slack**2
    rest = math.sqrt(max(square, 0.0))
    error = math.sqrt(off) if rest == 0 else min(math.sqrt(off), off / rest)
    return Ritz(values, math.sqrt(2) * left + 4 * slack + effects, rest, error)


def _basis(space: Space, p: np.ndarray, mean: np.ndarray, total: float, size: float) -> np.ndarray:
    """Orthonormal columns (n, r) near the leading eigenvectors, from those between landmarks; any would do."""
    n = space.n
    points = np.sort(np.random.default_rng(0).choice(n, min(_LANDMARKS, np.count_nonzero(p)), p=p, replace=False))
    rows = np.empty((len(points), n), np.float32)
    for start in range(0, len(points), _SOME):  # of the size of 1, so that single precision holds them
        part = points[start : start + _SOME]
        rows[start : start + _SOME] = (whole_rows(space, part) - mean[part][:, None] - mean + total) / size
    among = rows[:, points].astype(np.float64)
    sizes, axes = np.linalg.eigh((among + among.T) / 2)
    kept = np.argsort(-np.abs(sizes))[: min(_RANK, len(points))]
    kept = kept[np.abs(sizes[kept]) > 1e-9 * max(np.abs(sizes).max(), 1e-300)]
    if len(kept) == 0:
        return np.linalg.qr(np.sqrt(p)[:, None])[0]
    return np.linalg.qr(np.sqrt(p)[:, None] * (rows.T @ (axes[:, kept] / sizes[kept])))[0]


def spectral_distance(first: Ritz, second: Ritz) -> float:
    """Lower bound of E (A - B)^2 over all couplings, from what is known of both spectra."""
    sides = [(first.known(sign), second.known(sign)) for sign in (1, -1)]
    best = 0.0
    for up in range(min(map(len, sides[0])) + 1):
        for down in range(min(map(len, sides[1])) + 1):
            paired, rest, other = 0.0, _left(first, up, down), _left(second, up, down)
            for (a, b), count in zip(sides, (up, down)):
                paired += float(((a[:count] - b[:count]) ** 2).sum())
            apart = max(abs(rest - other) - first.rest_error - second.rest_error, 0.0)
            best = max(best, paired + apart**2)
    return max(math.sqrt(best) * (1 - 64 * EPS) - first.apart - second.apart, 0.0) ** 2


def _left(side: Ritz, up: int, down: int) -> float:
    """Norm of the spectrum without the largest eigenvalues, `up` positive and `down` negative ones."""
    values = np.sort(side.values)
    kept = values[down : len(values) - up]
    return math.sqrt(side.rest**2 + float(kept @ kept))


def subspace_bound(problem: Problem) -> Bound:
    r"""Lower bound from the leading eigenvalues of the doubly centred costs.

    .. math:: GW_2^2 \ge (t - t')^2 + 2 W_2^2(a, a')
              + \Big( \sqrt{\sum_i (\theta_i - \theta'_i)^2 + (\rho - \rho')^2} - e - e' \Big)_+^2

    with totals t, main effects a, Ritz values theta paired by sign and size, norms rho of what they leave and distances
    e of the costs from matrices with these spectra.  Symmetric costs, any weights; one pass over both costs.
    """
    spectral = spectral_distance(ritz(problem.x), ritz(problem.y))
    structure = main_effects(problem) + (spectral if math.isfinite(spectral) else 0.0)
    return proved(problem, structure, SUBSPACE, cheapest_partner(problem))


def _suits(problem: Problem) -> bool:
    return max(problem.shape) >= POLICY.subspace_points and not takes_points(problem.x, problem.y)


def _need(problem: Problem) -> Need:
    seconds = 0.0
    for space in (problem.x, problem.y):
        seconds += space.n * space.row_seconds if isinstance(space, Rows) else _ENTRY * space.n**2
    return Need(seconds)


METHOD = Method(
    "subspace",
    "spectral",
    (SUBSPACE,),
    one_pass(lambda problem: Found((subspace_bound(problem),))),
    domain=Domain(symmetric=True, features=True),
    suits=_suits,
    need=_need,
    once=True,
    lean=True,
)
