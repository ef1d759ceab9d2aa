"""The search over rotations for many points: cells are bounded from prices of block means, without n x m numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gwfast.arrays import item
from gwfast.arrays.precision import EPS
from gwfast.bounds.rounding import proved
from gwfast.budget import UNLIMITED, Budget
from gwfast.kernels.boxes import Form as Programs
from gwfast.kernels.rotations import halves, programs, slopes_of
from gwfast.large.prices import block_means, c_transform, dual_value
from gwfast.method import Found, Method, Need, Steps, Turn
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound, Stop
from gwfast.searches.orthogonal import ORTHOGONAL, Frames, diagonal, first_cells
from gwfast.spaces.form import Form
from gwfast.spaces.form_doubt import Doubt, doubted_form
from gwfast.transport import wasserstein_1d

_BLOCKS = 256  # block means of a side
_BATCH = 8  # cells at a time
_FITTED, _REMEMBERED = 0.5, 30  # first guess of a share of what blocks hide, and programs that it is a mean of
_RAISE = 0.02  # share of the value between two targets
_FINEST = 0.01  # half of the edge of cells that are not halved


@dataclass(frozen=True, eq=False)
class _Points:
    """Both forms, their errors, and block means of (effect, points)."""

    x: Form
    y: Form
    dx: Doubt
    dy: Doubt
    first: np.ndarray
    second: np.ndarray

    @property
    def curvature(self) -> float:
        """The factor c of |M|^2 in the half of the objective that plans decide."""
        return 2 * self.x.kappa * self.y.kappa

    @property
    def spread(self) -> float:
        """What rounding of the linear programs is measured in: the mean squares that make them up, twice."""
        sides = (self.x, self.y)
        effects = sum(float(f.p @ f.effect**2) for f in sides)
        return 8 * effects + abs(self.curvature) * sum(float(np.trace(f.moment)) ** 2 for f in sides)


def suits(problem: Problem) -> bool:
    """Whether both spaces are many points of one kind in at most three dimensions, without features."""
    n, m = problem.shape
    return n * m > POLICY.rotation_entries and applies(problem)


def applies(problem: Problem) -> bool:
    """Whether both spaces are points of one kind in at most three dimensions, without features."""
    return _points(problem) is not None


def _points(problem: Problem) -> _Points | None:
    """What the search works on; None for problems that it is no theorem for."""
    if problem.M is not None:
        return None
    first = doubted_form(problem.x)
    second = None if first is None else doubted_form(problem.y)
    if first is None or second is None:
        return None
    (x, dx), (y, dy) = first, second
    if x.kappa != y.kappa or max(x.X.shape[1], y.X.shape[1]) > 3:
        return None
    blocks = min(_BLOCKS, x.n, y.n)
    return _Points(x, y, dx, dy, _means(x, blocks), _means(y, blocks))


def _means(form: Form, blocks: int) -> np.ndarray:
    own = np.column_stack([form.effect, form.X])
    weights = None if (form.p == form.p[0]).all() else form.p
    return block_means(np.ascontiguousarray(form.X), weights, blocks, own)


def _lifts(slope: np.ndarray, points: _Points) -> tuple[np.ndarray, np.ndarray]:
    """Matrices that take (effect, point) of each side to points whose inner product is 4 a b + x' slope y."""
    left, sizes, right = np.linalg.svd(slope, full_matrices=False)
    roots, d, e, k = np.sqrt(sizes), *slope.shape, len(sizes)
    first, second = np.zeros((1 + d, 1 + k)), np.zeros((1 + e, 1 + k))
    first[0, 0] = second[0, 0] = 2.0
    first[1:, 1:], second[1:, 1:] = left * roots, right.T * roots
    # of equal spread: rounding is measured in their product, and a kd tree likes it
    for c in range(1 + k):
        spreads = [
            float(lift[0, c] ** 2 * (f.p @ f.effect**2) + lift[1:, c] @ f.moment @ lift[1:, c])
            for lift, f in ((first, points.x), (second, points.y))
        ]
        if min(spreads) > 0:
            t = (spreads[1] / spreads[0]) ** 0.25
            first[:, c] *= t
            second[:, c] /= t
    return first, second


def _within(points: _Points) -> list[np.ndarray]:
    """Second moments of (effect, points) of both sides within the few blocks."""
    found: list[np.ndarray] = []
    for form, means in zip((points.x, points.y), (points.first, points.second)):
        own = np.column_stack([form.effect, form.X])
        found.append((own.T * form.p) @ own - means.T @ means / len(means))
    return found


def _proof(points: _Points, slope: np.ndarray, prices: np.ndarray) -> float:
    """Proved bound of max_T <4 a b + x' slope y, T>: prices of block means, carried to all by two c-transforms."""
    first, second = _lifts(slope, points)
    A, B = points.first @ first, points.second @ second
    w = -prices - 0.5 * (B * B).sum(axis=1)
    f, at = c_transform(A, B, w)
    U, V = (np.column_stack([z.effect, z.X]) @ lift for z, lift in ((points.x, first), (points.y, second)))
    values, nearest = c_transform(V, A, -f, B[at])
    least = dual_value(U, V, points.x.p, points.y.p, -values, A[nearest])
    squares = sum(float(z.p @ (Z * Z).sum(axis=1)) for z, Z in ((points.x, U), (points.y, V)))
    # the points are off by rounding of their products, and the slope by that of its factors
    return 0.5 * squares - least + 64 * (U.shape[1] + 8) * EPS * (squares + points.spread)


@dataclass(frozen=True, eq=False)
class _Cell:
    """A cell of rotations and what is proved for it."""

    cell: np.ndarray
    proved: float


class RotationSearch:
    """Depth-first search for one share of the value after another.

    A share is proved when all cells are bounded by its limit.  The program of a cell's block means lies below that of
    all points: where it is above the limit the cell is halved without a proof, else its prices are carried to all
    points for one.
    """

    def __init__(self, problem: Problem, points: _Points) -> None:
        self.problem, self.points = problem, points
        x, y = points.x, points.y
        self.frames = Frames(diagonal(x.X, x.p), diagonal(y.X, y.p))
        effects = 2 * float(x.p @ x.effect**2 + y.p @ y.effect**2)
        self.constant = effects + sum(f.kappa**2 * float((f.moment**2).sum()) for f in (x, y))
        matched = effects - 2 * float(wasserstein_1d(x.effect, y.effect, x.p, y.p))  # largest 4 E a b
        self.top = matched + points.curvature * self.frames.trace + 64 * EPS * points.spread
        self.share = math.nan
        self.open = [_Cell(c, self.top) for c in first_cells(self.frames.size, self.frames.rank)]
        self.closed: list[_Cell] = []
        A, B = points.first, points.second
        linear, mass = 4 * np.multiply.outer(A[:, 0], B[:, 0]), np.full(len(A), 1 / len(A))
        self._form = Programs(A[:, 1:].copy(), B[:, 1:].copy(), linear, mass, mass, True, 0.0)
        self._prices, self._within = np.zeros(len(B)), _within(points)
        self._share, self._seen = _FITTED, 1.0  # of what blocks hide that programs of all points gain, on average
        self.cells = self.proofs = 0
        sizes = self.frames.first.min(), self.frames.second.min()
        self.sound = bool(math.isfinite(self.frames.trace) and min(sizes) > 0)

    @property
    def means(self) -> float:
        """Half of the difference of the mean costs, from below."""
        x, y, error = self.points.x, self.points.y, self.points.dx.effect + self.points.dy.effect
        return max(0.0, abs(x.mean - y.mean) * (1 - 8 * EPS) - error)

    def step(self, upper: float, gap: float) -> Stop | None:
        """Look at some cells, or take the next share."""
        if not 0 < upper < math.inf:
            return Stop.STALLED
        total = self.constant + 4 * self.means**2
        if math.isnan(self.share):
            self.share = max(0.0, (total - self.top) / upper)
            return self._next(total, upper, gap)
        if not self.open:
            self.top = min(self.top, max((c.proved for c in self.closed), default=self.top))
            return self._next(total, upper, gap)
        limit, stalled = total - self.share * upper, False
        batch = [self.open.pop() for _ in range(min(_BATCH, len(self.open)))]
        for one, slope, coarse, prices in zip(batch, *self._estimated(batch)):
            hidden, height = self._hidden(slope), one.proved
            if height > limit and coarse + self._share * hidden <= limit:
                self.proofs += 1
                height = _proof(self.points, slope, prices)
                self._share += ((height - coarse) / hidden - self._share) / (self._seen + 1) if hidden > 0 else 0.0
                self._seen, height = min(_REMEMBERED, self._seen + 1), min(one.proved, height)
            if height <= limit:
                self.closed.append(_Cell(one.cell, height))
                continue
            if one.cell[5] <= _FINEST or len(self.open) + len(self.closed) > POLICY.boxes:
                self.closed.append(_Cell(one.cell, height))
                stalled = True
                continue
            self.open += [_Cell(part, height) for part in halves(one.cell, self.frames.size)]
        if stalled:
            self.top = min(self.top, max(c.proved for c in self.open + self.closed))
        return Stop.STALLED if stalled else None

    def _next(self, total: float, upper: float, gap: float) -> Stop | None:
        """The next share, with the closed cells that it opens."""
        last = 1 - gap
        if self.share >= last:
            return Stop.GAP_REACHED
        proved = (total - self.top) / upper
        self.share = min(last, max(self.share, proved) + _RAISE)
        limit = total - self.share * upper
        self.open += [c for c in self.closed if c.proved > limit]
        self.closed = [c for c in self.closed if c.proved <= limit]
        return None

    def _estimated(self, batch: list[_Cell]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Slopes of cells, the programs of block means, each from the prices of the last one, and the prices."""
        outer = self.points.curvature * self.frames.outer
        slopes, _ = slopes_of(np.array([one.cell for one in batch]), self.frames.size, outer, np.zeros_like(outer))
        prices, shape = np.empty((len(batch), len(self._prices))), self._form.linear.shape
        heights = programs(self._form, slopes, self._prices, prices, np.full(1, np.inf), np.empty(shape))
        self._prices = prices[-1]
        self.cells += len(batch)
        return slopes, heights, prices

    def _hidden(self, slope: np.ndarray) -> float:
        """What the program of all points may have beyond that of block means: the spreads within blocks."""
        sizes = [
            math.sqrt(max(0.0, float(np.einsum("ac,ab,bc", lift, within, lift))))
            for lift, within in zip(_lifts(slope, self.points), self._within)
        ]
        return sizes[0] * sizes[1]

    def bound(self) -> Bound:
        """What is proved so far."""
        dx, dy = self.points.dx, self.points.dy
        x, y = self.points.x, self.points.y
        rest = self.constant - self.top if self.sound else 0.0
        # residues of the centring and errors of the second moments, which the constant is made of
        moved = sum(2 * f.kappa**2 * d.moment * float(np.trace(f.moment)) for f, d in ((x, dx), (y, dy)))
        moved += 8 * (dx.effect + dy.effect) * (math.sqrt(self.constant) + dx.effect + dy.effect)
        total = 4 * self.means**2 + max(0.0, rest - 4 * moved)
        root = max(0.0, math.sqrt(total) - dx.cost - dy.cost)
        return proved(self.problem, root**2, ORTHOGONAL)


def rotation_search(
    problem: Problem, gap: float = 0.0, upper: float = math.inf, budget: Budget = UNLIMITED
) -> Bound | None:
    r"""Bound the objective between many points in space from below, by a search over rotations.

    The inequality of `gwfast.searches.orthogonal` without its correction by the nuclear norm.  The linear program of a
    cell, :math:`\max_T E_T[4 a b + x' G y]`, is a transport between lifted points.  It is bounded by prices of block
    means that two c-transforms carry to all points.

    Parameters
    ----------
    problem : Problem
        Two squared Euclidean `PointCloud` spaces or two dense `Gram` spaces in at most three dimensions; any weights,
        n != m, no features.
    gap : float
        Stop when the bound is this near, relatively, to `upper`.
    upper : float
        Objective of a plan.
    budget : Budget

    Returns
    -------
    Bound or None
        None for other problems.  O((n + m) log n) time a cell, O((n + m) d) memory.

    References
    ----------
    docs/theory/orthogonal_bound.md.
    """
    points = _points(problem)
    if points is None:
        return None
    search, longest = RotationSearch(problem, points), 0.0
    while search.sound:
        before = budget.now()
        if search.step(upper, gap) is not None:
            break
        longest = max(longest, budget.now() - before)
        if not budget.fits(longest):
            break
    return search.bound()


def _cell(problem: Problem) -> float:
    """Seconds of eight cells."""
    return 8 * (2e-5 * sum(problem.shape) + 0.01)


def _steps(problem: Problem, turn: Turn) -> Steps:
    points = _points(problem)
    if points is None:
        return
    search, longest = RotationSearch(problem, points), 0.0
    while search.sound:
        before = turn.budget.now()
        incumbent = turn.incumbent
        stop = search.step(item(incumbent.upper), max(incumbent.gap, POLICY.least_gap))
        longest = max(longest, turn.budget.now() - before)
        turn.spend(_cell(problem))
        if stop is None and not turn.budget.fits(longest):
            stop = Stop.TIME_LIMIT
        yield Found((search.bound(),), None, stop)


METHOD = Method(
    "rotations",
    "prove",
    (ORTHOGONAL,),
    _steps,
    suits=suits,
    settles=suits,  # nothing else does more for so many points
    need=lambda problem: Need(_cell(problem)),
    lean=True,
)
"""The search of `orthogonal` where its matrices do not fit."""
