"""The level-1 reformulation-linearisation bound in coupling form."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from gwfast.bounds.pace import seconds_of_sweeps, seconds_to_begin
from gwfast.bounds.rlt1_dual import REFORMULATION, ReformulationDual
from gwfast.bounds.rlt1_solver import Reformulation, memory
from gwfast.budget import UNLIMITED, Budget
from gwfast.kernels.row_blocks import OutOfTime
from gwfast.method import Found, Method, Need, Steps, Turn
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound, Stop

__all__ = [
    "REFORMULATION",
    "Reformulation",
    "ReformulationDual",
    "ReformulationResult",
    "drive",
    "memory",
    "reformulation_bound",
]


@dataclass(frozen=True, eq=False)
class ReformulationResult:
    """What `reformulation_bound` hands back.

    Attributes
    ----------
    bound : Bound
    dual : ReformulationDual
        Verifies the bound again without the solver.
    plan : Plan
        Coupling of the last state.
    sweeps : int
    seconds : float
    stop : Stop
    """

    bound: Bound
    dual: ReformulationDual
    plan: Plan
    sweeps: int
    seconds: float
    stop: Stop


def reformulation_bound(
    problem: Problem,
    upper: float | None = None,
    gap: float = 0.0,
    budget: Budget = UNLIMITED,
    sweeps: int = 2000,
    backend: ModuleType | None = None,
) -> ReformulationResult | None:
    r"""Lower bound of the objective by the level-1 reformulation-linearisation of couplings.

    The least <Q, Y> over Y_ik,jl >= 0, Y symmetric, with sum_l Y_ik,jl = p_j (Y 1)_ik, sum_j Y_ik,jl = q_l (Y 1)_ik
    and total mass one; vec(T) vec(T)' is feasible for every coupling T.  Solved in part, and proved from the dual
    as it stands.  At convergence never below the bounds by rows.  Any weights, n != m, asymmetric costs, features.

    Parameters
    ----------
    problem : Problem
    upper : float, optional
        Objective of the best plan known: sets the step length, and with `gap` the stop.  Never enters the proof.
    gap : float
        Stop when (upper - bound) / upper is at most this.
    budget : Budget
        No sweep is begun that would not end before its deadline.
    sweeps : int
        Most sweeps.
    backend : module
        `gwfast.kernels.rlt1`, or `gwfast.kernels.rlt1_torch` for a GPU.

    Returns
    -------
    ReformulationResult or None
        None where `memory(problem)`, about 4 (nm)^2 bytes, exceeds that of the budget.  O(n^2 m^2) a sweep.

    References
    ----------
    Adams and Johnson 1994 for permutations; docs/theory for couplings and the certificate.
    """
    if memory(problem) > budget.memory:
        return None
    begin = budget.now()
    run = Reformulation(problem, upper, backend=backend, budget=budget)
    stop = drive(run, upper, gap, budget, sweeps) or Stop.TIME_LIMIT
    result = ReformulationResult(run.best, run.dual, run.plan(), run.sweeps, budget.now() - begin, stop)
    run.close()
    return result


def drive(
    run: Reformulation, upper: float | None, gap: float, budget: Budget, sweeps: int, groups: int = 1 << 62
) -> Stop | None:
    """Sweep and certify in turn until something stops it; None after some groups, when it may be called again.

    The certificates take about a tenth of the time.  Where there is room for it before the deadline, the inner
    problems of the best dual are solved at the end.  What would end late is not begun; what is late is given up.
    A pause changes nothing in what is computed: runs that no deadline cuts give the same numbers every time.
    """
    allowed = budget.left
    run.budget = budget
    try:
        if allowed > 0:
            run.begin()
        if budget.limited:
            run.budget = budget.less(-POLICY.grace - POLICY.grace_share * max(allowed, 0.0))
        return _turns(run, upper, gap, budget, sweeps, groups, allowed)
    except OutOfTime:
        return Stop.TIME_LIMIT


def _turns(
    run: Reformulation, upper: float | None, gap: float, budget: Budget, sweeps: int, groups: int, allowed: float
) -> Stop | None:
    pace, s = run.pace, run.scaled
    while True:
        stop = _reached(run, upper, gap)
        polish = POLICY.polish * pace.certificate
        worth_polishing = pace.certificate > 0 and allowed > 4 * polish
        until = budget.less(polish) if worth_polishing else budget
        left = until.left
        if stop is None and run.sweeps >= sweeps:
            stop = Stop.ITERATIONS
        if stop is None and not pace.fits(left):
            stop = Stop.TIME_LIMIT
        if stop is None and pace.flat >= POLICY.flat_groups:
            stop = Stop.STALLED
        if stop is not None:
            finished = stop in (Stop.OPTIMAL, Stop.GAP_REACHED)
            if not finished and run.sweeps and worth_polishing and not budget.expired:
                run.polish(budget.less(pace.reserve))
                stop = _reached(run, upper, gap) or stop
            return stop
        if groups <= 0:
            return None
        groups -= 1
        before = run.best.value
        group = pace.group(POLICY.sweeps if run.sweeps else POLICY.first_sweeps, left)
        done = run.run(min(group, sweeps - run.sweeps), until)
        run.certify(exact=False)
        if done >= POLICY.first_sweeps:
            # in balanced costs: the objective may be a large constant and little else
            reached = s.inside(run.best.value)
            grown = run.best.value - before > s.scale * (1e-7 * abs(reached) + s.margin)
            pace.flat = 0 if grown or reached <= 0 else pace.flat + 1
            if pace.flat and pace.flat % (POLICY.flat_groups // 4) == 0 and pace.flat < POLICY.flat_groups:
                run.change_step(POLICY.shorten)


def _reached(run: Reformulation, upper: float | None, gap: float) -> Stop | None:
    if run.trivial:
        return Stop.OPTIMAL
    if upper is not None and upper - run.best.value <= max(gap * abs(upper), 2 * run.best.margin):
        return Stop.GAP_REACHED
    return None


def _steps(problem: Problem, turn: Turn) -> Steps:
    run = Reformulation(problem, turn.incumbent.target, budget=turn.budget)
    group = seconds_of_sweeps(problem.shape[0] * problem.shape[1], POLICY.sweeps)
    try:
        stop = None
        while stop is None:
            incumbent = turn.incumbent
            stop = drive(run, incumbent.target, incumbent.gap, turn.budget, 1_000_000, 1)
            turn.spend(group)
            yield Found((run.best,), run.plan(), stop)
    finally:
        run.close()


METHOD = Method(
    "reformulation",
    "dual",
    (REFORMULATION,),
    _steps,
    need=lambda problem: Need(seconds_to_begin(problem.shape[0] * problem.shape[1]), memory(problem)),
    duals={REFORMULATION: ReformulationDual},
)
