"""Lagrangian bounds for symmetric costs: one cost split between sorted rows and eigenvalues."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gwfast.arrays.precision import EPS
from gwfast.bounds.linear import minimum
from gwfast.bounds.quadratic import frank_wolfe, quadratic_model
from gwfast.bounds.scaled import Scaled, scaled, split
from gwfast.bounds.spectral import eigen_seconds, eigenvalue_error, hermitian, program_seconds
from gwfast.budget import UNLIMITED, Budget
from gwfast.kernels.row_products import merge_products, rearranged
from gwfast.method import Domain, Found, Method, Need, Steps, Turn, keep_best, while_it_fits
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound
from gwfast.transport import is_uniform

SKEW = "skew-rows"
SPLIT = "split"


class _SortedRows:
    """Largest inner products of rows of a matrix Z (n, n) with rows of the second cost, over all couplings."""

    def __init__(self, s: Scaled):
        self.p, self.q = s.p, s.q
        order = np.argsort(s.second, axis=1, kind="stable")
        self.sorted, self.weights = np.take_along_axis(s.second, order, 1), s.q[order]
        self.uniform = is_uniform(s.p, s.q)
        self.largest = np.abs(s.second).max(axis=1)

    def products(self, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return G (n, m), rounded up, and the order (n, n) that sorts the rows of Z."""
        order = np.argsort(Z, axis=1, kind="stable")
        rows = np.take_along_axis(Z, order, 1)
        if self.uniform:
            G = self.p[0] * (rows @ self.sorted.T)
        else:
            G = merge_products(rows, self.p[order], self.sorted, self.weights)
        doubt = 4 * (len(self.p) + len(self.q) + 8) * EPS * np.abs(Z).max(axis=1)[:, None] * self.largest[None, :]
        return G + doubt, order

    def gradient(self, order: np.ndarray, rows: np.ndarray, cols: np.ndarray, mass: np.ndarray) -> np.ndarray:
        """Gradient (n, n) in Z of <T, G> for a plan T given by its atoms."""
        out = np.zeros((len(self.p), len(self.p)))
        if self.uniform:
            moved = np.empty((len(rows), len(self.p)))
            np.put_along_axis(moved, order[rows], self.sorted[cols] * (mass[:, None] * self.p[0]), 1)
            np.add.at(out, rows, moved)
        else:
            rearranged(order, self.p[order], self.sorted, self.weights, rows, cols, mass, out)
        return out


@dataclass(frozen=True, eq=False)
class Split:
    """Where the ascent ended: the part Z (n, n) of the first cost bounded by sorted rows, and the bound."""

    Z: np.ndarray
    value: float


class _Model:
    """Value and supergradient in Z of the bound: concave and piecewise smooth."""

    def __init__(self, s: Scaled, spectral: bool):
        self.s, self.spectral = s, spectral
        self.rows = _SortedRows(s)
        self.second = s.effects[1]
        self.constant = float(s.p @ (s.first**2) @ s.p + s.q @ (s.second**2) @ s.q)
        self.root = np.sqrt(s.p)
        if spectral:
            B = hermitian(self.second.rest, s.q, True)
            self.spectrum, self.norm = np.linalg.eigvalsh(B), float(np.linalg.norm(B))
        self.prices: np.ndarray | None = None

    def __call__(self, Z: np.ndarray) -> tuple[float, np.ndarray]:
        s = self.s
        G, order = self.rows.products(Z)
        cost, value, slack = s.features - 2 * G, self.constant, 0.0
        if self.spectral:
            x = split(s.first - (Z + Z.T) / 2, s.p)
            A = hermitian(x.rest, s.p, True)
            eigenvalues, U = np.linalg.eigh(A)
            partner = _partners(eigenvalues, self.spectrum)
            cost = cost - 4 * np.multiply.outer(x.row, self.second.row)
            value -= 2 * (x.total * self.second.total + float(eigenvalues @ partner))
            norm = float(np.linalg.norm(A))
            slack = 2 * (eigenvalue_error(len(s.p), norm) * self.norm + eigenvalue_error(len(s.q), self.norm) * norm)
            slack += 2 * s.margin * (1 + norm + abs(x.total) + float(np.sqrt(s.p @ x.row**2)))
        step = minimum(cost, s.p, s.q, self.prices)
        self.prices = step.duals[1]
        gradient = self.rows.gradient(order, step.rows, step.cols, step.mass)
        if self.spectral:
            mean = np.zeros(len(s.p))
            np.add.at(mean, step.rows, step.mass * self.second.row[step.cols])
            low = (self.root[:, None] * U * partner) @ (U.T * self.root)
            plane = np.multiply.outer(mean, s.p)
            gradient = gradient - (np.multiply.outer(s.p, s.p) * self.second.total + plane + plane.T + low)
        else:
            gradient = (gradient - gradient.T) / 2
        return value + step.lower - slack, -2 * gradient


def _partners(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The eigenvalue of y that each of x meets when like signs are paired in order; 0 where none is left."""
    out = np.zeros_like(x)
    for sign in (1, -1):
        i, v = np.flatnonzero(sign * x > 0), np.sort(sign * y[sign * y > 0])[::-1]
        i = i[np.argsort(-sign * x[i], kind="stable")]
        size = min(len(i), len(v))
        out[i[:size]] = sign * v[:size]
    return out


def _ascend(model: _Model, start: np.ndarray, iterations: int, target: float | None) -> Iterator[Split]:
    """Deflected subgradient ascent with Polyak's step towards `target`, in the metric of the weights.

    Yields the best split so far after every step.
    """
    weight = np.multiply.outer(model.s.p, model.s.p)
    Z, best, best_Z = start, -np.inf, start
    direction, length, stalled = np.zeros_like(start), 1.0, 0
    for _ in range(iterations):
        value, gradient = model(Z)
        if value > best + 1e-10 * model.s.size:
            best, best_Z, stalled = value, Z, 0
        else:
            stalled += 1
            if stalled >= 5:
                length, stalled, Z, direction = length / 2, 0, best_Z, np.zeros_like(Z)
                continue
        yield Split(best_Z, best)
        natural = gradient / weight
        direction = natural + (0.7 * direction if float(np.sum(direction * gradient)) >= 0 else 0.0)
        square = float(np.sum(direction * direction * weight))
        aim = best + 0.05 * abs(best) if target is None else target
        missing = aim - value
        if square <= 1e-24 * model.s.size or missing <= 1e-9 * model.s.size or not np.isfinite(square):
            break
        Z = Z + (length * missing / square) * direction


def _finish(s: Scaled, Z: np.ndarray, iterations: int) -> Iterator[float]:
    """Bound at Z with the eigenvalue part replaced by its quadratic program; proved, in scaled units."""
    X = s.first - (Z + Z.T) / 2
    x, second = split(X, s.p), s.effects[1]
    model = quadratic_model(s, x.rest, second.rest, True)
    G, _ = _SortedRows(s).products(Z)
    linear = 2 * (x.row[:, None] - second.row[None, :]) ** 2 + s.features - 2 * G
    other = float(s.p @ (X * X) @ s.p)
    constant = (x.total - second.total) ** 2 + float(s.p @ (s.first**2) @ s.p) - other
    for value, _ in frank_wolfe(s, model, constant, linear, iterations):
        yield value - 4 * s.unit * (other + float(s.p @ Z**2 @ s.p))


def _extra(s: Scaled, Z: np.ndarray) -> float:
    return 4 * s.unit * float(s.p @ (Z * Z) @ s.p)


def _ascents(s: Scaled, upper: float | None, iterations: int, finish: int) -> Iterator[Bound]:
    """The two bounds as they grow: both ascents, then the quadratic program at each of their ends."""
    aim = None if upper is None else s.inside(upper)
    skew, free = Split(s.first, -np.inf), Split(s.first / 2, -np.inf)
    for skew in _ascend(_Model(s, False), s.first, iterations, aim):
        yield s.lower(skew.value, SKEW, _extra(s, skew.Z))
    for free in _ascend(_Model(s, True), s.first / 2, iterations, aim):
        yield s.lower(free.value - _extra(s, free.Z), SPLIT)
    for Z in (free.Z, skew.Z / 2):
        for value in _finish(s, Z, finish):
            yield s.lower(value, SPLIT)


def split_bounds(
    problem: Problem,
    upper: float | None = None,
    iterations: int = POLICY.split_steps,
    finish: int = POLICY.split_finish,
    budget: Budget = UNLIMITED,
) -> tuple[Bound, ...]:
    r"""Two Lagrangian lower bounds of the objective; symmetric costs, any weights, n != m.

    For every coupling T, symmetric C2 and every Z (n, n), with X = C1 - (Z + Z')/2,

        <T, C1 T C2> = <T, X T C2> + <T, Z T C2>,

    the first term bounded by the projected eigenvalue bound, the second by sorted rows, all linear terms in one
    linear program.  Each Z gives a bound, concave in Z:

    - skew-rows:  Z = C1 + K with K skew, so that X = 0: the third lower bound at its best skew shift
    - split:      any Z, the eigenvalue part finished by the quadratic program

    Parameters
    ----------
    problem : Problem
    upper : float, optional
        Objective of a plan: the aim of Polyak's step.  It never enters the proof.
    iterations, finish : int
        Subgradient steps of each ascent (a sort, a product, a linear program, an eigendecomposition), and
        Frank-Wolfe steps of the quadratic program.
    budget : Budget
        At its deadline what is reached is returned.

    Returns
    -------
    tuple of Bound
        Empty where a cost is not symmetric: the identity needs it.
    """
    s = scaled(problem)
    found: dict[str, Bound] = {}
    if s.symmetric:
        for bound in _ascents(s, upper, iterations, finish):
            keep_best(found, (bound,))
            if budget.expired:
                break
    return tuple(found.values())


def _steps(problem: Problem, turn: Turn) -> Steps:
    ascents = _ascents(scaled(problem), turn.incumbent.target, POLICY.split_steps, POLICY.split_finish)
    seconds = eigen_seconds(problem) + program_seconds(problem)
    yield from while_it_fits((Found((bound,)) for bound in ascents), seconds, turn)


METHOD = Method(
    "split",
    "dual",
    (SKEW, SPLIT),
    _steps,
    domain=Domain(symmetric=True),
    suits=lambda problem: problem.shape[0] * problem.shape[1] <= POLICY.split_entries,
    need=lambda problem: Need(eigen_seconds(problem)),
)
