"""Bounds that cost a pass over the matrices and a few sorts.

Each compares one number a point (a feature) by one-dimensional transport.  A feature known to an error e in
L2(p) gives W_2 to an error e (triangle inequality), so every term is lowered before it is squared.
"""

from __future__ import annotations

from gwfast.arrays import Array, namespace, safe_sqrt
from gwfast.bounds.feature_term import cheapest_partner
from gwfast.bounds.rounding import proved, unit
from gwfast.method import Domain, Found, Method, one_pass
from gwfast.problem import Problem
from gwfast.result import Bound
from gwfast.transport import wasserstein_1d

FIRST = "first-lower-bound"
ECCENTRICITY = "eccentricity"
MEAN_STD = "mean-std"
ANOVA_FIRST = "anova-first"
ANOVA_STD = "anova-std"


def _lowered(problem: Problem, distance: Array, error: Array) -> Array:
    """Square of a distance known to +-`error`, rounded down."""
    distance = distance * (1 - unit(problem)) - error
    return namespace(distance).clip(distance, 0.0) ** 2


def _w2(problem: Problem, f: Array, g: Array, error: Array) -> Array:
    """Lower bound of W_2^2 between two features known to a total error `error`."""
    return _lowered(problem, safe_sqrt(wasserstein_1d(f, g, problem.p, problem.q)), error)


def _row_bounds(problem: Problem) -> dict[str, Array]:
    """The five bounds from the rows; the columns are the rows of the transposed problem."""
    a, b = problem.x.moments, problem.y.moments
    error, std_error = a.error + b.error, a.std_error + b.std_error
    constant = _lowered(problem, namespace(a.mean).abs(a.total - b.total), error)
    row = _w2(problem, a.mean, b.mean, error)
    effect = _w2(problem, a.mean - a.total, b.mean - b.total, 2 * error)
    if problem.symmetric:
        column = effect
    else:
        column = _w2(problem, a.comean - a.total, b.comean - b.total, 2 * error)
    return {
        FIRST: row,
        ECCENTRICITY: _w2(problem, a.rms, b.rms, error + std_error),
        MEAN_STD: row + _w2(problem, a.std, b.std, std_error),
        ANOVA_FIRST: constant + effect + column,
        ANOVA_STD: constant + effect + column + _w2(problem, a.centred_std, b.centred_std, std_error),
    }


def main_effects(problem: Problem) -> Array:
    """The terms (t - t')^2 + 2 W_2^2(a, a') of symmetric costs: their totals and main effects."""
    return _row_bounds(problem)[ANOVA_FIRST]


def sorting_bounds(problem: Problem) -> tuple[Bound, ...]:
    r"""All bounds that sorting gives, each a proved lower bound of the objective over all couplings.

    With row means m, row standard deviations s, root mean squares r of C1 and C2, and the main effects a, a'
    and row deviations h of the doubly centred costs,

    - first-lower-bound:  W_2^2(m1, m2)
    - eccentricity:       W_2^2(r1, r2)
    - mean-std:           W_2^2(m1, m2) + W_2^2(s1, s2)
    - anova-first:        (total1 - total2)^2 + W_2^2(a1, a2) + W_2^2(a1', a2')
    - anova-std:          anova-first + W_2^2(h1, h2)

    For asymmetric costs each is taken over rows and over columns, and the larger kept.  With a feature cost each
    is alpha times the above plus (1 - alpha) times the cheapest-partner bound.

    Returns
    -------
    tuple of Bound
        In the order above.  O(n^2 + m^2) for dense costs, plus sorting.

    References
    ----------
    First lower bound, eccentricity: F. Memoli, Gromov-Wasserstein distances and the metric approach to object
    matching, 2011.  The others: docs/theory.
    """
    linear = cheapest_partner(problem)
    values = _row_bounds(problem)
    if not problem.symmetric:
        other = _row_bounds(problem.T)
        values = {k: namespace(v).maximum(v, other[k]) for k, v in values.items()}
    return tuple(proved(problem, v, theorem, linear) for theorem, v in values.items())


METHOD = Method(
    "sorting",
    "sort",
    (FIRST, ECCENTRICITY, MEAN_STD, ANOVA_FIRST, ANOVA_STD),
    one_pass(lambda problem: Found(sorting_bounds(problem))),
    domain=Domain(features=True),
    once=True,
    differentiable=True,
    lean=True,
)
