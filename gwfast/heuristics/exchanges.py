"""Two-exchange finish for plans that are permutations."""

from __future__ import annotations

import numpy as np

from gwfast.arrays import from_numpy, to_numpy
from gwfast.budget import UNLIMITED, Budget
from gwfast.heuristics.products import Products
from gwfast.marginals import BALANCED
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.problem import Problem


def two_exchange(problem: Problem, plan: Plan, most: int, budget: Budget = UNLIMITED) -> Plan | None:
    """Improve a permutation by swapping pairs of targets, each swap the best one for its point.

    Parameters
    ----------
    problem : Problem
        With uniform weights and n = m; nothing is done otherwise.
    plan : Plan
    most : int
        Swaps at most.
    budget : Budget
        Before its deadline the swaps are expected to end; fewer are done, or none.

    Returns
    -------
    Plan or None
        None where no swap helps or the plan is no permutation.  O(n^2) a sweep and a swap; on the host.
    """
    if plan.is_dense or not problem.uniform or plan.mass.shape[0] != problem.x.n or problem.marginals is not BALANCED:
        return None
    n = problem.shape[0]
    if budget.limited:
        left = budget.left - POLICY.program * n * n  # the products take about as long as a linear program
        most = min(most, int(left / (POLICY.swap * n * n)))
        if most <= 0:
            return None
    from gwfast.kernels.swaps import exchange

    host = problem.hosted()
    here = Plan(plan.shape, to_numpy(plan.rows), to_numpy(plan.cols), to_numpy(plan.mass))
    products = Products(host, single=False)
    image = np.ascontiguousarray(products.image(here))
    back = image if host.symmetric else np.ascontiguousarray(products.back(here))
    target = np.empty(plan.shape[0], dtype=np.int64)
    target[here.rows] = here.cols
    linear = np.zeros_like(image) if host.M is None else (1 - host.alpha) * host.M
    tol = 1e-12 * (host.size + abs(float(linear.max())))
    costs = np.ascontiguousarray(host.x.dense()), np.ascontiguousarray(host.y.dense())
    back = back.copy()  # the kernel writes to both
    if exchange(*costs, target, image, back, np.ascontiguousarray(linear), host.alpha, tol, most) == 0:
        return None
    return Plan.from_permutation(from_numpy(target, problem.p), problem.p)
