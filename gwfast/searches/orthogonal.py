"""Search over rotations for the cross moment of points: two searches share its cells, so they stand together."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from gwfast.arrays import from_numpy, to_numpy
from gwfast.arrays.precision import EPS
from gwfast.bounds.scaled import Scaled, scaled
from gwfast.budget import UNLIMITED, Budget
from gwfast.kernels.boxes import Form
from gwfast.kernels.rotations import halves, programs, slopes_of
from gwfast.method import Found, Method, Need, Steps, Turn
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound, Stop
from gwfast.searches import low_dimension
from gwfast.searches.low_dimension import MomentForm, moment_form
from gwfast.transport import is_uniform

ORTHOGONAL = "orthogonal-bound"

_FAR, _CLOSE = 1.015, 1.003  # of a bound of the nuclear norm over its largest value seen: where it may wait, and ends
_NEAR = 0.06  # what a nuclear norm less than the rank takes off, above which its search pays

Oracle = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Slopes (k, d, e) and prices (m,) to start from -> proved upper bounds (k,) of max_T <linear + X slope Y', T> over
couplings, and the prices (k, m) that prove them."""


@dataclass(frozen=True, eq=False)
class Frames:
    r"""What bounds the cross moment M = X' T Y of every coupling: M = A K B with \|K\| <= 1.

    Attributes
    ----------
    first, second : arrays (d,), (e,)
        Diagonals of A and B: A^2 and B^2 are above the second moments of the points.
    size : int
        max(d, e): the size of the orthogonal matrices.
    rank : int
        min(d, e): the number of singular values of K.
    """

    first: np.ndarray
    second: np.ndarray

    @property
    def size(self) -> int:
        """Size of the orthogonal matrices."""
        return max(len(self.first), len(self.second))

    @property
    def rank(self) -> int:
        """Number of singular values of K."""
        return min(len(self.first), len(self.second))

    @property
    def outer(self) -> np.ndarray:
        """The numbers a_i b_j."""
        return np.multiply.outer(self.first, self.second)

    @property
    def least(self) -> float:
        """The number that the singular values of A^2 K B^2 are at least, over those of K."""
        return float(self.first.min() * self.second.min()) ** 2

    @property
    def trace(self) -> float:
        r"""Largest possible sum of the singular values of A^2 K B^2."""
        a, b = (np.sort(z)[::-1][: self.rank] for z in (self.first, self.second))
        return float(a**2 @ b**2)


def diagonal(X: np.ndarray, p: np.ndarray) -> np.ndarray:
    """A diagonal (d,) whose square is above the second moments of points (n, d), by Gershgorin's circles."""
    moment = (X.T * p) @ X
    spread = float(np.trace(moment))
    return np.sqrt(np.abs(moment).sum(axis=1) + 4 * (len(p) + 8) * EPS * spread) * (1 + 8 * EPS)


def frames_of(form: MomentForm, s: Scaled) -> Frames:
    """Diagonals A and B for the points of a form."""
    return Frames(diagonal(form.X, s.p), diagonal(form.Y, s.q))


@dataclass
class Cells:
    """Cells of rotations by their bounds, the largest first.

    Attributes
    ----------
    size : int
        Of the orthogonal matrices.
    oracle : Oracle
    waiting : list of arrays (6,)
        Cells without a bound of their own yet.
    ceiling : float
        A bound of all of them.
    prices : array (slots, m)
        A ring of prices to start from.
    heap : list
        (-bound, number, cell, slot of its prices, the offset that it was bounded with).
    count : int
        Cells bounded so far.
    closed : float
        Largest bound of the cells that were good enough.
    seen : float
        Largest linear program of a centre without its cosine: what no search goes below.
    """

    size: int
    oracle: Oracle
    waiting: list[np.ndarray]
    ceiling: float
    prices: np.ndarray
    heap: list[tuple[float, int, np.ndarray, int, float]] = field(
        default_factory=lambda: list[tuple[float, int, np.ndarray, int, float]]()
    )
    count: int = 0
    closed: float = -math.inf
    seen: float = -math.inf

    @property
    def top(self) -> float:
        """Proved bound over all rotations."""
        open_ = -self.heap[0][0] if self.heap else -math.inf
        return min(self.ceiling, max(open_, self.closed, self.ceiling if self.waiting else -math.inf))

    @property
    def full(self) -> bool:
        """Whether no more cells fit."""
        return len(self.heap) + 8 > POLICY.boxes

    def step(self, outer: np.ndarray, inner: np.ndarray, offset: float, enough: float) -> bool:
        """Bound some cells that wait, or the parts of the top one; False where nothing is left to do.

        A cell whose bound is at most `enough` is closed.
        """
        bound, slot = self.ceiling, 0
        if self.waiting:
            cells = np.array(self.waiting[:8])
            del self.waiting[:8]
            slot = self.count % len(self.prices)
        elif self.heap and self.heap[0][2][5] > 0:
            negative, _, cell, slot, _ = heapq.heappop(self.heap)
            cells, bound = halves(cell, self.size), -negative
        else:
            return False
        slopes, cosines = slopes_of(cells, self.size, outer, inner)
        heights, prices = self.oracle(slopes, self.prices[slot])
        self.seen = max(self.seen, float((heights * cosines).max()))
        for cell, height, price in zip(cells, heights, prices):
            key = min(bound, float(height) + offset) if height == height else bound
            self.count += 1
            if key <= enough:
                self.closed = max(self.closed, key)
                continue
            slot = self.count % len(self.prices)
            self.prices[slot] = price
            heapq.heappush(self.heap, (-key, self.count, cell, slot, offset))
        return True


def first_cells(size: int, rank: int) -> list[np.ndarray]:
    """Cells that cover all orthogonal matrices; rotations are enough where d and e differ."""
    signs = (1.0, -1.0) if size == rank else (1.0,)
    if size == 1:
        return [np.array([sign, 0.0, 0.0, 0.0, 0.0, 0.0]) for sign in signs]
    if size == 2:
        eighth = math.pi / 4
        return [np.array([s, 0.0, k * eighth, 0.0, 0.0, eighth / 2 + 1e-9]) for s in signs for k in range(8)]
    corners = [(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]
    return [np.array([sign, face, *corner, 0.5]) for sign in signs for face in range(4) for corner in corners]


class _Search:
    """Both searches over rotations: the nuclear norm of K, and the objective."""

    def __init__(self, form: MomentForm, s: Scaled):
        self.form, self.s, self.frames = form, s, frames_of(form, s)
        self.best, self.plan = np.zeros(1), np.multiply.outer(s.p, s.q)  # the product plan has E x y' = 0
        self.best[0] = float(np.vdot(form.linear, self.plan))
        frames, (n, m) = self.frames, form.linear.shape
        self.sound = math.isfinite(frames.trace)
        uniform = is_uniform(s.p, s.q)
        host = Form(form.X, form.Y, form.linear, s.p, s.q, uniform, form.curvature)
        ring = max(2, min(POLICY.boxes, POLICY.prices // m))
        ends, _ = self._solve(host, self.best, self.plan)(np.zeros((1, *frames.outer.shape)), np.zeros(m))
        ceiling = float(ends[0]) + form.curvature * frames.trace
        cells = first_cells(frames.size, frames.rank)
        self.main = Cells(frames.size, self._solve(host, self.best, self.plan), cells, ceiling, np.zeros((ring, m)))
        bare = Form(form.X, form.Y, np.zeros((n, m)), s.p, s.q, uniform, 0.0)
        nuclear = self._solve(bare, np.zeros(1), np.empty((n, m)))
        cells, ring = first_cells(frames.size, frames.rank), max(2, ring // 8)
        self.nuclear = Cells(frames.size, nuclear, cells, float(frames.rank), np.zeros((ring, m)))
        self.useful = self.sound and frames.size > 1 and frames.first.min() > 0 and frames.second.min() > 0
        self.open, self.turn = self.useful, 0

    @staticmethod
    def _solve(form: Form, best: np.ndarray, plan: np.ndarray) -> Oracle:
        def solve(slopes: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            prices = np.empty((len(slopes), len(start)))
            return programs(form, slopes, start, prices, best, plan), prices

        return solve

    def refined(self) -> tuple[np.ndarray, float]:
        r"""The correction that a bound t of the nuclear norm of K allows: its slope, over the frame, and its offset.

        With the whole part f of t and the singular values k of K, the sum of k (1 - k) is at least
        (1 - t + f)(\|K\|_* - f).
        """
        frames, most = self.frames, self.nuclear.top * (1 + 1e-13)
        if not self.useful or most >= frames.rank:
            return np.zeros_like(frames.outer), 0.0
        whole = math.floor(most)
        share = self.form.curvature * frames.least * max(0.0, 1 - most + whole)
        return share / frames.outer, share * whole

    def enough(self, gap: float) -> float:
        """The bound under which a cell is closed."""
        best, constant = float(self.best[0]), self.form.constant
        return best + max(0.5 * gap * abs(constant - 2 * best), self.s.margin)

    def step(self, gap: float) -> Stop | None:
        """One step of one of both searches."""
        enough, frames = self.enough(gap), self.frames
        if not self.main.waiting and self.main.top <= enough:
            return Stop.GAP_REACHED
        if self.main.full:
            return Stop.ITERATIONS
        if self.open and self.main.count >= POLICY.rotation_cells:
            self.turn += 1
            # the nuclear norm goes first while it is far off, then beside
            if (self.turn % 8 > 0) if self.nuclear.top > _FAR * self.nuclear.seen else (self.turn % 3 == 0):
                self._step_nuclear()
                return None
        inner, offset = self.refined()
        if not self.main.waiting and self._fine(offset):
            if not self.open:
                return Stop.STALLED
            self._step_nuclear()
            return None
        outer = self.form.curvature * frames.outer
        return None if self.main.step(outer, inner, offset, enough) else Stop.STALLED

    def _step_nuclear(self) -> None:
        """Bound the nuclear norm of K further, as long as that is worth its time."""
        outer, least = 1 / self.frames.outer, self._nuclear_norm()
        if least > self.frames.rank - _NEAR:
            self.open = False
            return
        self.nuclear.seen = max(self.nuclear.seen, least)
        enough = _CLOSE * self.nuclear.seen
        going = self.nuclear.step(outer, np.zeros_like(outer), 0.0, enough)
        settled = not self.nuclear.waiting and self.nuclear.top <= enough
        self.open = going and not settled and not self.nuclear.full

    def _nuclear_norm(self) -> float:
        """The nuclear norm of K for the best plan."""
        K = (self.form.X.T @ self.plan @ self.form.Y) / self.frames.outer
        return float(np.linalg.svd(K, compute_uv=False).sum())

    def improve(self, plan: Plan | None) -> None:
        """Local search from a plan."""
        if plan is not None:
            moment = self.form.X.T @ to_numpy(plan.toarray()) @ self.form.Y
            self.main.oracle(2 * self.form.curvature * moment[None], np.zeros(self.form.linear.shape[1]))

    def _fine(self, offset: float) -> bool:
        """Whether a smaller top cell would prove nothing more."""
        if not self.main.heap:
            return True
        half, used = self.main.heap[0][2][5], self.main.heap[0][4]
        lost = 1.5 * half * half * (3 if self.frames.size == 3 else 0.5) * self.form.curvature * self.frames.trace
        small = lost <= 2e-4 * abs(self.form.constant - 2 * float(self.best[0]))
        return half == 0 or (small and used >= 0.98 * offset)

    def bound(self) -> Bound:
        """What is proved so far."""
        value = self.form.constant - 2 * self.main.top if self.sound else -math.inf
        return self.s.lower(value, ORTHOGONAL, 16 * self.s.margin)


@dataclass(frozen=True, eq=False)
class OrthogonalResult:
    """What the search found and proved: a plan, a bound over all couplings, cells, the bound of the nuclear norm."""

    plan: Plan
    bound: Bound
    cells: int
    nuclear: float
    seconds: float
    stop: Stop


def suits(problem: Problem) -> bool:
    """Whether both spaces are points of one kind in at most three dimensions."""
    n, m = problem.shape
    both = low_dimension.both_points(problem)
    return both is not None and max(min(z.shape) for z in both) <= 3 and n * m <= POLICY.rotation_entries


def settles(problem: Problem) -> bool:
    """Whether the cross moment has too many numbers for the boxes of `low_dimension`."""
    return suits(problem) and not low_dimension.settles(problem)


def orthogonal_search(problem: Problem, gap: float = 1e-3, budget: Budget = UNLIMITED) -> OrthogonalResult | None:
    r"""Bound the objective between points in space from below, by a search over rotations.

    The objective is ``constant - 2 [<linear, T> + c |M|^2]`` with the cross moment M = X' T Y.  Let A and B be roots
    of the second moments, K = A^-1 M B^-1, of norm at most 1, and N = A M B.  Then

    .. math:: |M|^2 = \langle N, K \rangle \le |N|_* - \lambda \sum_i k_i (1 - k_i), \qquad
       |N|_* = \max_O \langle N, O \rangle \le \langle N, R \rangle / \cos t

    over orthogonal O, for any R within an angle t of the best one; k are the singular values of K and lambda is the
    least eigenvalue of A^2 times that of B^2.  Cells of rotations are bounded by one linear program each, and halved,
    the largest first.  The same search bounds :math:`|K|_*`, and with it the sum from below.

    Parameters
    ----------
    problem : Problem
        Two squared Euclidean `PointCloud` spaces or two `Gram` spaces in at most three dimensions; any weights,
        n != m, features.
    gap : float
        Stop when (value - bound) / value is at most this.
    budget : Budget

    Returns
    -------
    OrthogonalResult or None
        None for other problems.  One linear program a cell; the bound does not converge to the optimum.

    References
    ----------
    docs/theory/orthogonal_bound.md.
    """
    begin = budget.now()
    search = _begun(problem)
    if search is None:
        return None
    stop, longest = None, 0.0
    while stop is None:
        before = budget.now()
        stop = search.step(gap)
        longest = max(longest, budget.now() - before)
        if stop is None and not budget.fits(longest):
            stop = Stop.TIME_LIMIT
    cells = search.main.count + search.nuclear.count
    return OrthogonalResult(
        _plan(problem, search), search.bound(), cells, search.nuclear.top, budget.now() - begin, stop
    )


def _begun(problem: Problem) -> _Search | None:
    if not suits(problem):
        return None
    s = scaled(problem)
    form = moment_form(problem, s)
    return None if form is None else _Search(form, s)


def _plan(problem: Problem, search: _Search) -> Plan:
    rows, cols = np.nonzero(search.plan)
    return Plan(problem.shape, *(from_numpy(z, problem.p) for z in (rows, cols, search.plan[rows, cols])))


def _program(problem: Problem) -> float:
    """Seconds of a warm linear program, on a slow machine."""
    n, m = problem.shape
    return 2e-10 * n * m * (n + m) + 1e-5


def _steps(problem: Problem, turn: Turn) -> Steps:
    search = _begun(problem)
    if search is None:
        return
    search.improve(turn.incumbent.plan)
    seconds = 8 * _program(problem)
    steps = max(1, int(10 * POLICY.piece / seconds))
    longest = 0.0
    while True:
        stop = None
        for _ in range(steps):
            before = turn.budget.now()
            stop = search.step(max(turn.incumbent.gap, POLICY.least_gap))
            longest = max(longest, turn.budget.now() - before)
            turn.spend(seconds)
            if stop is not None or not turn.budget.fits(longest):
                break
        if stop is None and not turn.budget.fits(longest):
            stop = Stop.TIME_LIMIT
        yield Found((search.bound(),), _plan(problem, search), stop)


METHOD = Method(
    "orthogonal",
    "prove",
    (ORTHOGONAL,),
    _steps,
    suits=suits,
    settles=settles,
    need=lambda problem: Need(8 * _program(problem)),
)
"""Points in space: what the boxes of `low_dimension` cannot exclude."""
