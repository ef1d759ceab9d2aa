"""Unbalanced GW: anneal, then descend over few atoms, which enter where the gradient is negative."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.optimize
import scipy.sparse

from gwfast.arrays import from_numpy, item, to_numpy
from gwfast.budget import Budget
from gwfast.heuristics.products import Products
from gwfast.heuristics.unbalanced_steps import first_step, penalty_of, weighed
from gwfast.method import Found
from gwfast.plan import Plan
from gwfast.problem import Problem
from gwfast.result import Stop

_ATOMS, _ROUNDS = 3, 40  # atoms a point at the start of a descent; how often atoms may enter
ROUGH, TOLERANCE = 1e-7, 1e-13  # relative changes of the objective at which L-BFGS-B stops
_ENTERS = 1e-9  # of the price: gradients below -this let an atom in
_DUST, _LIGHTEST = 1e-14, 1e-140  # of the mass, and at all: lighter atoms are dropped


@dataclass(frozen=True, eq=False)
class _Atoms:
    """An unbalanced problem over some pairs of points, on the host."""

    problem: Problem
    C1: np.ndarray
    C2: np.ndarray
    rows: np.ndarray
    cols: np.ndarray

    def objective(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        """Objective and gradient at masses w (N,); O(N (n + m))."""
        problem, (n, m) = self.problem, self.problem.shape
        alpha, penalty, rows, cols = item(problem.alpha), penalty_of(problem), self.rows, self.cols
        a, b = np.bincount(rows, w, n), np.bincount(cols, w, m)
        T = scipy.sparse.csr_array((w, (rows, cols)), shape=(n, m))
        S1, S2 = self.squares
        first, second = S1 @ a, S2 @ b
        cross = _matched(self.C1, T @ self.C2.T, rows, cols)
        value = alpha * (a @ first + b @ second - 2 * w @ cross)
        if not problem.symmetric:
            first_back, second_back = S1.T @ a, S2.T @ b
            cross = cross + _matched(self.C1.T, T @ self.C2, rows, cols)
            first, second = first + first_back, second + second_back
        else:
            first, second, cross = 2 * first, 2 * second, 2 * cross
        up, across = penalty.slopes(a, b, problem.p, problem.q)
        gradient = alpha * (first[rows] + second[cols] - 2 * cross) + up[rows] + across[cols]
        value += penalty.value(a, b, problem.p, problem.q)
        if problem.M is not None:
            linear = (1 - alpha) * problem.M[rows, cols]
            value, gradient = value + w @ linear, gradient + linear
        return float(value), gradient

    @cached_property
    def squares(self) -> tuple[np.ndarray, np.ndarray]:
        """Entries of both costs, squared."""
        return self.C1 * self.C1, self.C2 * self.C2


def _matched(A: np.ndarray, B: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Entries (A B)[rows, cols] of a product."""
    return np.einsum("sj,sj->s", A[rows], B.T[cols])


def settled(
    problem: Problem, start: Plan, name: str, max_iter: int, budget: Budget, tolerance: float = TOLERANCE
) -> Found:
    """Descend from a plan until no atom would enter with less, or the time is over.

    The objective over the masses of the atoms is minimised by L-BFGS-B; then every row and column may let its pair of
    least gradient in.  The plan that is handed back is no worse than the start.
    """
    host = problem.hosted()
    products = Products(host, single=False)
    T = weighed(host, first_step(products, to_numpy(start.toarray())), 0.0).plan
    atoms = _Atoms(host, host.x.dense(), host.y.dense(), *_heaviest(T))
    w, steps, stop, price = T[atoms.rows, atoms.cols], 0, Stop.ITERATIONS, penalty_of(host).total
    for _ in range(_ROUNDS):
        w, done = _minimised(atoms, w, max_iter, budget, tolerance)
        steps += done
        T = np.zeros(host.shape)
        T[atoms.rows, atoms.cols] = np.where(w > max(_DUST * w.sum(), _LIGHTEST), w, 0.0)
        if budget.expired:
            stop = Stop.TIME_LIMIT
            break
        slope = host.gradient(T)
        entering = np.zeros(host.shape, dtype=bool)
        entering[np.arange(host.shape[0]), slope.argmin(axis=1)] = True
        entering[slope.argmin(axis=0), np.arange(host.shape[1])] = True
        entering &= (slope < -max(_ENTERS, tolerance) * price) & (T == 0)
        if not entering.any():
            stop = Stop.STATIONARY
            break
        rows, cols = np.nonzero(entering | (T > 0))
        atoms, w = _Atoms(host, atoms.C1, atoms.C2, rows, cols), T[rows, cols]
    rows, cols = np.nonzero(T)
    plan = Plan(host.shape, *(from_numpy(x, problem.p) for x in (rows, cols, T[rows, cols])))
    if rows.size == 0:
        plan = Plan(host.shape, matrix=from_numpy(T, problem.p))
    if not item(problem.objective(plan)) <= item(problem.objective(start)):
        plan = start
    return Found(plan=plan, stop=stop, start=name, iterations=steps)


def _heaviest(T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The heaviest pairs of a plan, and those of every row and column."""
    n, m = T.shape
    count = min(T.size, _ATOMS * (n + m))
    keep = max(np.partition(T, T.size - count, axis=None)[T.size - count], 5e-324) <= T
    if keep.sum() > 2 * count:  # ties, as in a product
        keep[:] = False
    keep[np.arange(n), T.argmax(axis=1)] = True
    keep[T.argmax(axis=0), np.arange(m)] = True
    rows, cols = np.nonzero(keep)
    return rows, cols


def _minimised(atoms: _Atoms, w: np.ndarray, most: int, budget: Budget, tolerance: float) -> tuple[np.ndarray, int]:
    """Masses of least objective, by L-BFGS-B in units of a point's mass, and the steps that it took."""
    scale = 1.0 / max(atoms.problem.shape)

    def scaled(z: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = atoms.objective(z * scale)
        return value, gradient * scale

    def look(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        if budget.expired:
            raise StopIteration

    found = scipy.optimize.minimize(
        scaled,
        w / scale,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * len(w),
        callback=look if budget.limited else None,
        options={"maxiter": most, "maxfun": 2 * most, "ftol": tolerance, "gtol": 1e-13, "maxcor": 20},
    )
    better = math.isfinite(found.fun)
    return (np.maximum(found.x, 0.0) * scale, int(found.nit)) if better else (w, 1)
