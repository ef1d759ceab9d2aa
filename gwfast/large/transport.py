"""Linear transport between large sets of points for the squared distance, without a matrix of costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gwfast.budget import UNLIMITED, Budget
from gwfast.errors import InputError
from gwfast.kernels.assignment import assign
from gwfast.large.auction import auction
from gwfast.large.prices import Prices, block_means, c_transform, dual_value, local_scale
from gwfast.transport import solve_linear

__all__ = ["Prices", "Transported", "c_transform", "coarse_prices", "local_scale", "transport"]

DENSE = 300 * 300  # pairs up to which the matrix of costs is formed
COARSE = 1024  # points from which prices start from those of block means
BLOCK = 8  # points of a block
COLD, WARM = 1.0, 0.2  # first eps in local scales, from prices of block means and of an earlier call
COARSE_ACCURACY = 1e-2
ROUNDING = 2.0**-42  # least eps over the size of costs and prices, so that every bid moves a price


@dataclass(frozen=True, eq=False)
class Transported:
    """A plan between two sets of points, and prices.

    Attributes
    ----------
    rows, cols, mass : arrays (N,)
        Atoms of the plan.
    prices : Prices
    value : float
        Sum of mass |u - v|^2 / 2.
    dual : float
        Proved lower bound of the least value; -inf where it was not asked for.
    finished : bool
        Whether the accuracy was reached.  The plan is a coupling in any case.
    """

    rows: np.ndarray
    cols: np.ndarray
    mass: np.ndarray
    prices: Prices
    value: float
    dual: float
    finished: bool


@dataclass(frozen=True, eq=False)
class _Pair:
    """Both sets of points about a common centre, divided by a power of two, with weights; None for equal ones."""

    U: np.ndarray
    V: np.ndarray
    p: np.ndarray | None
    q: np.ndarray | None
    centre: np.ndarray
    exponent: int

    @property
    def T(self) -> _Pair:
        return _Pair(self.V, self.U, self.q, self.p, self.centre, self.exponent)

    @property
    def permutes(self) -> bool:
        return self.p is None and self.q is None and len(self.U) == len(self.V)

    @property
    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        return tuple(np.full(len(z), 1 / len(z)) if w is None else w for z, w in ((self.U, self.p), (self.V, self.q)))


@dataclass(frozen=True, eq=False)
class _Found:
    """Atoms, prices of the second points, targets and whether the accuracy was reached, in the units of a pair."""

    rows: np.ndarray
    cols: np.ndarray
    mass: np.ndarray
    w: np.ndarray
    target: np.ndarray
    finished: bool


def transport(
    U: np.ndarray,
    V: np.ndarray,
    p: np.ndarray | None = None,
    q: np.ndarray | None = None,
    *,
    accuracy: float,
    warm: Prices | None = None,
    budget: Budget = UNLIMITED,
    certify: bool = False,
) -> Transported:
    r"""Minimise :math:`\sum_{ik} T_{ik} |u_i - v_k|^2 / 2` over couplings T of p and q.

    An auction (Bertsekas 1988) that finds the cheapest objects in a kd tree, from the prices of block means.

    Parameters
    ----------
    U, V : arrays (n, d), (m, d)
    p, q : arrays (n,), (m,), optional
        Weights; uniform by default.
    accuracy : float
        The value exceeds the least one by at most this times `local_scale` of V, where finished.
    warm : Prices, optional
        Of an earlier call with points not far from these.
    budget : Budget
    certify : bool
        Whether to compute `dual`.

    Returns
    -------
    Transported
        O(n log n) time for points of low dimension, O(n d) memory.

    Raises
    ------
    InputError
    """
    pair = _pair(U, V, p, q)
    if not accuracy > 0:
        raise InputError(f"accuracy: found {accuracy}, expected a positive number; 1e-2 is a good start")
    n, m = len(pair.U), len(pair.V)
    if n * m <= DENSE or min(n, m) == 1:
        found = _dense(pair)
    else:
        found = _auctioned(pair, accuracy, _scaled(warm, pair), budget)
    gaps = pair.U[found.rows] - pair.V[found.cols]
    value = 0.5 * float(found.mass @ np.einsum("ij,ij->i", gaps, gaps))
    dual = -math.inf
    if certify:
        dual = dual_value(pair.U, pair.V, *pair.weights, found.w, found.target)
        dual = math.nextafter(math.ldexp(dual, 2 * pair.exponent), -math.inf)
    prices = Prices(np.ldexp(found.w, 2 * pair.exponent), np.ldexp(found.target + pair.centre, pair.exponent))
    value = math.ldexp(value, 2 * pair.exponent)
    return Transported(found.rows, found.cols, found.mass, prices, value, dual, found.finished)


def coarse_prices(
    U: np.ndarray,
    V: np.ndarray,
    p: np.ndarray | None = None,
    q: np.ndarray | None = None,
    blocks: int | None = None,
    budget: Budget = UNLIMITED,
) -> Prices:
    """Prices of V from the transport between block means, carried to all points by two c-transforms."""
    blocks = max(1, min(len(U), len(V)) // BLOCK) if blocks is None else blocks
    A, B = block_means(U, p, blocks), block_means(V, q, blocks)
    coarse = transport(A, B, accuracy=COARSE_ACCURACY, budget=budget)
    f, _ = c_transform(A, B, coarse.prices.w, coarse.prices.target)
    target = np.empty_like(A)
    target[coarse.rows] = B[coarse.cols]
    values, nearest = c_transform(V, A, -f, target)
    return Prices(-values, A[nearest])


def _pair(U: np.ndarray, V: np.ndarray, p: np.ndarray | None, q: np.ndarray | None) -> _Pair:
    U, V = np.asarray(U, np.float64), np.asarray(V, np.float64)
    for name, z in (("U", U), ("V", V)):
        if z.ndim != 2 or 0 in z.shape or not np.isfinite(z).all():
            raise InputError(f"{name}: found shape {z.shape}, expected finite points (n, d), n and d at least 1")
    if U.shape[1] != V.shape[1]:
        raise InputError(f"V: found points of dimension {V.shape[1]}, expected {U.shape[1]} as in U")
    exponent = math.frexp(max(np.abs(U).max(), np.abs(V).max()))[1]
    U, V = np.ldexp(U, -exponent), np.ldexp(V, -exponent)
    centre = (U.mean(axis=0) + V.mean(axis=0)) / 2
    return _Pair(U - centre, V - centre, _weights(p, len(U), "p"), _weights(q, len(V), "q"), centre, exponent)


def _weights(p: np.ndarray | None, n: int, name: str) -> np.ndarray | None:
    if p is None:
        return None
    p = np.asarray(p, np.float64)
    if p.shape != (n,) or not (p >= 0).all() or not abs(p.sum() - 1) < 1e-9:
        raise InputError(f"{name}: expected {n} weights, none negative, of sum 1; found shape {p.shape}, {p.sum()}")
    return None if (p == p[0]).all() else p


def _scaled(warm: Prices | None, pair: _Pair) -> Prices | None:
    """Prices in the units of a pair; None where they are no use."""
    if warm is None:
        return None
    w = np.ldexp(warm.w, -2 * pair.exponent)
    if w.shape != (len(pair.V),):
        raise InputError(f"warm: found prices of shape {w.shape}, expected ({len(pair.V)},) for the points V")
    if not np.ptp(w) <= 100 * pair.V.shape[1]:  # not a number, or far from any optimal prices
        return None
    w = w - w.min()
    if warm.target is None:
        return Prices(w)
    target = np.ldexp(warm.target, -pair.exponent) - pair.centre
    usable = target.shape == pair.V.shape and np.abs(target).max() <= 100
    return Prices(w, target if usable else None)


def _dense(pair: _Pair) -> _Found:
    """Solve a small problem on its matrix of costs."""
    U, V = pair.U, pair.V
    n, m = len(U), len(V)
    gaps = U[:, None, :] - V[None, :, :]
    M = 0.5 * np.einsum("ijk,ijk->ij", gaps, gaps)
    if pair.permutes:
        v, row_of, col_of = np.zeros(n), np.empty(n, np.int64), np.empty(n, np.int64)
        work = np.empty(n), np.empty(n, np.int64), np.empty(n, np.bool_), np.empty(n, np.int64)
        assign(M, v, row_of, col_of, *work)
        return _Found(np.arange(n), col_of, np.full(n, 1 / n), -v, U[row_of], True)
    solution = solve_linear(M, *pair.weights)
    target = np.zeros_like(V)
    target[solution.cols] = U[solution.rows]
    return _Found(solution.rows, solution.cols, solution.mass, -solution.duals[1], target, True)


def _auctioned(pair: _Pair, accuracy: float, warm: Prices | None, budget: Budget) -> _Found:
    """Solve by auction."""
    U, V = pair.U, pair.V
    n, m = len(U), len(V)
    local = local_scale(V)
    if warm is not None:
        first = WARM
    elif min(n, m) > COARSE:
        warm, first = coarse_prices(U, V, pair.p, pair.q, budget=budget), COLD
    else:
        warm, first = Prices(np.zeros(m)), max(1.0, 0.1 * math.sqrt(max(n, m)))
    size = 2 * float(np.abs(U).max() + np.abs(V).max()) ** 2 * V.shape[1] + float(np.ptp(warm.w))
    last = max(accuracy * local, ROUNDING * size)
    supply, demand = np.ones(n, np.int64), np.ones(m, np.int64)
    sold = auction(U, V, supply, demand, warm.w, warm.target, first * local, last, budget)
    col_of = np.full(n, -1)
    col_of[sold.rows] = sold.cols
    left = np.setdiff1d(np.arange(m), sold.cols)
    col_of[np.flatnonzero(col_of < 0)] = left
    row_of = np.empty(n, np.int64)
    row_of[col_of] = np.arange(n)
    return _Found(np.arange(n), col_of, np.full(n, 1 / n), sold.w, U[row_of], sold.finished)
