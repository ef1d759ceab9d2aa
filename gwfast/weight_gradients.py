"""Derivatives of an optimal value in the weights: the potentials of the linear step at its plan."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gwfast.arrays import Array, detach, from_numpy, to_numpy
from gwfast.features import FeatureCost
from gwfast.losses import SQUARE
from gwfast.losses.squared import squared
from gwfast.marginals import BALANCED
from gwfast.plan import Plan
from gwfast.problem import Problem
from gwfast.transport import solve_linear

_STATIONARY = 1e-7  # Frank-Wolfe gap, beside the scale of the objective
_LIGHT = 1e-9  # an atom lighter than this share of its points joins nothing

Potentials = tuple[Array, Array]


def optimal_potentials(problem: Problem, plan: Plan) -> Potentials | str:
    """Potentials (n,) and (m,) of the linear program at a plan of the squared loss, or why the value has no gradient.

    They are unique up to a constant where the plan is stationary and its support is connected: then the value has the
    derivative u' dp + v' dq at fixed means of squares.  One linear program.
    """
    if problem.marginals is not BALANCED:
        return f"gwfast differentiates the value of couplings, not of {problem.marginals.name} plans"
    if not plan.is_stored or isinstance(problem.M, FeatureCost):
        return "the plan is not stored, or the features are no matrix"
    host = problem.hosted()
    T = to_numpy(plan.toarray())
    p, q = np.asarray(host.p), np.asarray(host.q)
    rows, cols = np.nonzero(_LIGHT * np.minimum(p[:, None], q[None, :]) < T)
    n, m = problem.shape
    graph = coo_array((np.ones(len(rows)), (rows, n + cols)), shape=(n + m, n + m))
    parts = connected_components(graph, directed=False, return_labels=False)
    if parts > 1:
        return (
            f"the matches of the plan fall into {parts} parts, so that the value has a kink in the weights here; "
            "use weights in general position, or entropic_gw and its regularised value"
        )
    cost = host.gradient(T)
    found = solve_linear(cost, p, q)
    gap = float((cost * T).sum()) - found.lower
    if not gap <= _STATIONARY * (host.alpha * host.size + float(np.abs(cost).max())):
        return "the plan is not stationary; raise max_iter"
    return tuple(from_numpy(dual, problem.p) for dual in found.duals)  # pyright: ignore[reportReturnType]


def weighed(problem: Problem, p: Array, q: Array, potentials: Potentials) -> Array:
    """A function of the weights p and q that has the gradient of the optimal value of the squared loss at them.

    u' p + v' q, plus E C1^2 + E C2^2, which the potentials leave out.
    """
    u, v = (detach(potential) for potential in potentials)
    total = u @ p + v @ q
    for space, w in ((problem.x, p), (problem.y, q)):
        cost = space.dense()
        total = total + problem.alpha * (w @ (cost * cost) @ w)
    return total


def weighed_constant(problem: Problem, p: Array, q: Array) -> Array:
    """The number between a loss and its squared one, as a function of the weights."""
    if problem.loss is SQUARE:
        return 0 * p[0]
    return problem.alpha * squared(problem.loss, problem.x.weighted(p), problem.y.weighted(q)).constant
