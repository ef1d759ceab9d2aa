"""The front doors: check -> Problem -> solver -> certificate -> Result.  Long by their docstrings alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from gwfast import checks
from gwfast.anytime import Progress, first_plan, prove
from gwfast.arrays import item
from gwfast.assemble import assembled, finished
from gwfast.bounds.one_feature import forms
from gwfast.budget import MEMORY, UNLIMITED, Budget
from gwfast.certify import repaired
from gwfast.errors import ConvergenceWarning, InputError, warn
from gwfast.heuristics.annealing import loss_scale, schedule_for
from gwfast.heuristics.descent import GIVEN, Descent, best_descent
from gwfast.heuristics.entropic import Entropic, entropic_descent
from gwfast.heuristics.sampled import check_passes, pass_seconds, suits_rows, takes_rows
from gwfast.heuristics.sorting import best_sorted
from gwfast.large.multiscale import METHODS, suits_multiscale, takes_multiscale
from gwfast.marginals import BALANCED, Marginals
from gwfast.memory import check_room
from gwfast.method import EFFORTS, Incumbent
from gwfast.plan import Plan
from gwfast.plan_value import plan_value
from gwfast.policy import POLICY
from gwfast.pot_names import names_ours
from gwfast.presolve import Presolved, presolve, problem_of
from gwfast.problem import Problem
from gwfast.result import Certificate, Result, Stop
from gwfast.schedule import Climb, lower_bounds
from gwfast.spaces.points_value import takes_points

_OFF = 1e-9  # errors of marginals that are worth a note


@names_ours
@np.errstate(all="ignore")
def sorted_gw(
    C1: Any,
    C2: Any = None,
    p: Any = None,
    q: Any = None,
    *,
    M: Any = None,
    alpha: Any = None,
    loss: Any = "square",
    floor: float | None = None,
) -> Result:
    r"""Gromov-Wasserstein by sorting: the best of a few sorted plans, and every bound that sorting proves.

    .. math:: GW_2^2 = \min_{T \in \Pi(p, q)} \sum_{ijkl} (C_{1,ij} - C_{2,kl})^2 \, T_{ik} T_{jl}

    Parameters
    ----------
    C1, C2 : arrays (n, n) and (m, m), or Space
        Costs between points, symmetric or not, numpy or torch; any unit, the same on both sides.  Or one `Problem`
        in the place of all arrays.
    p, q : arrays (n,) and (m,), optional
        Weights, summing to 1; uniform by default.
    M : array (n, m), optional
        Feature cost of the fused problem, (1 - alpha) <M, T> + alpha GW.
    alpha : float, optional
        Share of the structure term, in [0, 1]; 0.5 where `M` is given.
    loss : {"square", "kl", "inner"}
        L(a, b) between two costs: (a - b)^2, a log(a / b) - a + b, or -2 a b.
    floor : float, optional
        With "kl": costs below it are raised to it, on both sides, because the logarithm of the zeros of `C2` is taken;
        POT's is 1e-18.

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
    row counts.  Theory: docs/theory, the bounds by sorting.

    References
    ----------
    F. Memoli, Gromov-Wasserstein distances and the metric approach to object matching, 2011.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> f = np.array([0.0, 1.0, 3.0])
    >>> res = gwfast.sorted_gw(f[:, None] + f, 2 * (f[:, None] + f))
    >>> round(res.value, 6), res.optimal
    (10.222222, True)
    """
    begin = UNLIMITED.now()
    request = presolve(*problem_of(C1, C2, p, q, M, alpha, loss, floor))
    if request.problem.marginals is not BALANCED:
        raise InputError(
            f"C1: found a Problem with {request.problem.marginals.name} plans; sorted_gw matches balanced ones; "
            "call exact_gw"
        )
    found = best_sorted(request.problem, forms(request.problem))
    return finished(request, found, "sort", UNLIMITED, "sorted_gw", begin)


@names_ours
@np.errstate(all="ignore")
def exact_gw(
    C1: Any,
    C2: Any = None,
    p: Any = None,
    q: Any = None,
    *,
    M: Any = None,
    alpha: Any = None,
    loss: Any = "square",
    floor: float | None = None,
    marginals: Marginals | None = None,
    start: Any = None,
    permutations: bool = False,
    rtol: float | None = None,
    effort: str | None = None,
    time_limit: float | None = None,
    memory_limit: float | None = None,
    verbose: bool = False,
    tol: float = 1e-9,
    max_iter: int = 1000,
    method: str = "auto",
) -> Result:
    r"""Un-regularised Gromov-Wasserstein by conditional gradient from an annealed start, with a certified interval.

    .. math:: \min_{T \in \Pi(p, q)} (1 - \alpha) \langle M, T \rangle
              + \alpha \sum_{ijkl} (C_{1,ij} - C_{2,kl})^2 \, T_{ik} T_{jl}

    Parameters
    ----------
    C1, C2, p, q, M, alpha, loss, floor
        As in `sorted_gw`.
    marginals : Balanced, SemiRelaxed, Partial or Unbalanced, optional
        The feasible plans: couplings by default; those with the first marginal p and any second one, without `q`;
        those that carry a given mass within p and q; or all, at a price.  Squared loss only.
    start : array (n, m), Plan or scipy sparse array, optional
        A plan to descend from too (POT's `G0`).  Its marginals are repaired; `notes` says how far they were off, and
        whether it led to the plan that is returned.
    permutations : bool
        Only plans that match points one to one, for n = m points of one mass (graph matching).  Bounds of all couplings
        hold for them; with "prove" and `rtol` the search proves a bound of permutations alone.
    rtol : float, optional
        Relative gap to reach: the plan and the bound are improved in turn, like a mixed-integer solver, until
        (upper - lower) / upper is at most this.  Without it one good plan is found and the cheap bounds are taken.
    effort : str, optional
        How far to climb the ladder of lower bounds, one of `gwfast.EFFORTS`; "prove" where `rtol` is given, otherwise
        "sort", which costs least.
    time_limit : float, optional
        Seconds; the best plan and bound so far are returned.  By default 10 for "dual", 60 for "prove" and for `rtol`.
    memory_limit : float, optional
        Bytes that a bound may take, 4 GiB by default; the reformulation needs about 4 (nm)^2.
    verbose : bool
        Print time, incumbent, bound and gap to stderr after every step.
    tol : float
        Relative Frank-Wolfe gap at which a plan counts as stationary.
    max_iter : int
        Linear programs at most, for each start.
    method : {"auto", "dense", "multiscale"}
        "multiscale" searches from block means to single points, without an (n, m) array: for `PointCloud` with squared
        distances and dense `Gram` spaces, with a `FeatureCost` or none; and for `Rows`, `GraphRows` and `PointCloud`
        with distances, without `M`, along gradients from samples of rows.  "auto" takes it from 1000 x 1000 points on.

    Returns
    -------
    Result
        A stationary plan (a local optimum in practice), its objective, the proved interval, the start it came from
        and its Frank-Wolfe gap.  For uniform weights and n = m permutations are finished by exchanges.  In torch,
        `value` has its gradient in the weights too, where their matches are connected; elsewhere asking for it raises.

    Raises
    ------
    InputError
        An argument is not as described; the message names it.

    Notes
    -----
    O(n m (n + m)) a step and one linear program, O(n^2 + m^2 + nm) memory.  The linear programs run on the host,
    everything else on the device of the input.  With `rtol`, or from "spectral" on, an interruption (Ctrl-C) returns
    the best plan and bounds so far, and `stop` says so.

    References
    ----------
    T. Vayer et al., Optimal transport for structured data with application on graphs, 2019 (conditional gradient).

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> x = np.array([0.0, 1.0, 3.0, 3.5])
    >>> C = np.abs(x[:, None] - x)
    >>> gwfast.exact_gw(C, C[::-1, ::-1]).value
    0.0
    """
    begin = UNLIMITED.now()
    effort = checks.choice(("sort" if rtol is None else "prove") if effort is None else effort, EFFORTS, "effort")
    gap = 0.0 if rtol is None else checks.fraction(rtol, "rtol")
    budget = _budget(effort, time_limit, memory_limit)
    request = presolve(*problem_of(C1, C2, p, q, M, alpha, loss, floor, marginals, True))
    schedule = schedule_for(*request.problem.shape)
    if checks.choice(method, METHODS, "method") == "multiscale" and not (
        suits_multiscale(request.problem) or suits_rows(request.problem)
    ):
        raise InputError(
            'method: "multiscale" takes two PointClouds with metric="sqeuclidean", or two dense Gram spaces, of at '
            "most 128 coordinates, and no M but a FeatureCost; or two symmetric costs of which one is Rows, GraphRows "
            'or a PointCloud with metric="euclidean", and no M; pass such ones, or leave method out'
        )
    by_rows = takes_rows(request.problem, method)
    if by_rows:
        check_passes(request.problem, time_limit)
    sparse = takes_multiscale(request.problem, method) or by_rows
    check_room("exact_gw", request.problem, effort, sparse, POLICY.row_bytes if by_rows else POLICY.point_bytes)
    given, notes = _start(request, start)
    if given is not None and sparse:
        raise InputError('start: a search without (n, m) arrays takes none; leave it out, or pass method="dense"')
    if permutations and not (request.problem.uniform and request.problem.marginals is BALANCED):
        n, m = request.problem.shape
        raise InputError(
            f"permutations: found {n} x {m} points; pass as many points on both sides, all of one mass, or leave it out"
        )
    for_plan = budget.less(_last_pass(request.problem))
    progress = Progress(verbose, begin, request.unit, request.shift)
    tol, max_iter = checks.positive(tol, "tol"), checks.count(max_iter, "max_iter")
    options = Descent(schedule, tol, max_iter, budget=for_plan, method=method, say=progress.say, start=given)
    options = replace(options, permutations=permutations)
    if rtol is None and effort in ("sort", "rows"):
        found = best_descent(request.problem, options)
        result = finished(request, found, effort, budget, "exact_gw", begin)
    else:
        found, bounds = prove(request.problem, effort, gap, budget, options, progress)
        result = assembled(request, found, bounds, "exact_gw", begin)
    notes = (*notes, "plans: only permutations; the interval holds the least value of these") if permutations else notes
    return _noted(result, given, notes)


@names_ours
@np.errstate(all="ignore")
def entropic_gw(
    C1: Any,
    C2: Any = None,
    p: Any = None,
    q: Any = None,
    *,
    epsilon: float = 5e-3,
    relative: bool = False,
    M: Any = None,
    alpha: Any = None,
    loss: Any = "square",
    floor: float | None = None,
    marginals: Marginals | None = None,
    start: Any = None,
    solver: str = "PGD",
    effort: str = "sort",
    time_limit: float | None = None,
    tol: float = 1e-4,
    max_iter: int = 1000,
) -> Result:
    r"""Entropic Gromov-Wasserstein by log-domain Sinkhorn steps, with a certified interval of the un-regularised value.

    .. math:: \min_{T \in \Pi(p, q)} \mathrm{FGW}(T) + \epsilon \sum_{ik} T_{ik} \log T_{ik}

    Parameters
    ----------
    C1, C2, p, q, M, alpha, loss, floor
        As in `sorted_gw`.
    marginals : Balanced, SemiRelaxed, Partial or Unbalanced, optional
        As in `exact_gw`.
    epsilon : float
        Temperature, in units of the squared costs; POT's convention (its gradient carries the factor 2).
    relative : bool
        Whether `epsilon` is a share of the objective of the product coupling (with features, and a quarter of their
        range), so that it does not depend on the unit of the costs.
    start : array (n, m), Plan or scipy sparse array, optional
        A plan to begin from too (POT's `G0`), at the last temperature; as in `exact_gw`.
    solver : {"PGD", "PPA"}
        Mirror descent on the objective above (after six steps at falling temperatures), or proximal point steps
        towards the un-regularised one.
    effort : str
        As in `exact_gw`.
    time_limit : float, optional
        Seconds after which the steps, and the climb of the bounds, stop.
    tol : float
        Stop when the objective changes by less than `tol` of itself and the L1 error of the marginals is below `tol`.
    max_iter : int
        Outer steps at most.

    Returns
    -------
    Result
        `plan` is dense and has the exact marginals; `value` is its un-regularised objective, so the certified
        interval is that of Gromov-Wasserstein itself.  `regularised` is the minimum of the equation above, with its
        gradient in costs and weights, and `potentials` its duals ("PGD" only).  `stop` says
        whether the tolerances were met; a `ConvergenceWarning` says that the iterations ended before.

    Raises
    ------
    InputError
        An argument is not as described; the message names it.

    Notes
    -----
    O(n m (n + m)) a step, O(n m d) for factored spaces, plus O(nm) a scaling; O(nm) memory.

    References
    ----------
    G. Peyre, M. Cuturi, J. Solomon, Gromov-Wasserstein averaging of kernel and distance matrices, 2016 (PGD).
    H. Xu et al., Gromov-Wasserstein learning for graph matching and node embedding, 2019 (PPA).

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> x = np.array([0.0, 1.0, 3.0, 3.5])
    >>> C = np.abs(x[:, None] - x)
    >>> gwfast.entropic_gw(C, C[::-1, ::-1], epsilon=0.1).value < 0.01
    True
    """
    begin = UNLIMITED.now()
    checks.choice(effort, EFFORTS, "effort")
    checks.choice(solver, ("PGD", "PPA"), "solver")
    budget = _budget(effort, time_limit, None)
    options = Entropic(
        checks.positive(epsilon, "epsilon"),
        solver == "PPA",
        checks.positive(tol, "tol"),
        checks.count(max_iter, "max_iter"),
        budget=UNLIMITED if time_limit is None else budget,
    )
    request = presolve(*problem_of(C1, C2, p, q, M, alpha, loss, floor, marginals, True))
    unit = loss_scale(request.problem) if relative else 1 / request.unit
    options = replace(options, epsilon=options.epsilon * unit, exact=request.weights is not None)
    check_room("entropic_gw", request.problem, effort, solver == "PGD" and takes_multiscale(request.problem, "auto"))
    given, notes = _start(request, start)
    if given is not None and takes_multiscale(request.problem, "auto") and solver == "PGD":
        raise InputError("start: found one beside so many points that their plan is no matrix; leave it out")
    found = entropic_descent(request.problem, replace(options, start=given))
    if found.stop is Stop.ITERATIONS:
        told = f"entropic_gw stopped at max_iter={options.max_iter} before its tolerance was met, so its value depends"
        warn(f"{told} on where it stopped; raise epsilon or max_iter", ConvergenceWarning)
    return _noted(finished(request, found, effort, budget, "entropic_gw", begin), given, notes)


@names_ours
@np.errstate(all="ignore")
def lower_bound(
    C1: Any,
    C2: Any = None,
    p: Any = None,
    q: Any = None,
    *,
    M: Any = None,
    alpha: Any = None,
    loss: Any = "square",
    floor: float | None = None,
    marginals: Marginals | None = None,
    effort: str = "rows",
    time_limit: float | None = None,
    memory_limit: float | None = None,
) -> Certificate:
    """Prove lower bounds of the (fused) Gromov-Wasserstein objective; no plan is asked for or handed back.

    Parameters
    ----------
    C1, C2, p, q, M, alpha, loss, floor
        As in `sorted_gw`.
    marginals : Balanced, SemiRelaxed, Partial or Unbalanced, optional
        As in `exact_gw`.
    effort : str
        How far to climb the ladder of bounds, one of `gwfast.EFFORTS`.
    time_limit, memory_limit : float, optional
        As in `exact_gw`.

    Returns
    -------
    Certificate
        Every bound by name, each with what it cost in seconds; `lower` is the largest.

    Raises
    ------
    InputError
        An argument is not as described; the message names it.

    Notes
    -----
    "sort": O(n^2); "rows" and "spectral": O(n^3) and a few linear programs, O(n^2) memory; "dual": quadratic and
    Lagrangian bounds and the level-1 reformulation, O((nm)^2) a sweep; "prove": cones, boxes, trees.  The last two find
    a plan first, as `exact_gw` does: its objective sets their step lengths and their stop, never a bound.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> f = np.array([0.0, 1.0, 3.0])
    >>> gwfast.lower_bound(np.abs(f[:, None] - f), np.zeros((2, 2)), effort="sort").best.theorem
    'mean-std'
    """
    checks.choice(effort, EFFORTS, "effort")
    budget = _budget(effort, time_limit, memory_limit)
    request = presolve(*problem_of(C1, C2, p, q, M, alpha, loss, floor, marginals))
    problem = request.problem
    check_room("lower_bound", problem, effort)
    incumbent = Incumbent()
    if effort in ("dual", "prove"):
        incumbent = first_plan(problem, Descent(schedule_for(*problem.shape), budget=budget))[1]
    climb = Climb(problem, effort, budget, incumbent, taped=request.taped)
    return request.certificate(Certificate(lower_bounds(climb)))


@names_ours
@np.errstate(all="ignore")
def certify(
    C1: Any,
    C2: Any,
    plan: Any,
    p: Any = None,
    q: Any = None,
    *,
    M: Any = None,
    alpha: Any = None,
    loss: Any = "square",
    floor: float | None = None,
    marginals: Marginals | None = None,
    effort: str = "rows",
    time_limit: float | None = None,
    memory_limit: float | None = None,
) -> Certificate:
    """Certify anybody's plan: the interval [proved lower bound, objective of the plan] that holds the optimum.

    Parameters
    ----------
    C1, C2, p, q, M, alpha, loss, floor
        As in `sorted_gw`.
    marginals : Balanced, SemiRelaxed, Partial or Unbalanced, optional
        As in `exact_gw`.
    plan : array (n, m), Plan, or what a solver returned
        The transport plan, from any library: a result of gwfast or of POT (`OTResult`), POT's pair of a plan and its
        log, OTT's output.  Small errors of its marginals (a Sinkhorn plan) are repaired before
        its objective is taken; `marginal_error` says how large they were.
    effort : str
        As in `lower_bound`.
    time_limit, memory_limit : float, optional
        As in `exact_gw`.

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
    Rounding to the marginals: J. Altschuler, J. Weed, P. Rigollet, 2017.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> C = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> gwfast.certify(C, C, np.eye(2) / 2).upper
    0.0
    """
    checks.choice(effort, EFFORTS, "effort")
    request = presolve(*problem_of(C1, C2, p, q, M, alpha, loss, floor, marginals))
    problem = request.problem
    check_room("certify", problem, effort)
    given, error = repaired(problem, request.given(plan))
    upper, inner = request.valued(given).bound, plan_value(problem, given).bound
    budget = _budget(effort, time_limit, memory_limit)
    incumbent = Incumbent(given, item(inner.value), inner.margin)
    climb = Climb(problem, effort, budget, incumbent, taped=request.taped)
    return request.certificate(Certificate(lower_bounds(climb), upper, error))


def _last_pass(problem: Problem) -> float:
    """Seconds kept for the cheap bounds and the value of the plan; those of points need no pair of them."""
    if suits_rows(problem):
        return pass_seconds(problem)
    if takes_points(problem.x, problem.y):
        return POLICY.last_point * sum(problem.shape)
    return POLICY.last_pass * sum(n * n for n in problem.shape)


def _budget(effort: str, time_limit: float | None, memory_limit: float | None) -> Budget:
    default = {"dual": POLICY.seconds_dual, "prove": POLICY.seconds_prove}.get(effort, math.inf)
    seconds = default if time_limit is None else checks.positive(time_limit, "time_limit")
    memory = MEMORY if memory_limit is None else checks.positive(memory_limit, "memory_limit")
    return Budget(memory=memory).within(seconds)


def _start(request: Presolved, start: Any) -> tuple[Plan | None, tuple[str, ...]]:
    """A caller's start on the points of the problem, made feasible, and what is to be said of it."""
    if start is None:
        return None, ()
    plan, error = repaired(request.problem, request.given(start, "start"), "start")
    return plan, (f"start: its marginals were off by up to {error:.2g}, and repaired",) if error > _OFF else ()


def _noted(result: Result, start: Plan | None, notes: tuple[str, ...]) -> Result:
    """The result with its notes, and whether the given start led to it."""
    if start is not None:
        won = result.start.startswith(GIVEN)
        notes = (*notes, "start: it led to this plan" if won else f"start: {result.start} led to a better plan")
    return replace(result, notes=notes)
