"""Search over couplings: fix mass between pairs of points, and bound what is left by the reformulation and the cone."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, replace

import numpy as np

from gwfast.arrays import from_numpy, item
from gwfast.arrays.precision import EPS
from gwfast.bounds.doubly_nonnegative import Cone, cone_seconds
from gwfast.bounds.doubly_nonnegative_dual import outer_cone_cost
from gwfast.bounds.linear import minimum
from gwfast.bounds.rlt1_dual import outer_cost
from gwfast.bounds.rlt1_solver import Reformulation
from gwfast.bounds.scaled import Scaled, scaled
from gwfast.budget import UNLIMITED, Budget
from gwfast.method import Found, Method, Need, Steps, Turn
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound, Stop
from gwfast.spaces.dense import Dense

COUPLING_SEARCH = "coupling-search"


@dataclass(frozen=True, eq=False)
class Rest:
    """What is left of a problem when the plan is at least `fixed`: T = fixed + mass * S, S a coupling of `problem`.

    In the scaled units of the whole problem its objective is constant + factor * (objective of S in `problem`), up to
    `slack`.  `rows` and `cols` are the points that have mass left.
    """

    problem: Problem
    constant: float
    factor: float
    mass: float
    slack: float
    rows: np.ndarray
    cols: np.ndarray


def rest_of(s: Scaled, fixed: np.ndarray) -> Rest:
    """Write the couplings T >= fixed (n, m) as a fused problem of their own; O(n^2 m^2)."""
    n, m = fixed.shape
    row_sums, col_sums = fixed.sum(axis=1), fixed.sum(axis=0)
    room = 4 * (n + m) * EPS
    rows, cols = np.flatnonzero(s.p - row_sums > room * s.p), np.flatnonzero(s.q - col_sums > room * s.q)
    p, q = (s.p - row_sums)[rows], (s.q - col_sums)[cols]
    mass = float(p.sum())
    square = (s.first[:, None, :, None] - s.second[None, :, None, :]) ** 2
    met = np.einsum("ikjl,jl->ik", square, fixed)
    linear = s.features + met + np.einsum("jlik,jl->ik", square, fixed)
    constant = float(np.sum((s.features + met) * fixed))
    x = Dense(s.first[np.ix_(rows, rows)], p / mass)
    y = Dense(s.second[np.ix_(cols, cols)], q / float(q.sum()))
    problem = Problem(x, y, linear[np.ix_(rows, cols)] / mass, 0.5)
    largest = (float(np.abs(s.first).max()) + float(np.abs(s.second).max())) ** 2 + float(np.abs(s.features).max())
    slack = 32 * (n * m + n + m + 16) * EPS * largest / mass
    return Rest(problem, constant, 2 * mass**2, mass, slack, rows, cols)


@dataclass(frozen=True, eq=False)
class Part:
    """Couplings T >= fixed (n, m) with a proved lower bound, scaled, and what else every good one satisfies.

    `limits` (n, m): in a coupling better than the aim, the mass beyond `fixed` is at most this.
    """

    fixed: np.ndarray
    lower: float
    limits: np.ndarray
    weights: tuple[np.ndarray, np.ndarray]


def children(part: Part) -> list[np.ndarray]:
    """Divide a part: masses (n, m) to fix, such that every good coupling of it is above at least one of them.

    Along a row (or column) with mass w left, the pairs outside a set K hold at most the sum of their limits, so that
    some pair of K holds t = (w - that sum) / |K| or more.  The line and the set with the least |K| w / t are taken.
    """
    best: tuple[float, list[tuple[int, int]], float] | None = None
    for by_row in (True, False):
        limits = part.limits if by_row else part.limits.T
        for i, w in enumerate(part.weights[0 if by_row else 1]):
            order = np.argsort(-limits[i], kind="stable")
            outside = np.concatenate([np.cumsum(limits[i, order][::-1])[::-1][1:], [0.0]])
            for size, rest in enumerate(outside, start=1):
                t = (w - rest * (1 + 1e-12)) / size * (1 - 1e-9)
                if t <= 1e-6 * w or t <= 0:
                    continue
                score = size * w / t
                if best is None or score < best[0]:
                    best = score, [(i, k) if by_row else (k, i) for k in order[:size]], t
    if best is None:
        return []
    masses = []
    for i, k in best[1]:
        fixed = part.fixed.copy()
        fixed[i, k] += best[2]
        masses.append(fixed)
    return masses


class CouplingSearch:
    """Branch and bound over couplings, some parts at a time; any weights, n != m, indefinite costs.

    Parameters
    ----------
    problem : Problem
    lower : float
        A bound that is known already.

    Attributes
    ----------
    plan : Plan or None
        The best of the plans that the bounds stand for: a start for local search.
    parts : int
        Parts bounded so far.
    """

    def __init__(self, problem: Problem, lower: float = -math.inf):
        self.problem, self.s = problem, scaled(problem)
        self.known, self.goal = self.s.inside(lower), math.inf
        self.heap: list[tuple[float, int, Part]] = []
        self.done = math.inf  # least bound of what is not divided any more, above no goal
        self.parts, self.plan, self._value = 0, None, math.inf

    def run(self, upper: float, gap: float, budget: Budget = UNLIMITED, parts: int = 2**62) -> Stop | None:
        """Bound parts until the gap to `upper` is closed or a limit is met; None where only `parts` were done."""
        aim, margin = self.s.inside(upper), self.s.margin
        allowed = gap * (1 - 1e-6) * abs(upper) / self.s.scale
        self.goal = aim - max(allowed - 2 * margin, 1e-9 * abs(aim) + 4 * margin)
        if not self.parts:
            self._bound(np.zeros(self.problem.shape), self.known, budget)
        end = self.parts + parts
        while self.heap and self.heap[0][0] < self.goal:
            if budget.expired:
                return Stop.TIME_LIMIT
            if self.parts >= end:
                return None
            lower, order, part = heapq.heappop(self.heap)
            divided = children(part) if self._free(part) >= POLICY.least_mass else []
            if not divided:
                self.done = min(self.done, lower)
            for fixed in divided:
                if budget.expired:  # what the other children hold is bounded by the part alone
                    heapq.heappush(self.heap, (lower, order, part))
                    return Stop.TIME_LIMIT
                self._bound(fixed, lower, budget)
        return Stop.OPTIMAL if self.done >= self.goal else Stop.STALLED

    @property
    def bound(self) -> Bound:
        """Lower bound over all couplings."""
        waiting = self.heap[0][0] if self.heap else math.inf
        low = min(waiting, self.done, self.goal)
        return self.s.lower(max(low, self.known) if self.parts else -math.inf, COUPLING_SEARCH)

    def _free(self, part: Part) -> float:
        return float(part.weights[0].sum())

    def _bound(self, fixed: np.ndarray, inherited: float, budget: Budget) -> None:
        """Bound the part above `fixed`, and keep it where it may hold a better coupling."""
        self.parts += 1
        rest = rest_of(self.s, fixed)
        goal = (self.goal + rest.slack - rest.constant) / rest.factor
        run = Reformulation(rest.problem, goal if goal > 0 else None, budget=replace(budget, deadline=math.inf))
        run.run(POLICY.part_sweeps, budget)
        run.certify()
        lower, cost = run.best.value, None
        if lower < goal:
            cone = Cone(run)
            _climb(cone, goal, budget)
            lower = cone.best.value
            cost = outer_cost(run.scaled, run.dual) if cone.dual is None else outer_cone_cost(run.scaled, cone.dual)
        self._note(fixed, rest, run.plan())
        s = run.scaled
        run.close()
        whole = rest.constant + rest.factor * lower - rest.slack
        if cost is not None and max(whole, inherited) < self.goal:
            limits, weights = np.zeros(fixed.shape), (np.zeros(fixed.shape[0]), np.zeros(fixed.shape[1]))
            limits[np.ix_(rest.rows, rest.cols)] = rest.mass * _limits(s, cost, (goal - lower) / s.scale)
            weights[0][rest.rows], weights[1][rest.cols] = rest.mass * s.p, rest.mass * s.q
            part = Part(fixed, max(whole, inherited), limits, weights)
            heapq.heappush(self.heap, (part.lower, self.parts, part))

    def _note(self, fixed: np.ndarray, rest: Rest, plan: Plan) -> None:
        T = fixed.copy()
        T[np.ix_(rest.rows, rest.cols)] += rest.mass * np.asarray(plan.toarray())
        found = Plan(self.problem.shape, matrix=from_numpy(T, self.problem.p))
        value = item(self.problem.objective(found))
        if value < self._value:
            self.plan, self._value = found, value


def _climb(cone: Cone, goal: float, budget: Budget) -> None:
    """Steps of the cone until the goal is proved, or so little is gained that dividing the part is better."""
    while cone.steps < POLICY.part_steps and not cone.trivial:
        before = cone.best.value
        if not cone.run(POLICY.part_group, budget):
            return
        cone.certify()
        missing = goal - cone.best.value
        if missing <= 0 or (
            cone.steps > 3 * POLICY.part_group and cone.best.value - before < POLICY.part_gain * missing
        ):
            return


def _limits(s: Scaled, cost: np.ndarray, room: float) -> np.ndarray:
    """Most mass (n, m) of each pair in a coupling whose objective exceeds the bound by at most `room`, scaled.

    The bound is min_T <cost, T> less something; a coupling pays the reduced cost of every pair on top of it.
    """
    solution = minimum(cost, s.p, s.q)
    u, v = solution.duals[0][:, None], solution.duals[1][None, :]
    reduced = cost - u - v - 8 * EPS * (np.abs(cost) + np.abs(u) + np.abs(v))
    most = np.minimum(s.p[:, None], s.q[None, :])
    dear = reduced * most > room
    return np.where(dear, room / np.where(dear, reduced, 1.0), most) * (1 + 1e-12)


def _steps(problem: Problem, turn: Turn) -> Steps:
    search, stop = CouplingSearch(problem, turn.incumbent.lower), None
    while stop is None:
        incumbent = turn.incumbent
        before = search.parts
        stop = search.run(incumbent.upper, incumbent.gap, turn.budget, 1)
        turn.spend((search.parts - before) * 2 * cone_seconds(problem))
        yield Found((search.bound,), search.plan, stop)


METHOD = Method(
    "coupling search",
    "prove",
    (COUPLING_SEARCH,),
    _steps,
    suits=lambda problem: problem.shape[0] * problem.shape[1] <= POLICY.coupling_entries,
    need=lambda problem: Need(cone_seconds(problem)),
)
