"""Linear transport between large sets of points for the squared distance, without a matrix of costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gwfast.budget import UNLIMITED, Budget
from gwfast.errors import InputError
from gwfast.kernels.assignment import assign
from gwfast.kernels.auction.cycles import cancel_cycles
from gwfast.large.auction import Sold, auction
from gwfast.large.duplicates import groups_of, split_rows
from gwfast.large.prices import Prices, block_means, c_transform, dual_value, local_scale
from gwfast.transport import clean_atoms, solve_linear

__all__ = ["Prices", "Transported", "c_transform", "coarse_prices", "local_scale", "transport"]

DENSE = 300 * 300  # pairs up to which the matrix of costs is formed
RESCUED = 1000 * 1000  # pairs up to which an auction that meets a price war is given up for the matrix
COARSE = 1024  # points from which prices start from those of block means
BLOCK = 8  # points of a block
COLD, WARM = 4.0, 0.05  # first eps in local scales, from prices of block means and of an earlier call
SPREAD = 0.05  # first eps in squared spreads of all points, from no prices
WIDE = 0.05  # eps in local scales above which bidders keep few candidates
COARSE_ACCURACY = 1e-2
UNITS = 2**50  # integer masses in all
ROUNDING = 2.0**-34  # least eps over the size of costs and prices, so that every bid moves a price


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
        n, m = len(self.U), len(self.V)
        p = np.full(n, 1 / n) if self.p is None else self.p
        return p, np.full(m, 1 / m) if self.q is None else self.q


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
        The value exceeds the least one by at most this times `local_scale` of V, where finished; 2^-34 of the largest
        cost is the least that is reached.
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
    warm = _scaled(warm, pair)
    if n * m <= DENSE or min(n, m) == 1:
        found = _dense(pair)
    else:
        found = _auctioned(pair, accuracy, warm, budget)
    # of the points as they are: what is close must not lose digits to the centre
    gaps = np.ldexp(U, -pair.exponent)[found.rows] - np.ldexp(V, -pair.exponent)[found.cols]
    value = 0.5 * float(found.mass @ np.einsum("ij,ij->i", gaps, gaps))
    dual, finished = -math.inf, found.finished
    if certify or not (finished or budget.expired):
        dual = dual_value(pair.U, pair.V, *pair.weights, found.w, found.target)
        finished = finished or value - dual <= accuracy * local_scale(pair.V)
        dual = math.nextafter(math.ldexp(dual, 2 * pair.exponent), -math.inf)
    prices = Prices(np.ldexp(found.w, 2 * pair.exponent), np.ldexp(found.target + pair.centre, pair.exponent))
    value = math.ldexp(value, 2 * pair.exponent)
    return Transported(found.rows, found.cols, found.mass, prices, value, dual, finished)


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
    n = len(U)
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
    """Solve by auction; the fewer points bid for the more."""
    last = accuracy * local_scale(pair.V)
    if len(pair.U) <= len(pair.V):
        return _sold(pair, last, warm, budget)
    if warm is not None:
        warm = Prices(*_other_side(pair, warm))
    found = _sold(pair.T, last, warm, budget)
    w, target = _other_side(pair.T, Prices(found.w, found.target))
    return _Found(found.cols, found.rows, found.mass, w, target, found.finished)


def _other_side(pair: _Pair, prices: Prices) -> tuple[np.ndarray, np.ndarray]:
    """Prices of the first points that go with those of the second, and their targets."""
    f, nearest = c_transform(pair.U, pair.V, prices.w, prices.target)
    return -f, pair.V[nearest]


def _sold(pair: _Pair, last: float, warm: Prices | None, budget: Budget) -> _Found:
    U, V = pair.U, pair.V
    n, m = len(U), len(V)
    local = local_scale(V)
    if warm is not None:
        first = WARM * local
    elif n > COARSE:
        warm, first = coarse_prices(U, V, pair.p, pair.q, budget=budget), COLD * local
    else:
        warm, first = Prices(np.zeros(m)), SPREAD * float(V.var(axis=0).sum() + U.var(axis=0).sum())
    extent = 0.5 * float((np.maximum(U.max(axis=0) - V.min(axis=0), V.max(axis=0) - U.min(axis=0)) ** 2).sum())
    last = max(last, ROUNDING * (extent + float(np.ptp(warm.w)))) or 1.0
    supply, demand = _integers(pair)
    x, y = groups_of(U), groups_of(V)
    A, B, a, b = U[x.first], V[y.first], x.total(supply), y.total(demand)
    target = None if warm.target is None else warm.target[y.first]
    sold = auction(A, B, a, b, warm.w[y.first], target, first, last, WIDE * local, extent, budget)
    if not (sold.finished or budget.expired) and n * m <= RESCUED:
        return _dense(pair)
    rows, cols, mass = _completed(A, B, a, b, sold)
    if x.count < n:
        rows, cols, mass = split_rows(rows, cols, mass, x, supply)
    if y.count < m:
        cols, rows, mass = split_rows(cols, rows, mass, y, demand)
    if pair.permutes:
        order = np.argsort(rows)
        rows, cols, mass = rows[order], cols[order], np.full(n, 1 / n)
    else:
        rows, cols, mass = _vertex(pair, rows, cols, mass)
    target = np.zeros_like(V)
    target[cols] = U[rows]
    return _Found(rows, cols, mass, _all_prices(U, V, sold.w[y.of], demand > 0, target), target, sold.finished)


def _all_prices(U: np.ndarray, V: np.ndarray, w: np.ndarray, known: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Prices of all points, where those too light for the auction have none yet: the least that nobody would pay."""
    if known.all():
        return w
    f, _ = c_transform(U, V[known], w[known], target[known])
    w = w.copy()
    w[~known] = -c_transform(V[~known], U, -f)[0]
    return w


def _integers(pair: _Pair) -> tuple[np.ndarray, np.ndarray]:
    """Integer masses of one sum in the ratio of the weights: exactly for equal weights, else to UNITS of the whole."""
    n, m = len(pair.U), len(pair.V)
    if pair.p is None and pair.q is None:
        common = math.gcd(n, m)
        return np.full(n, m // common), np.full(m, n // common)
    supply, demand = (np.rint(w * UNITS).astype(np.int64) for w in pair.weights)
    lighter, heavier = (supply, demand) if supply.sum() <= demand.sum() else (demand, supply)
    lighter[lighter.argmax()] += heavier.sum() - lighter.sum()
    return supply, demand


def _completed(
    U: np.ndarray, V: np.ndarray, supply: np.ndarray, demand: np.ndarray, sold: Sold
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The atoms that were sold, and those of the rest, matched in order along their widest axis."""
    bought = np.zeros_like(demand)
    np.add.at(bought, sold.cols, sold.mass)
    i, k = np.flatnonzero(sold.rest), np.flatnonzero(demand - bought)
    if len(i) == 0:
        return sold.rows, sold.cols, sold.mass
    axis = np.ptp(U[i], axis=0).argmax()
    i, k = i[np.argsort(U[i, axis])], k[np.argsort(V[k, axis])]
    ends_i, ends_k = np.cumsum(sold.rest[i]), np.cumsum((demand - bought)[k])
    ends = np.union1d(ends_i, ends_k)
    i, k = i[np.searchsorted(ends_i, ends)], k[np.searchsorted(ends_k, ends)]
    mass = np.concatenate([sold.mass, np.diff(ends, prepend=0)])
    return np.concatenate([sold.rows, i]), np.concatenate([sold.cols, k]), mass


def _vertex(
    pair: _Pair, rows: np.ndarray, cols: np.ndarray, mass: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atoms of a vertex that costs no more, with masses exact to the rounding of each weight."""
    n, m = len(pair.U), len(pair.V)
    gaps = pair.U[rows] - pair.V[cols]
    parent, flow = cancel_cycles(rows, cols, mass, 0.5 * np.einsum("ij,ij->i", gaps, gaps), n, m)
    child = np.flatnonzero((parent >= 0) & (flow > 0))
    other, total = parent[child], int(mass.sum())
    rows, cols = np.where(child < n, child, other), np.where(child < n, other, child) - n
    return clean_atoms(rows, cols, flow[child] / total, *pair.weights)
