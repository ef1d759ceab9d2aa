"""Rounding margins: how a computed number becomes a proved bound."""

from __future__ import annotations

from gwfast.arrays import Array, item, namespace
from gwfast.arrays.precision import EPS
from gwfast.problem import Problem
from gwfast.result import Bound


def unit(problem: Problem) -> float:
    """Relative rounding error of a sum over all points, with room for the few steps around it."""
    return 8 * (problem.x.n + problem.y.n + 32) * EPS


def allowance(problem: Problem) -> float:
    """Absolute rounding error of a Gromov-Wasserstein objective, and of sums of squares over all costs.

    `unit` of E C1^2 + E C2^2, and what costs known to +-d in L2 mean: GW moves by at most d, an objective of at most
    twice that sum by 2 d times its root, and d^2.
    """
    doubt = problem.x.doubt + problem.y.doubt
    return unit(problem) * problem.size + doubt * (2 * (2 * problem.size) ** 0.5 + doubt)


def proved(problem: Problem, structure: Array, theorem: str, linear: float = 0.0, slack: float = 0.0) -> Bound:
    """Make a lower Bound of the objective from a lower bound of its GW part.

    Parameters
    ----------
    problem : Problem
    structure : scalar
        Computed lower bound of the Gromov-Wasserstein term, off by at most `allowance`.
    theorem : str
        Label of the theorem.
    linear : float
        Proved lower bound of <M, T>, used with the weight 1 - alpha.
    slack : float
        Error of `structure` beyond that.
    """
    margin = item(problem.alpha) * (allowance(problem) + item(slack))
    value = problem.alpha * structure - margin
    value = namespace(value).clip(value, 0.0) if hasattr(value, "shape") else max(value, 0.0)
    if problem.M is not None:
        share = (1 - problem.alpha) * linear
        lost = 4 * EPS * abs(item(share)) + problem.doubt
        value, margin = value + share - lost, margin + lost
    return Bound("lower", value, theorem, margin)


def proved_total(problem: Problem, total: float, theorem: str) -> Bound:
    """Make a lower Bound of a computed lower bound of the whole objective, fused term included.

    The structure part of `total` is off by at most `allowance`.
    """
    margin = problem.alpha * allowance(problem) + 4 * EPS * abs(total)
    value = total - margin
    return Bound("lower", max(value, 0.0) if problem.M is None else value, theorem, margin)
