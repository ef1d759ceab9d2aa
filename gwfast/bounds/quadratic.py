"""The quadratic programming bound: a convex function below the objective, minimised by Frank-Wolfe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gwfast.arrays import from_numpy
from gwfast.arrays.precision import EPS
from gwfast.bounds.linear import minimum
from gwfast.bounds.scaled import Scaled, scaled
from gwfast.bounds.spectral import eigen_seconds, eigenvalue_error, hermitian, program_seconds
from gwfast.budget import UNLIMITED, Budget
from gwfast.method import Found, Method, Need, Steps, Turn, while_it_fits
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound, Stop

QUADRATIC = "quadratic"


@dataclass(frozen=True, eq=False)
class QuadraticModel:
    """A convex function below E (H1 - H2)^2 over couplings T, for doubly centred costs.

    With P = D_p^-1/2 (T - p q') D_q^-1/2 and Y = U* P W in the eigenbases of both costs it is

        constant - 2 sum_ik weights_ik |Y_ik|^2,   weights <= 0.

    Attributes
    ----------
    left, right : arrays (n, n), (m, m)
        Eigenvectors U and W.
    weights : array (n, m)
        alpha_i beta_k - s_i - t_k, with s, t >= 0 the dual of the eigenvalue bound.
    constant : float
        |A|^2 + |B|^2 - 2 sum s - 2 sum t.
    error : float
        Rounding error of the constant and of the eigendecompositions.
    """

    left: np.ndarray
    right: np.ndarray
    weights: np.ndarray
    constant: float
    error: float

    def curvature(self, P: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the quadratic part at P (n, m), and its gradient."""
        Y = self.left.conj().T @ P @ self.right
        scaled_Y = self.weights * Y
        value = -2 * float(np.sum(np.real(scaled_Y * Y.conj())))
        return value, -4 * np.real(self.left @ scaled_Y @ self.right.conj().T)

    def rounding(self, P: np.ndarray) -> float:
        """Error of a linear model of the quadratic part taken at P, evaluated at any coupling."""
        n, m = self.weights.shape
        norm, reach = float(np.linalg.norm(P)), min(n, m) ** 0.5
        return 32 * (n + m + 32) * EPS * float(np.abs(self.weights).max()) * norm * (norm + 2 * reach)


def dual_weights(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return s (n,), t (m,) >= 0 with s_i + t_k >= x_i y_k whose sum is the sorted product of like signs.

    Closed form: along the sorted sequences, steps of t are (x_i + x_{i+1}) (y_i - y_{i+1}) / 2.
    """
    s, t = np.zeros(len(x)), np.zeros(len(y))
    for sign in (1, -1):
        i, k = np.argsort(-sign * x, kind="stable"), np.argsort(-sign * y, kind="stable")
        u, v = (sign * x[i]).clip(0), (sign * y[k]).clip(0)
        size = max(len(u), len(v)) + 1
        u, v = np.pad(u, (0, size - len(u))), np.pad(v, (0, size - len(v)))
        step_t = 0.5 * (u[:-1] + u[1:]) * (v[:-1] - v[1:])
        step_s = u[:-1] * v[:-1] - u[1:] * v[1:] - step_t
        sums_s, sums_t = np.cumsum(step_s[::-1])[::-1], np.cumsum(step_t[::-1])[::-1]
        s[i] = np.maximum(s[i], sums_s[: len(x)])
        t[k] = np.maximum(t[k], sums_t[: len(y)])
    violated = float((np.multiply.outer(x, y) - s[:, None] - t[None, :]).max(initial=0.0))
    return s + max(violated, 0.0), t


def quadratic_model(s: Scaled, first: np.ndarray, second: np.ndarray, symmetric: bool) -> QuadraticModel:
    """Build the model of doubly centred costs `first` (n, n) and `second` (m, m); O(n^3 + m^3)."""
    A, B = hermitian(first, s.p, symmetric), hermitian(second, s.q, symmetric)
    (x, U), (y, W) = np.linalg.eigh(A), np.linalg.eigh(B)
    dual_s, dual_t = dual_weights(x, y)
    weights = np.minimum(np.multiply.outer(x, y) - dual_s[:, None] - dual_t[None, :], 0.0)
    norms = float(np.linalg.norm(A)), float(np.linalg.norm(B))
    constant = norms[0] ** 2 + norms[1] ** 2 - 2 * float(dual_s.sum() + dual_t.sum())
    error = 2 * eigenvalue_error(len(x), norms[0]) * norms[1] + 2 * eigenvalue_error(len(y), norms[1]) * norms[0]
    error += 8 * (len(x) + len(y)) * EPS * (norms[0] ** 2 + norms[1] ** 2 + float(dual_s.sum() + dual_t.sum()))
    return QuadraticModel(U, W, weights, constant, error)


def frank_wolfe(
    s: Scaled,
    model: QuadraticModel,
    constant: float,
    linear: np.ndarray,
    iterations: int,
    tolerance: float = 1e-6,
) -> Iterator[tuple[float, np.ndarray]]:
    """Minimise constant + <linear, T> + model over couplings T.

    Each step's value minus its Frank-Wolfe gap is a lower bound, whether or not the iterate is feasible, because
    the model is convex and the linear program is certified.

    Yields
    ------
    float
        The best proved lower bound in scaled units, its own rounding taken off.
    array (n, m)
        The plan of the step.
    """
    root = np.sqrt(s.p)[:, None] * np.sqrt(s.q)[None, :]
    product = s.p[:, None] * s.q[None, :]
    T, best, prices = product, -np.inf, None
    for _ in range(iterations):
        P = (T - product) / root
        curvature, G = model.curvature(P)
        # <G, P'> = <G / root, T'> - <G, root> for every coupling T', and <G, P> is twice the curvature
        cost = linear + G / root
        step = minimum(cost, s.p, s.q, prices)
        prices = step.duals[1]
        base = constant + model.constant - curvature - float(np.sum(G * root))
        bound = base + step.lower - model.error - model.rounding(P)
        best = max(best, bound)
        value = constant + model.constant + curvature + float(np.sum(linear * T))
        gap = value - bound
        if gap <= tolerance * abs(value):
            yield best, T
            return
        target = np.zeros_like(T)
        np.add.at(target, (step.rows, step.cols), step.mass)
        direction = target - T
        bend = model.curvature(direction / root)[0]
        T = T + (1.0 if bend <= 0 else min(1.0, gap / (2 * bend))) * direction
        yield best, T


def quadratic_bound(
    problem: Problem, iterations: int = POLICY.quadratic_steps, budget: Budget = UNLIMITED
) -> tuple[Bound, Plan]:
    r"""Lower bound of the objective by a convex quadratic program, and the plan that minimises it.

    In the eigenbases of the doubly centred costs A = U diag(x) U*, B = W diag(y) W* (Hermitian lifts), with
    Y = U* D_p^-1/2 (T - p q') D_q^-1/2 W and the dual s, t of the projected eigenvalue bound::

        (total1 - total2)^2 + <linear, T> + |A|^2 + |B|^2
            - 2 [sum s + sum t + sum_ik (x_i y_k - s_i - t_k) |Y_ik|^2]

    is convex, lies below the objective for every coupling T, and above the projected eigenvalue bound.  The bound
    is its value minus the Frank-Wolfe gap.  Any weights, n != m, symmetric or not; features join the linear term.

    Parameters
    ----------
    problem : Problem
    iterations : int
        Frank-Wolfe steps at most; each costs four products of matrices and one linear program.
    budget : Budget
        The first step is always done, and the one under way at the deadline is the last.

    Returns
    -------
    Bound
    Plan
        Minimiser of the quadratic program: a good start for local search.

    References
    ----------
    Anstreicher and Brixius 2001, for permutations; docs/theory for couplings.
    """
    s = scaled(problem)
    x, y = s.effects
    model = quadratic_model(s, x.rest, y.rest, s.symmetric)
    last = -np.inf, s.p[:, None] * s.q[None, :]
    for step in frank_wolfe(s, model, s.constant, s.linear, iterations):
        last = step
        if budget.expired:
            break
    return s.lower(last[0], QUADRATIC), Plan(problem.shape, matrix=from_numpy(last[1], problem.p))


def _steps(problem: Problem, turn: Turn) -> Steps:
    yield from while_it_fits(_pieces(problem), program_seconds(problem), turn)


def _pieces(problem: Problem) -> Iterator[Found]:
    s = scaled(problem)
    x, y = s.effects
    model = quadratic_model(s, x.rest, y.rest, s.symmetric)
    last = -np.inf, s.p[:, None] * s.q[None, :]
    for last in frank_wolfe(s, model, s.constant, s.linear, POLICY.quadratic_steps):
        yield Found((s.lower(last[0], QUADRATIC),))
    yield Found(plan=Plan(problem.shape, matrix=from_numpy(last[1], problem.p)), stop=Stop.EXHAUSTED)


METHOD = Method("quadratic", "dual", (QUADRATIC,), _steps, need=lambda problem: Need(eigen_seconds(problem)))
