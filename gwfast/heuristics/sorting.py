"""Plans by sorting one number a point: the closed form, and a start for the others."""

from __future__ import annotations

from collections.abc import Iterator

from gwfast.arrays import Array, item
from gwfast.bounds.one_feature import OneFeature
from gwfast.method import Found
from gwfast.plan import Plan
from gwfast.problem import Problem
from gwfast.result import Stop
from gwfast.transport import sorted_atoms


def sorted_plan(problem: Problem, f: Array, g: Array) -> Plan:
    """Plan that matches the features `f` (n,) and `g` (m,) in order; O((n + m) log(n + m))."""
    return Plan(problem.shape, *sorted_atoms(f, g, problem.p, problem.q))


def candidates(problem: Problem) -> Iterator[tuple[str, Plan]]:
    """Sorted plans by row mean, row standard deviation and root mean square (columns too where they differ)."""
    sides = [("row", problem)] if problem.symmetric else [("row", problem), ("column", problem.T)]
    for side, oriented in sides:
        a, b = oriented.x.moments, oriented.y.moments
        yield f"sorted {side} means", sorted_plan(problem, a.mean, b.mean)
        yield f"sorted {side} standard deviations", sorted_plan(problem, a.std, b.std)
        yield f"sorted {side} root mean squares", sorted_plan(problem, a.rms, b.rms)


def one_feature_plans(problem: Problem, x: OneFeature, y: OneFeature) -> Iterator[tuple[str, Plan]]:
    """The two sorted plans of the one-feature family, one of which is optimal for coefficients of like sign."""
    yield "the one-feature form", sorted_plan(problem, x.f, y.f)
    yield "the one-feature form, reversed", sorted_plan(problem, x.f, -y.f)


def best_sorted(problem: Problem, family: tuple[OneFeature, OneFeature] | None = None) -> Found:
    """Return the sorted plan of least objective.

    Parameters
    ----------
    problem : Problem
    family : pair of OneFeature, optional
        The costs in one-feature form where they have one; adds its two plans.

    Returns
    -------
    Found
        O(n^2) a candidate for n atoms.
    """
    plans = list(candidates(problem))
    if family is not None:
        plans += one_feature_plans(problem, *family)
    values = [item(problem.objective(plan)) for _, plan in plans]
    best = min(range(len(plans)), key=values.__getitem__)
    start, plan = plans[best]
    return Found(plan=plan, stop=Stop.CLOSED_FORM, start=start)
