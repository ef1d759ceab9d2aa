"""The front doors: check -> Problem -> solver -> certificate -> Result."""

from __future__ import annotations

import time
from typing import Any

from gwfast import _check
from gwfast._array import item, namespace
from gwfast.certify import (
    EFFORTS,
    lower_bounds,
    marginal_error,
    one_feature_forms,
    plan_bound,
    round_to_marginals,
)
from gwfast.errors import InputError
from gwfast.plan import Plan
from gwfast.request import Request, make_request
from gwfast.result import Certificate, Result
from gwfast.solvers.solution import Solution
from gwfast.solvers.sorting import best_sorted


def sorted_gw(C1: Any, C2: Any, p: Any = None, q: Any = None, *, M: Any = None, alpha: Any = None) -> Result:
    r"""Gromov-Wasserstein by sorting: the best of a few sorted plans, and every bound that sorting proves.

    .. math:: GW_2^2 = \min_{T \in \Pi(p, q)} \sum_{ijkl} (C_{1,ij} - C_{2,kl})^2 \, T_{ik} T_{jl}

    Parameters
    ----------
    C1, C2 : arrays (n, n) and (m, m), or Space
        Costs between points, symmetric or not, numpy or torch; any unit, the same on both sides.
    p, q : arrays (n,) and (m,), optional
        Weights, summing to 1; uniform by default.
    M : array (n, m), optional
        Feature cost of the fused problem, (1 - alpha) <M, T> + alpha GW.
    alpha : float, optional
        Share of the structure term, in [0, 1]; 0.5 where `M` is given.

    Returns
    -------
    Result
        `value` is the objective of `plan` (the square of a distance); `lower` the largest sorting bound.  For costs
        of the one-feature family (f_i + f_j, u_i u_j with equal signs) the two agree and `gap` is 0.  Torch input
        gives tensors on its device and in its dtype; `value` has the gradient at the fixed plan.

    Raises
    ------
    InputError
        An argument is not as above; the message names it.

    Notes
    -----
    O(n^2 + m^2) time and O(n + m) memory beyond the costs; O(nnz + n log n) for sparse `Gram` spaces of bounded
    row counts.  Theory: docs/theory/sorting.

    References
    ----------
    F. Memoli, Gromov-Wasserstein distances and the metric approach to object matching, 2011.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> f = np.array([0.0, 1.0, 3.0])
    >>> res = gwfast.sorted_gw(f[:, None] + f, 2 * (f[:, None] + f))
    >>> round(res.value, 6), res.gap
    (10.222222, 0.0)
    """
    begin = time.perf_counter()
    request = make_request(C1, C2, p, q, M, alpha)
    family = one_feature_forms(request.problem)
    solution = best_sorted(request.problem, family)
    return _finish(request, solution, "sort", "sorted_gw", begin)


def lower_bound(
    C1: Any, C2: Any, p: Any = None, q: Any = None, *, M: Any = None, alpha: Any = None, effort: str = "rows"
) -> Certificate:
    """Prove lower bounds of the (fused) Gromov-Wasserstein objective, without a plan.

    Parameters
    ----------
    C1, C2, p, q, M, alpha
        As in `sorted_gw`.
    effort : str
        How far to climb the ladder of bounds, one of `gwfast.EFFORTS`.

    Returns
    -------
    Certificate
        Every bound by name; `lower` is the largest.

    Raises
    ------
    InputError
        An argument is not as described; the message names it.

    Notes
    -----
    "sort": O(n^2); "rows": O(n^3) and one linear program, O(n^2) memory.  Theory: docs/theory.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> f = np.array([0.0, 1.0, 3.0])
    >>> gwfast.lower_bound(np.abs(f[:, None] - f), np.zeros((2, 2)), effort="sort").best.theorem
    'mean-std'
    """
    _check.choice(effort, EFFORTS, "effort")
    request = make_request(C1, C2, p, q, M, alpha)
    return request.certificate(Certificate(lower_bounds(request.taped or request.problem, effort)))


def certify(
    C1: Any,
    C2: Any,
    plan: Any,
    p: Any = None,
    q: Any = None,
    *,
    M: Any = None,
    alpha: Any = None,
    effort: str = "rows",
) -> Certificate:
    """Certify anybody's plan: the interval [proved lower bound, objective of the plan] that holds the optimum.

    Parameters
    ----------
    C1, C2, p, q, M, alpha
        As in `sorted_gw`.
    plan : array (n, m) or Plan
        The transport plan, from any library.  Small errors of its marginals (a Sinkhorn plan) are repaired before
        its objective is taken; `marginal_error` says how large they were.
    effort : str
        As in `lower_bound`.

    Returns
    -------
    Certificate

    Raises
    ------
    InputError
        An argument is not as described, or the plan's marginals are not p and q.

    Notes
    -----
    The cost of `lower_bound`, and O(nm (n + m)) for the objective of a dense plan, O(N^2) for one of N atoms.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> C = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> gwfast.certify(C, C, np.eye(2) / 2).gap
    0.0
    """
    _check.choice(effort, EFFORTS, "effort")
    request = make_request(C1, C2, p, q, M, alpha)
    problem = request.problem
    given = _given_plan(plan, request)
    error = marginal_error(problem, given)
    if error > 0.05:
        raise InputError(f"plan: its marginals differ from p and q by up to {error:.3g}; pass the p and q it is for")
    if error > 1e-13:
        given = round_to_marginals(problem, given)
    upper = request.tape(plan_bound(problem, given), given)
    bounds = lower_bounds(request.taped or problem, effort)
    return request.certificate(Certificate(bounds, upper, error))


def _given_plan(plan: Any, request: Request) -> Plan:
    array = plan.toarray() if isinstance(plan, Plan) else plan
    _check.same_library(C1=request.problem.p, plan=array)
    T = _check.matrix(array, "plan", "a matrix (n, m)")
    if tuple(T.shape) != request.shape:
        raise InputError(f"plan: expected shape {request.shape}, found {tuple(T.shape)}")
    xp = namespace(T)
    if item(xp.min(T)) < 0:
        raise InputError(f"plan: expected entries >= 0, found {item(xp.min(T)):.3g}; a plan moves mass")
    if request.rows is not None:
        T = T[request.rows]
    if request.cols is not None:
        T = T[:, request.cols]
    filled = int(xp.sum(xp.astype(T > 0, xp.int64)))
    dense = Plan(request.problem.shape, matrix=T)
    return dense if filled > 2 * sum(T.shape) else Plan(request.problem.shape, *dense.atoms())


def _finish(request: Request, solution: Solution, effort: str, solver: str, begin: float) -> Result:
    problem, plan = request.problem, solution.plan
    upper = request.tape(plan_bound(problem, plan), plan)
    bounds = lower_bounds(request.taped or problem, effort)
    certificate = request.certificate(Certificate(bounds, upper, marginal_error(problem, plan)))
    return Result(
        value=certificate.upper,
        plan=request.plan(plan),
        certificate=certificate,
        stop=solution.stop,
        start=solution.start,
        seconds=time.perf_counter() - begin,
        solver=solver,
        iterations=solution.iterations,
        stationarity=solution.stationarity,
    )
