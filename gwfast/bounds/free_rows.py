"""Rows bounds where a marginal is free: each pair of points with its cheapest company, then the cheapest pairs."""

from __future__ import annotations

import numpy as np

from gwfast.arrays import item
from gwfast.arrays.precision import EPS, TINY
from gwfast.marginals import Partial
from gwfast.method import Domain, Found, Method, Need, one_pass
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound

SIGN = "sign"
SEMI_RELAXED_ROWS = "semi-relaxed-rows"
PARTIAL_ROWS = "partial-rows"
PARTIAL_PAIRS = "partial-pairs"
_PROGRAM = 2_000_000  # entries of a feature cost whose linear program takes seconds


def lowered(problem: Problem, total: float, size: float, theorem: str) -> Bound:
    """A lower bound of a computed one, whose terms have the absolute sum `size`."""
    n, m = problem.shape
    doubt = problem.x.doubt + problem.y.doubt  # of matrices: a bound of every entry
    margin = 8 * (n + m + 32) * EPS * size + doubt * (2 * abs(size) ** 0.5 + doubt) + problem.doubt
    margin = (margin + (TINY if size > 0 else 0.0)) * (1 + 1e-9)
    value = total - margin
    return Bound("lower", max(value, 0.0) if problem.M is None else value, theorem, margin)


def nearest(values: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Squared distance of numbers of any shape from the nearest entry of a row; O(log m) each."""
    row = np.sort(row)
    place = np.searchsorted(row, values)
    below, above = row[np.maximum(place - 1, 0)], row[np.minimum(place, len(row) - 1)]
    gap = np.minimum(np.abs(values - below), np.abs(values - above))
    return gap * gap


def sign(problem: Problem) -> Found:
    """Zero, as squares have no other sign, and the least <M, T>; one linear program where there are features.

    Between many points the mass of partial plans is carried out of rows, or into columns, alone; O(nm).
    """
    if problem.M is None:
        return Found((Bound("lower", 0.0, SIGN),))
    host = problem.hosted()
    M, share = np.ascontiguousarray(host.M), 1 - item(host.alpha)
    if isinstance(host.marginals, Partial) and M.size > _PROGRAM:
        low, sides = float(M.min()), ((M.min(axis=1), host.p), (M.min(axis=0), host.q))
        mass = host.marginals.mass
        least = low * mass + max(float(cheapest(costs - low, own, mass)) for costs, own in sides)
    else:
        least = host.marginals.minimum(M, host.p, host.q).lower
    return Found((lowered(problem, share * least, share * float(np.abs(host.M).max()), SIGN),))


def semi_relaxed_rows(problem: Problem) -> Found:
    """The sum over i of p_i min_k D_ik, where D_ik sums over j the p_j min_l (C1_ij - C2_kl)^2; O(n^2 m log m)."""
    host = problem.hosted()
    alpha, p, (n, m) = item(host.alpha), host.p, host.shape
    best, best_size = -np.inf, 0.0
    for x, y in ((host.x, host.y),) if host.symmetric else ((host.x, host.y), (host.x.T, host.y.T)):
        A, B = x.dense(), y.dense()
        cost = alpha * np.stack([nearest(A, B[k]) @ p for k in range(m)], axis=1)
        size = cost
        if host.M is not None:
            cost, size = cost + (1 - alpha) * host.M, size + (1 - alpha) * np.abs(host.M)
        chosen = cost.argmin(axis=1)
        total = float(p @ cost[np.arange(n), chosen])
        if total > best:
            best, best_size = total, float(p @ size[np.arange(n), chosen])
    return Found((lowered(problem, best, best_size, SEMI_RELAXED_ROWS),))


def cheapest(costs: np.ndarray, weights: np.ndarray, mass: float) -> np.ndarray:
    """Least cost of carrying `mass` out of points of these weights (n,); costs (..., n) >= 0."""
    order = np.argsort(costs, axis=-1)
    sorted_costs, sorted_weights = np.take_along_axis(costs, order, axis=-1), weights[order]
    before = np.cumsum(sorted_weights, axis=-1) - sorted_weights
    return (sorted_costs * np.clip(np.minimum(sorted_weights, mass - before), 0.0, None)).sum(axis=-1)


def partial_rows(problem: Problem) -> Found:
    """Partial transport with the cost D_ik: the cheapest way to carry the mass out of row i, or into row k, alone.

    O(n m (n + m) log(nm)) and a linear program.
    """
    host = problem.hosted()
    marginals = host.marginals
    assert isinstance(marginals, Partial)
    alpha, p, q, (n, m) = item(host.alpha), host.p, host.q, host.shape
    mass = marginals.mass * (1 - 4 * (n + m) * EPS)
    best, best_size = -np.inf, 0.0
    for x, y in ((host.x, host.y),) if host.symmetric else ((host.x, host.y), (host.x.T, host.y.T)):
        A, B = x.dense(), y.dense()
        cost = np.stack([cheapest(nearest(A, B[k]), p, mass) for k in range(m)], axis=1)
        other = np.stack([cheapest(nearest(B, A[i]), q, mass) for i in range(n)], axis=0)
        cost = alpha * np.maximum(cost, other)
        # a cumulative sum of weights is off by a share of 1, so that the cheapest mass is off by that of the dearest
        lost = alpha * (n + m + 8) * EPS * max(float(np.abs(A).max()), float(np.abs(B).max())) ** 2 * 4
        if host.M is not None:
            cost = cost + (1 - alpha) * host.M
        found = marginals.minimum(cost, p, q)
        total = found.lower - lost
        if total > best:
            best, best_size = total, marginals.mass * float(np.abs(cost).max())
    return Found((lowered(problem, best, best_size, PARTIAL_ROWS),))


def partial_pairs(problem: Problem) -> Found:
    """Partial transport with the cost D_ik: the partial transport of row i and row k; nm + 1 linear programs."""
    host = problem.hosted()
    marginals, alpha, p, q, (n, m) = host.marginals, item(host.alpha), host.p, host.q, host.shape
    best, best_size = -np.inf, 0.0
    for x, y in ((host.x, host.y),) if host.symmetric else ((host.x, host.y), (host.x.T, host.y.T)):
        A, B = x.dense(), y.dense()
        cost = np.zeros((n, m))
        for i, k in np.ndindex(n, m):
            cost[i, k] = alpha * max(marginals.minimum((A[i][:, None] - B[k]) ** 2, p, q).lower, 0.0)
        if host.M is not None:
            cost = cost + (1 - alpha) * host.M
        total = marginals.minimum(cost, p, q).lower
        if total > best:
            best, best_size = total, marginals.mass * float(np.abs(cost).max())
    return Found((lowered(problem, best, best_size, PARTIAL_PAIRS),))


def _need_pairs(problem: Problem) -> Need:
    pairs = problem.shape[0] * problem.shape[1]
    return Need(pairs * (3e-4 + 1e-6 * pairs) * (1 if problem.symmetric else 2), 40.0 * pairs)


def _need(problem: Problem) -> Need:
    n, m = problem.shape
    return Need(4e-7 * n * m * (n + m), 40.0 * max(n, m) ** 2)


BY_SIGN = Method(
    "sign", "sort", (SIGN,), one_pass(sign), domain=Domain(marginals=("semi_relaxed", "partial")), once=True
)
SEMI_RELAXED = Method(
    "semi-relaxed rows",
    "rows",
    (SEMI_RELAXED_ROWS,),
    one_pass(semi_relaxed_rows),
    domain=Domain(marginals=("semi_relaxed",)),
    need=_need,
    once=True,
)
PARTIAL = Method(
    "partial rows",
    "rows",
    (PARTIAL_ROWS,),
    one_pass(partial_rows),
    domain=Domain(marginals=("partial",)),
    need=_need,
    once=True,
)
PAIRS = Method(
    "partial pairs",
    "dual",
    (PARTIAL_PAIRS,),
    one_pass(partial_pairs),
    domain=Domain(marginals=("partial",)),
    suits=lambda problem: problem.shape[0] * problem.shape[1] <= POLICY.pair_programs,
    need=_need_pairs,
    once=True,
)
