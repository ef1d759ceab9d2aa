"""Bounds from eigenvalues: the spectra of both costs compared in sorted order."""

from __future__ import annotations

import math

import numpy as np

from gwfast.arrays.precision import EPS
from gwfast.bounds.linear import minimum
from gwfast.bounds.scaled import Scaled, scaled
from gwfast.method import Found, Method, Need, one_pass
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound
from gwfast.transport import wasserstein_1d

EIGENVALUES = "eigenvalues"
PROJECTED = "projected-eigenvalues"


def hermitian(cost: np.ndarray, weights: np.ndarray, symmetric: bool) -> np.ndarray:
    """Hermitian lift S + iK of D^1/2 C D^1/2, S and K its symmetric and skew parts; real for symmetric costs."""
    root = np.sqrt(weights)
    A = root[:, None] * cost * root[None, :]
    if symmetric:
        return (A + A.T) / 2
    return (A + A.T) / 2 + 0.5j * (A - A.T)


def eigenvalue_error(n: int, norm: float) -> float:
    """Bound of the error in l2 of all computed eigenvalues or singular values of a matrix of Frobenius norm `norm`.

    Backward stability gives a perturbation of the matrix, Hoffman and Wielandt carry it over to the spectrum.
    """
    return 8 * (n + 16) * EPS * norm


def _spectral_square(x: np.ndarray, y: np.ndarray, error: float) -> float:
    """Least sum of (x_i - y_i)^2 over pairings of like signs, padded with zeros; lowered by `error` before squaring.

    The map to sorted positive and negative parts is a contraction in l2, so the errors of x and y just add.
    """
    total = 0.0
    for sign in (1, -1):
        u, v = np.sort(sign * x)[::-1].clip(0), np.sort(sign * y)[::-1].clip(0)
        size = max(len(u), len(v))
        gap = np.pad(u, (0, size - len(u))) - np.pad(v, (0, size - len(v)))
        total += float(gap @ gap)
    return max(math.sqrt(total) - error, 0.0) ** 2


def _distance(s: Scaled, first: np.ndarray, second: np.ndarray) -> float:
    """Lower bound of E (first - second)^2 over all couplings, from spectra alone."""
    A, B = hermitian(first, s.p, s.symmetric), hermitian(second, s.q, s.symmetric)
    n, m = len(s.p), len(s.q)
    error = eigenvalue_error(n, float(np.linalg.norm(A))) + eigenvalue_error(m, float(np.linalg.norm(B)))
    value = _spectral_square(np.linalg.eigvalsh(A), np.linalg.eigvalsh(B), error)
    if s.symmetric:
        return value
    # symmetric and skew parts do not mix either, and may be compared one by one
    parts = _spectral_square(np.linalg.eigvalsh(np.real(A)), np.linalg.eigvalsh(np.real(B)), error)
    parts += _spectral_square(
        np.linalg.svd(np.imag(A), compute_uv=False), np.linalg.svd(np.imag(B), compute_uv=False), error
    )
    return max(value, parts)


def eigenvalue_bounds(problem: Problem) -> tuple[Bound, Bound]:
    r"""Lower bounds of the objective from the eigenvalues of the costs, and of the doubly centred costs.

    With A = D_p^1/2 C1 D_p^1/2 and B alike (their Hermitian lifts where a cost is not symmetric), eigenvalues
    alpha and beta sorted among like signs and padded with zeros,

    - eigenvalues:            sum_i (alpha_i - beta_i)^2
    - projected-eigenvalues:  (total1 - total2)^2 + min_T <linear, T> + sum_i (alpha'_i - beta'_i)^2

    where total and linear are the terms of the ANOVA identity and alpha', beta' the eigenvalues of the doubly
    centred costs.  A coupling acts as a contraction between the weighted spaces, whence the like signs.  Neither
    bound is always the larger.  Any weights, n != m, symmetric or not; the feature cost joins the linear term.

    Returns
    -------
    pair of Bound
        O(n^3 + m^3) and one linear program (a sort for symmetric costs without features).

    References
    ----------
    Finke, Burkard, Rendl 1987 and Hadley, Rendl, Wolkowicz 1992, for permutations; docs/theory for couplings.
    """
    s = scaled(problem)
    x, y = s.effects
    plain = _distance(s, s.first, s.second)
    if s.fused:
        plain += minimum(s.features, s.p, s.q).lower
    projected = s.constant + _distance(s, x.rest, y.rest)
    if s.symmetric and not s.fused:
        projected += 2 * float(wasserstein_1d(x.row, y.row, s.p, s.q))
    else:
        projected += minimum(s.linear, s.p, s.q).lower
    return s.lower(plain, EIGENVALUES), s.lower(projected, PROJECTED)


def eigen_seconds(problem: Problem) -> float:
    """Seconds of the eigendecompositions of both costs, on a slow machine."""
    n, m = problem.shape
    return 3e-10 * (n**3 + m**3)


def program_seconds(problem: Problem) -> float:
    """Seconds of a few products of the costs' size and a linear program, on a slow machine."""
    n, m = problem.shape
    return 3e-10 * n * m * (n + m) + POLICY.program * n * m + POLICY.piece


METHOD = Method(
    "spectral",
    "spectral",
    (EIGENVALUES, PROJECTED),
    one_pass(lambda problem: Found(eigenvalue_bounds(problem))),
    need=lambda problem: Need(eigen_seconds(problem)),
    once=True,
)
