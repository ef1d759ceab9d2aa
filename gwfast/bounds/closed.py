"""The closed bound of two spaces of points: effects by sorting, inner products by the spectra of second moments."""

from __future__ import annotations

import math

import numpy as np

from gwfast.bounds.feature_term import cheapest_partner
from gwfast.bounds.rounding import proved, unit
from gwfast.method import Domain, Found, Method, one_pass
from gwfast.problem import Problem
from gwfast.result import Bound
from gwfast.spaces.form import Form
from gwfast.spaces.form_doubt import Doubt, doubted_form
from gwfast.transport import wasserstein_1d

CLOSED = "closed-bound"


def _spectrum(form: Form, length: int) -> np.ndarray:
    """Eigenvalues of the second moments times kappa's size, sorted, with zeros up to a length."""
    values = np.zeros(length)
    values[: form.X.shape[1]] = np.linalg.eigvalsh(form.moment)
    return abs(form.kappa) * np.sort(values)


def _spectral(x: Form, y: Form, dx: Doubt, dy: Doubt) -> float:
    """Lower bound of E (kappa1 x.x' - kappa2 y.y')^2 over couplings."""
    length = max(x.X.shape[1], y.X.shape[1])
    u, v = _spectrum(x, length), _spectrum(y, length)
    first, second = abs(x.kappa) * dx.moment, abs(y.kappa) * dy.moment
    if x.kappa * y.kappa > 0:
        return max(0.0, float(np.linalg.norm(u - v)) - first - second) ** 2
    return max(0.0, float(np.linalg.norm(u)) - first) ** 2 + max(0.0, float(np.linalg.norm(v)) - second) ** 2


def closed_bound(problem: Problem) -> Bound | None:
    r"""Lower bound of the objective between spaces of points, from sorted effects and sorted spectra.

    With costs :math:`C_{ij} = 2 \mu + a_i + a_j + \kappa x_i \cdot x_j`, x and a centred, and the eigenvalues l of the
    second moments of x, sorted and padded with zeros,

    .. math:: 4 (\mu_1 - \mu_2)^2 + 2 W_2^2(a_1, a_2) + \sum_i (\kappa_1 l_{1i} - \kappa_2 l_{2i})^2

    where the kappas have one sign; otherwise the last sum is that of the squares.  A feature cost adds (1 - alpha)
    times the cheapest-partner bound.  Any weights, n != m.

    Parameters
    ----------
    problem : Problem
        Two squared Euclidean `PointCloud` or `Gram` spaces, or one of each.

    Returns
    -------
    Bound or None
        None for other spaces.  O(n log n + n d^2), in host memory; no array of n^2 numbers.

    References
    ----------
    docs/theory/closed_bound.md.
    """
    first = doubted_form(problem.x)
    second = None if first is None else doubted_form(problem.y)
    if first is None or second is None:
        return None
    (x, dx), (y, dy) = first, second
    error, share = dx.effect + dy.effect, 1 - unit(problem)
    means = max(0.0, abs(x.mean - y.mean) * share - error)
    effects = max(0.0, math.sqrt(float(wasserstein_1d(x.effect, y.effect, x.p, y.p))) * share - error)
    total = (4 * means**2 + 2 * effects**2 + _spectral(x, y, dx, dy)) * share
    root, doubt = math.sqrt(total), dx.cost + dy.cost
    bound = proved(problem, max(0.0, root - doubt) ** 2, CLOSED, cheapest_partner(problem))
    slack = 2 * root * doubt + 4 * error * (2 * means + effects) + 4 * (dx.moment + dy.moment) * root
    return Bound(bound.side, bound.value, bound.theorem, bound.margin + float(problem.alpha) * slack)


def _find(problem: Problem) -> Found:
    bound = closed_bound(problem)
    return Found() if bound is None else Found((bound,))


METHOD = Method("closed", "sort", (CLOSED,), one_pass(_find), domain=Domain(features=True), once=True, lean=True)
"""Costs the least of all, where it applies."""
