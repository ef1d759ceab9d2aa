"""Global search for points of low dimension: branch and bound over the cross moment of a plan."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gwfast.arrays import from_numpy, to_numpy
from gwfast.bounds.scaled import Scaled, scaled
from gwfast.budget import UNLIMITED, Budget
from gwfast.kernels.boxes import Boxes, Form, box_bound, cut, explore
from gwfast.method import Found, Method, Steps, Turn
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound, Stop
from gwfast.spaces.form import points_of
from gwfast.spaces.point_cloud import PointCloud
from gwfast.transport import is_uniform, sorted_atoms

LOW_DIMENSION = "low-dimension"


@dataclass(frozen=True, eq=False)
class MomentForm:
    """A problem as constant - 2 max_T [ <linear, T> + curvature |X' T Y|^2 ], in scaled units.

    Attributes
    ----------
    X, Y : arrays (n, d), (m, e)
        Points centred under the weights, along principal axes.
    linear : array (n, m)
    constant, curvature : float
    """

    X: np.ndarray
    Y: np.ndarray
    linear: np.ndarray
    constant: float
    curvature: float


def _centred(points: np.ndarray, weights: np.ndarray, root: float) -> tuple[np.ndarray, np.ndarray]:
    """Points about their mean along principal axes, and the mean in these axes, times `root`; idle axes dropped."""
    mean = weights @ points
    left = weights @ (points - mean)  # the rounding of the first mean is of the size of the points
    x, mean = points - mean - left, mean + left
    _, sizes, axes = np.linalg.svd(np.sqrt(weights)[:, None] * x, full_matrices=False)
    axes = axes[sizes > 0] if (sizes > 0).any() else axes[:1]
    return root * (x @ axes.T), root * (axes @ mean)


def both_points(problem: Problem) -> tuple[np.ndarray, np.ndarray] | None:
    """Points of both spaces where they are of one kind and of low dimension."""
    x, y = problem.x, problem.y
    if type(x) is not type(y):
        return None
    first, second = points_of(x), points_of(y)
    if first is None or second is None or min(first.shape) * min(second.shape) > 4 * POLICY.moment_entries:
        return None
    return first, second


def suits(problem: Problem) -> bool:
    """Whether `low_dimension_search` may have an answer; O(1) for points and dense factors."""
    return both_points(problem) is not None


def settles(problem: Problem) -> bool:
    """Whether the cross moment has so few numbers that the boxes go to the optimum."""
    points = both_points(problem)
    return points is not None and min(points[0].shape) * min(points[1].shape) <= POLICY.settled_entries


def moment_form(problem: Problem, s: Scaled) -> MomentForm | None:
    """Write a problem between two squared Euclidean clouds or two Gram spaces in moment form; None for others."""
    host = problem.hosted()
    points = both_points(host)
    if points is None:
        return None
    roots = [(problem.alpha**0.5 / s.scale**0.5 * b) ** 0.5 for b in (s.balance, 1 / s.balance)]
    (X, mean_x), (Y, mean_y) = (_centred(z, w, root) for z, w, root in zip(points, (s.p, s.q), roots))
    second = float(s.p @ s.first**2 @ s.p + s.q @ s.second**2 @ s.q)
    if isinstance(host.x, PointCloud):
        a, b = (X * X).sum(axis=1), (Y * Y).sum(axis=1)
        total_a, total_b = float(s.p @ a), float(s.q @ b)
        linear = 2 * np.multiply.outer(a - total_a, b - total_b)
        return MomentForm(X, Y, linear - s.features / 2, second - 8 * total_a * total_b, 4.0)
    # |F T G'|^2 with F = X + mean: the mean adds a linear term; axes that were dropped carry no spread, only means
    whole = roots[0] * (s.p @ points[0]), roots[1] * (s.q @ points[1])
    linear = 2 * np.multiply.outer(X @ mean_x, Y @ mean_y)
    constant = second - 2 * float(whole[0] @ whole[0]) * float(whole[1] @ whole[1])
    return MomentForm(X, Y, linear - s.features / 2, constant, 1.0)


@dataclass(frozen=True, eq=False)
class LowDimensionResult:
    """What the search found and proved: a plan, a bound over all couplings, cuts (linear programs) and boxes."""

    plan: Plan
    bound: Bound
    cuts: int
    boxes: int
    seconds: float
    stop: Stop


class _Search:
    """The arrays of the search: cuts, a ring of prices, and a heap of boxes."""

    def __init__(self, form: MomentForm, s: Scaled):
        self.form, self.s = form, s
        m = form.linear.shape[1]
        size = form.X.shape[1] * form.Y.shape[1]
        self.size = size
        self.host = Form(form.X, form.Y, form.linear, s.p, s.q, is_uniform(s.p, s.q), form.curvature)
        self.state = Boxes(
            slopes=np.empty((POLICY.cuts, size)),
            heights=np.empty(POLICY.cuts),
            prices=np.zeros((max(2, min(POLICY.cuts, POLICY.prices // m)), m)),
            lows=np.empty((POLICY.boxes, size)),
            highs=np.empty((POLICY.boxes, size)),
            warm=np.zeros(POLICY.boxes, np.int64),
            keys=np.empty(POLICY.boxes),
            ids=np.zeros(POLICY.boxes, np.int64),
            free=np.arange(POLICY.boxes - 1, -1, -1),
            counts=np.array([0, POLICY.boxes, 0, 0]),
            values=np.array([-math.inf, -math.inf]),
            plan=np.multiply.outer(s.p, s.q),
        )
        self.floor, self.boxes = s.margin, 8

    def cut(self, slope: np.ndarray, last: int) -> np.ndarray:
        """Solve the linear program of a slope, warm from the prices of cut `last`; return its cross moment."""
        state, at = self.state, int(self.state.counts[2])
        flow, moment = np.empty(self.form.linear.shape), np.empty(self.size)
        prices = state.prices[at % len(state.prices)]
        prices[:] = state.prices[last % len(state.prices)]
        height, value = cut(self.host, slope, prices, flow, moment)
        state.slopes[at % POLICY.cuts], state.heights[at % POLICY.cuts] = slope, height
        state.counts[2] += 1
        if value > state.values[0]:
            state.values[0] = value
            state.plan[:] = flow
        return moment

    def climb(self, moment: np.ndarray, budget: Budget, steps: int = 30) -> None:
        """Local search: linearise at the moment, solve, repeat while the value grows and there is time."""
        for _ in range(steps):
            if budget.expired:
                break
            before = self.state.values[0]
            moment = self.cut(2 * self.form.curvature * moment, int(self.state.counts[2]) - 1)
            if self.state.values[0] <= before:
                break

    def starts(self, count: int, budget: Budget) -> None:
        """Rotations of the principal axes, then local search from the best."""
        rng = np.random.default_rng(0)
        d, e = self.form.X.shape[1], self.form.Y.shape[1]
        spread_x = np.sqrt(self.s.p @ self.form.X**2)
        spread_y = np.sqrt(self.s.q @ self.form.Y**2)
        ends = [self.cut(np.zeros(self.size), 0)]
        for _ in range(count):
            if budget.expired:
                break
            frame = np.linalg.qr(rng.normal(size=(max(d, e), max(d, e))))[0][:d, :e]
            before = self.state.values[0]
            slope = 2 * self.form.curvature * spread_x[:, None] * frame * spread_y[None, :]
            moment = self.cut(slope.ravel(), int(self.state.counts[2]) - 1)
            if self.state.values[0] > before:
                ends.append(moment)
        for moment in ends[-3:]:
            self.climb(moment, budget)

    def root(self) -> None:
        """The first box: it holds the cross moment of every coupling, by sorted products of the coordinates."""
        s, e = self.s, self.form.Y.shape[1]
        for t in range(self.size):
            x, y = self.form.X[:, t // e], self.form.Y[:, t % e]
            room = s.unit * math.sqrt(float((s.p @ x**2) * (s.q @ y**2)))
            for corner, sign in ((self.state.lows, -1), (self.state.highs, 1)):
                i, k, mass = sorted_atoms(x, sign * y, s.p, s.q)
                corner[0, t] = float(mass @ (x[i] * y[k])) + sign * room
        known = int(self.state.counts[2])
        self.state.counts[:2] = 1, POLICY.boxes - 1
        state = self.state
        state.keys[0] = box_bound(
            state.lows[0], state.highs[0], state.slopes, state.heights, known, self.form.curvature, -math.inf
        )

    def run(self, gap: float, budget: Budget, slices: int = 1 << 62) -> Stop | None:
        """Search in slices until the gap is reached or the time is up; None after some slices.

        A slice has twice the boxes of the one before, and fewer where a deadline is near.
        """
        while slices > 0:
            if budget.expired:
                return Stop.TIME_LIMIT
            begin, used = budget.now(), self.boxes
            status = explore(self.host, self.state, self.form.constant, gap, self.floor, self.boxes)
            if status:
                return (Stop.GAP_REACHED, Stop.ITERATIONS, Stop.STALLED)[status - 1]
            taken = budget.now() - begin
            self.boxes = min(2 * self.boxes, POLICY.slice_boxes)
            # boxes take longer as more cuts are known
            while self.boxes > 1 and budget.limited and taken * self.boxes > 1.5 * used * budget.left:
                self.boxes //= 2
            slices -= 1
        return None

    def top(self) -> float:
        """Proved upper bound of the maximum over all couplings."""
        waiting = self.state.keys[0] if self.state.counts[0] else -math.inf
        return float(max(waiting, self.state.values.max()))


def low_dimension_search(
    problem: Problem, start: Plan | None = None, gap: float = 1e-3, budget: Budget = UNLIMITED
) -> LowDimensionResult | None:
    r"""Minimise the objective over couplings of points of low dimension, with a proof.

    For squared Euclidean distances or inner products the objective is ``constant - 2 [<linear, T> + c |M|^2]`` with
    the cross moment M = X' T Y of few entries.  For every slope theta and every box that holds M::

        <linear, T> + c |M|^2 <= max_T <linear + X theta Y', T> + max_{M in box} (c |M|^2 - theta . M),

    one linear program and one maximum per entry.  Boxes are bounded by all slopes met so far, then by the one at
    their centre, and halved along their widest edge.

    Parameters
    ----------
    problem : Problem
        Two `PointCloud` spaces with squared distances or two `Gram` spaces, product of ranks at most 9; any
        weights, n != m, features.
    start : Plan, optional
        A plan to improve first.
    gap : float
        Stop when (value - bound) / value is at most this.
    budget : Budget

    Returns
    -------
    LowDimensionResult or None
        None for other problems.  One linear program a box; boxes grow exponentially with the product of ranks.

    References
    ----------
    Ryner, Kronqvist, Karlsson 2023, for cuts on polytopes instead of boxes.
    """
    begin = budget.now()
    search = _begun(problem, start, budget)
    if search is None:
        return None
    stop = search.run(gap, budget) or Stop.TIME_LIMIT
    cuts, boxes = int(search.state.counts[2]), int(search.state.counts[3])
    return LowDimensionResult(_plan(problem, search), _bound(search), cuts, boxes, budget.now() - begin, stop)


def _begun(problem: Problem, start: Plan | None, budget: Budget) -> _Search | None:
    """A search after its starts, with its first box; None for other problems."""
    s = scaled(problem)
    form = moment_form(problem, s)
    if form is None or form.X.shape[1] * form.Y.shape[1] > POLICY.moment_entries:
        return None
    search = _Search(form, s)
    for_climb, for_starts = budget.slice(0.25), budget.slice(0.5)
    if start is not None:
        T = to_numpy(start.toarray())
        search.climb((form.X.T @ T @ form.Y).ravel(), for_climb)
    search.starts(min(40, 2 * search.size**2) if search.size > 1 else 0, for_starts)
    search.root()
    return search


def _plan(problem: Problem, search: _Search) -> Plan:
    rows, cols = np.nonzero(search.state.plan)
    return Plan(problem.shape, *(from_numpy(z, problem.p) for z in (rows, cols, search.state.plan[rows, cols])))


def _bound(search: _Search) -> Bound:
    # the moments are sums like those of the costs, with a few more steps
    return search.s.lower(search.form.constant - 2 * search.top(), LOW_DIMENSION, 8 * search.s.margin)


def _steps(problem: Problem, turn: Turn) -> Steps:
    search, stop = _begun(problem, turn.incumbent.plan, turn.budget), None
    n, m = problem.shape
    program, cuts = 2e-10 * n * m * (n + m) + 1e-5, 0  # seconds of a warm linear program, on a slow machine
    while search is not None and stop is None:
        stop = search.run(max(turn.incumbent.gap, POLICY.least_gap), turn.budget, 1)
        turn.spend((int(search.state.counts[2]) - cuts) * program + POLICY.piece)
        cuts = int(search.state.counts[2])
        yield Found((_bound(search),), _plan(problem, search), stop)


METHOD = Method("low dimension", "prove", (LOW_DIMENSION,), _steps, suits=suits, settles=settles)
