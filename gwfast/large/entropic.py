r"""Entropic GW between many points by mirror descent, without an (n, m) array.

With costs :math:`a_i + a_j + \kappa x_i \cdot x_j` the gradient at a plan is :math:`-4 u_i \cdot v_k` up to terms of
one side, where u holds the effect, the points times the cross moment, and the features.  A scaling makes the rows of a
tile exact and sums its columns in the same pass: one exponential an entry.  As in `gwfast.heuristics.entropic` the
scalings start from the last potentials, after six steps at falling temperatures.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from gwfast.arrays import Array, from_numpy, item, namespace
from gwfast.budget import Budget
from gwfast.kernels.potential_sweep import sweep_rows
from gwfast.kernels.row_blocks import processors
from gwfast.large.multiscale import sides_of
from gwfast.large.potential_plan import Kernel, PotentialPlan
from gwfast.large.sides import Sides
from gwfast.method import Found
from gwfast.problem import Problem
from gwfast.result import Stop

_SINGLE = 5e-6  # marginal errors that single precision reaches
_ROUGH, _ROUGH_SCALINGS = 1e-3, 20  # of the steps at falling temperatures
_SCALINGS = 50  # of the others, at most


@dataclass(frozen=True, eq=False)
class _Points:
    """Both sides in the caller's library: what a plan is multiplied with, and the weights."""

    sides: Sides
    left: Array  # (n, k): effect, points, features
    right: Array  # (m, k')
    p: Array
    q: Array

    @classmethod
    def of(cls, problem: Problem) -> _Points:
        sides = sides_of(problem)
        assert sides is not None  # the caller has looked
        left, right = (np.column_stack([s.effect, s.X, s.features]) for s in (sides.x, sides.y))
        return cls(sides, from_numpy(left, problem.p), from_numpy(right, problem.p), problem.p, problem.q)

    def coefficients(self, moment: Array) -> Array:
        """The matrix A (k, k') whose form is the gain at the moments of a plan: u_i . v_k = left_i' A right_k."""
        s, xp = self.sides, namespace(moment)
        d, e = s.x.X.shape[1], s.y.X.shape[1]
        A = xp.zeros_like(moment)
        A[0, 0] = s.alpha
        A[1 : d + 1, 1 : e + 1] = s.alpha * s.kappas[0] * s.kappas[1] * moment[1 : d + 1, 1 : e + 1]
        for k in range(s.x.features.shape[1]):
            A[d + 1 + k, e + 1 + k] = (1 - s.alpha) / 2
        return A

    def value(self, moment: Array) -> float:
        """Objective of the plan with these moments (k, k'): left' T right."""
        s = self.sides
        d, e = s.x.X.shape[1], s.y.X.shape[1]
        cross = moment[1 : d + 1, 1 : e + 1]
        xp = namespace(moment)
        gain = s.alpha * (4 * item(moment[0, 0]) + 2 * s.kappas[0] * s.kappas[1] * item(xp.sum(cross * cross)))
        features = sum(item(moment[d + 1 + k, e + 1 + k]) for k in range(s.x.features.shape[1]))
        return s.constant - gain - 2 * (1 - s.alpha) * features


@dataclass(frozen=True, eq=False)
class _State:
    """A kernel with exact rows, its column sums, its moments, and the L1 error of the columns."""

    kernel: Kernel
    columns: Array
    moment: Array
    error: float


def entropic_points(
    problem: Problem, epsilon: float, temperatures: list[float], tol: float, most: int, budget: Budget
) -> Found:
    """Mirror descent at `epsilon` after one step at each of the falling `temperatures`.

    O(nm k) time a scaling and O((n + m) k) memory, for k coordinates and features.
    """
    points = _Points.of(problem)
    xp = namespace(problem.p)
    g = xp.zeros_like(problem.q)
    moment = xp.zeros_like(points.left[:1].T @ points.right[:1])
    for temperature in temperatures:
        state = _scaled(points, moment, g, temperature, _ROUGH, _ROUGH_SCALINGS, budget)
        moment, g = state.moment, state.kernel.g * temperature
    value, inner, stop, step = float("inf"), 1e-2, Stop.ITERATIONS, 0
    while step < most:
        step += 1
        state = _scaled(points, moment, g, epsilon, max(inner, tol / 2), _SCALINGS, budget)
        moment, g = state.moment, state.kernel.g * epsilon
        last, value = value, points.value(moment)
        change = abs(last - value) / max(abs(value), 1e-12 * problem.size, 1e-300)
        inner = min(inner, 0.1 * change)
        if change <= tol and state.error <= tol:
            stop = Stop.MARGINALS
            break
        if budget.expired:
            stop = Stop.TIME_LIMIT
            break
    return Found(plan=_repaired(points, state), stop=stop, start="the product coupling", iterations=step)


def _scaled(points: _Points, moment: Array, g: Array, epsilon: float, tol: float, most: int, budget: Budget) -> _State:
    """Scalings at the linear model of a moment, from the column potential g (in units of the objective)."""
    xp = namespace(g)
    U = points.left @ (points.coefficients(moment) * (4 / epsilon))
    kernel = Kernel(U, points.right, xp.zeros_like(points.p), g / epsilon)
    for count in range(1, most + 1):
        state = _sweep(points, kernel, tol >= _SINGLE)
        if count == most or state.error <= tol or budget.expired:
            return state
        floor = xp.full_like(state.columns, 1e-300)
        kernel = replace(state.kernel, g=state.kernel.g + xp.log(points.q / xp.maximum(state.columns, floor)))
    raise AssertionError  # most is positive


def _sweep(points: _Points, kernel: Kernel, single: bool) -> _State:
    """One pass: rows made exact, column sums and moments of the plan that results."""
    xp = namespace(kernel.U)
    if single and isinstance(kernel.U, np.ndarray):
        return _compiled_sweep(points, kernel)
    f, columns = [], xp.zeros_like(points.q)
    moment = xp.zeros_like(points.left[:1].T @ points.right[:1])
    for part in kernel.tiles():
        L = kernel.logits(part)
        top = xp.max(L, axis=1)
        L -= top[:, None]
        E = xp.exp(L)
        share = points.p[part] / xp.sum(E, axis=1)
        f.append(xp.log(share) - top)
        columns += share @ E
        moment += (points.left[part] * share[:, None]).T @ (E @ points.right)
    error = item(xp.sum(xp.abs(columns - points.q)))
    return _State(replace(kernel, f=xp.concat(f)), columns, moment, error)


def _compiled_sweep(points: _Points, kernel: Kernel) -> _State:
    """The same in single precision, on all processors."""
    n, k = points.left.shape[0], points.right.shape[1]
    U, V = kernel.U.astype(np.float32), np.ascontiguousarray(kernel.V.T, np.float32)
    g, right = kernel.g.astype(np.float32), np.ascontiguousarray(points.right.T, np.float32)
    f, image = np.empty(n), np.empty((n, k))
    count = min(processors(), n)
    columns = np.zeros((count, len(points.q)))
    edges = np.linspace(0, n, count + 1).astype(int)

    def rows(t: int) -> None:
        part = slice(edges[t], edges[t + 1])
        sweep_rows(U[part], V, g, points.p[part], right, f[part], columns[t], image[part])

    if count == 1:
        rows(0)
    else:
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(rows, range(count)))
    total = columns.sum(axis=0)
    error = float(np.abs(total - points.q).sum())
    return _State(replace(kernel, f=f), total, points.left.T @ image, error)


def _repaired(points: _Points, state: _State) -> PotentialPlan:
    """The plan with exact marginals: columns shrunk where they are too heavy, the rest spread as a product."""
    xp = namespace(points.p)
    one = xp.ones_like(points.q)
    state = _sweep(points, state.kernel, False)
    b = xp.minimum(one, points.q / xp.where(state.columns > 0, state.columns, one))
    plain = PotentialPlan(state.kernel, xp.ones_like(points.p), b, (xp.zeros_like(points.p), xp.zeros_like(points.q)))
    rows, columns = plain.apply(one), state.columns * b
    r, c = xp.clip(points.p - rows, 0.0), xp.clip(points.q - columns, 0.0)
    # both sums are the same but for rounding: the smaller is brought up to the larger, by the weights
    total, other = item(xp.sum(r)), item(xp.sum(c))
    if total < other:
        r = r + (other - total) * points.p
    else:
        c = c + (total - other) * points.q
    found = rows + r * (item(xp.sum(c)) / max(item(xp.sum(r)), 1e-300)), columns + c
    return PotentialPlan(state.kernel, plain.a, b, (r, c), found)
