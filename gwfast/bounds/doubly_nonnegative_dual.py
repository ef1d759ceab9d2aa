"""A dual of the doubly nonnegative relaxation, and its proof: Cholesky for the cone, transport for the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from gwfast.arrays.precision import EPS
from gwfast.bounds.linear import minimum
from gwfast.bounds.rlt1_dual import constant_part, processors
from gwfast.bounds.scaled import Scaled, scaled
from gwfast.bounds.stored_dual import usable
from gwfast.kernels.inner_transport import evaluate_dense_rows, improve_dense_rows
from gwfast.kernels.row_blocks import RowBlocks
from gwfast.problem import Problem
from gwfast.result import Bound
from gwfast.transport import is_uniform

CONE = "cone"


class Face:
    """Coordinates on the span of couplings: (nm, nm) arrays to and from size (n-1) (m-1) + 1.

    In scaled units every coupling is e e' plus a part orthogonal to sqrt(p) on the left and sqrt(q) on the right;
    a Householder reflection of each side puts these directions on coordinate axes.
    """

    def __init__(self, p: np.ndarray, q: np.ndarray, dtype: type):
        self.left, self.right = (_reflection(w).astype(dtype) for w in (p, q))
        n, m = len(p), len(q)
        self.index = np.concatenate([[0], np.arange(n * m).reshape(n, m)[1:, 1:].ravel()])

    def _rotate(self, X: np.ndarray) -> np.ndarray:
        """Apply the reflections to the rows of X (nm, r)."""
        n, m = len(self.left), len(self.right)
        X = (self.left @ X.reshape(n, -1)).reshape(n, m, -1)
        return np.matmul(self.right, X).reshape(n * m, -1)

    def down(self, G: np.ndarray) -> np.ndarray:
        """Coordinates of P G P, symmetrised."""
        half = self._rotate(G)[self.index]
        M = self._rotate(np.ascontiguousarray(half.T))[self.index]
        return (M + M.T) / 2

    def up(self, M: np.ndarray) -> np.ndarray:
        """The array (nm, nm) with coordinates M."""
        N = len(self.left) * len(self.right)
        X = np.zeros((N, len(M)), dtype=M.dtype)
        X[self.index] = M
        half = self._rotate(X)
        X = np.zeros((N, N), dtype=M.dtype)
        X[self.index] = half.T
        return self._rotate(X)


def _reflection(weights: np.ndarray) -> np.ndarray:
    """Symmetric orthogonal matrix whose first column is sqrt(weights), up to sign."""
    v = np.sqrt(weights / weights.sum())
    v[0] += 1.0  # v[0] >= 0: no cancellation
    return np.eye(len(v)) - np.multiply.outer(v, v) * (2 / float(v @ v))


@dataclass(frozen=True, eq=False)
class ConeDual:
    """A matrix and prices that prove a lower bound: any numbers do.

    Attributes
    ----------
    matrix : array (n m, n m)
        Z in units of density, with the symmetric part of P Z P negative semidefinite up to what the proof takes off.
    prices : array (n, m, m)
        Prices of the second points in the inner problem of each pair.
    scale : float
        Power of four that the numbers were divided by.
    """

    matrix: np.ndarray
    prices: np.ndarray
    scale: float

    def verify(self, problem: Problem) -> Bound:
        """Prove the bound again from the problem and these numbers alone; O(n^3 m^3).

        Numbers that are spoiled or belong to other costs prove less, never too much.  InputError where their sizes
        are those of other spaces.
        """
        s = scaled(problem)
        n, m = problem.shape
        wanted = {"matrix": (self.matrix, (n * m, n * m)), "prices": (self.prices, (n, m, m))}
        arrays = usable(CONE, wanted, self.scale / s.scale)
        if arrays is None:
            return s.lower(-math.inf, CONE)
        with np.errstate(all="ignore"):
            return cone_bound_of(s, ConeDual(**arrays, scale=s.scale))


def scaled_cost(s: Scaled, linear: np.ndarray) -> np.ndarray:
    """Cost Q (nm, nm) with the linear term `linear` (n, m) spread evenly over both pairs of indices."""
    x, y = s.effects
    n, m = linear.shape
    Q = -np.einsum("ij,kl->ikjl", x.rest, y.rest)
    Q = Q * 2 if s.symmetric else Q - np.einsum("ji,lk->ikjl", x.rest, y.rest)
    return (Q + 0.5 * (linear[:, :, None, None] + linear)).reshape(n * m, n * m)


def _row_costs(s: Scaled, dual: ConeDual) -> np.ndarray:
    """Q + Z (nm, nm), each entry rounded down."""
    Q = scaled_cost(s, s.linear)
    return Q + dual.matrix - 8 * EPS * (np.abs(Q) + np.abs(dual.matrix))


def improved_cone(s: Scaled, dual: ConeDual) -> ConeDual:
    """The same matrix with every inner problem solved."""
    prices = dual.prices.copy()
    with RowBlocks(len(s.p), dual.matrix.size, processors()) as workers:
        workers.run(improve_dense_rows, _row_costs(s, dual), s.p, s.q, is_uniform(s.p, s.q), prices)
    prices[~np.isfinite(prices)] = 0.0
    return ConeDual(dual.matrix, prices, dual.scale)


def _excess(s: Scaled, dual: ConeDual) -> float:
    """Proved upper bound of <Z, Y> over arrays Y = vec(T) vec(T)' of couplings T.

    In scaled units Y = P Y P is positive semidefinite of trace at most min(n, m), so it is at most that times any
    delta for which delta - P Z P has a Cholesky factor.
    """
    root = np.multiply.outer(np.sqrt(s.p), np.sqrt(s.q)).ravel()
    Z = dual.matrix * root[:, None] * root[None, :]
    M = Face(s.p, s.q, np.float64).down(Z)
    norm = float(np.linalg.norm(Z))
    rounding = 8 * (len(s.p) + len(s.q) + len(M) + 32) * EPS * norm
    delta = rounding
    while math.isfinite(delta):
        try:
            np.linalg.cholesky(delta * np.eye(len(M)) - M)
        except np.linalg.LinAlgError:
            delta = max(2 * delta, 1e-300)
        else:
            # backward error of the factorisation: (N + 2) eps times the trace
            factor = 2 * (len(M) + 2) * EPS * (len(M) * delta + float(np.abs(np.diag(M)).sum()))
            return (delta + rounding + factor) * min(len(s.p), len(s.q))
    return math.inf


def outer_cone_cost(s: Scaled, dual: ConeDual) -> np.ndarray:
    """Cost (n, m) whose cheapest coupling, less what `cone_bound_of` takes off besides, is the bound; rounded down."""
    values = np.empty((len(s.p), len(s.q)))
    with RowBlocks(len(s.p), dual.matrix.size, processors()) as workers:
        workers.run(evaluate_dense_rows, _row_costs(s, dual), s.p, s.q, dual.prices, values)
    return values


def cone_bound_of(s: Scaled, dual: ConeDual) -> Bound:
    """Lower bound from any dual: GW >= constant + min_T sum_ik T_ik OT((Q + Z)_ik) - max <Z, T x T>."""
    if not np.isfinite(dual.matrix).all():
        return s.lower(-math.inf, CONE)
    values = outer_cone_cost(s, dual)
    if not np.isfinite(values).all():
        return s.lower(-math.inf, CONE)
    value = constant_part(s) + minimum(values, s.p, s.q).lower - _excess(s, dual)
    return replace(s.lower(value, CONE), dual=dual)
