"""The search over rotations for many points: cells are bounded from prices of block means, without n x m numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from gwfast.arrays import item
from gwfast.arrays.precision import EPS
from gwfast.bounds.rounding import proved
from gwfast.bounds.stored_dual import usable
from gwfast.budget import UNLIMITED, Budget
from gwfast.kernels.boxes import Form as Programs
from gwfast.kernels.rotations import halves, programs, slopes_of
from gwfast.method import Found, Method, Need, Steps, Turn
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound, Stop
from gwfast.searches.orthogonal import ORTHOGONAL, Frames, diagonal, first_cells
from gwfast.searches.rotation_points import RotationPoints, lifts, points_of, proof, suits, within
from gwfast.transport import wasserstein_1d

_BATCH = 8  # cells at a time
_FITTED, _REMEMBERED = 0.5, 30  # first guess of a share of what blocks hide, and programs that it is a mean of
_RAISE = 0.02  # share of the value between two targets
_FINEST = 0.01  # half of the edge of cells that are not halved


@dataclass(eq=False)
class _Node:
    """A cell in the tree of halved ones, with the prices that prove its bound, where it has one of its own."""

    prices: np.ndarray | None = None
    parts: list[_Node] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Cell:
    """A cell of rotations and what is proved for it."""

    cell: np.ndarray
    proved: float
    node: _Node = field(default_factory=_Node)


@dataclass(frozen=True, eq=False)
class RotationDual:
    """The tree of halved cells and the prices of block means that bound some of them: any numbers prove a bound.

    Attributes
    ----------
    kinds : array (N,)
        Of the nodes, parents before children: 1 where it has prices, plus 2 where it is halved.
    prices : array (P, blocks)
        Prices, in the order of the nodes that have some.
    scale : float
        1: prices are in the units of the problem.
    """

    kinds: np.ndarray
    prices: np.ndarray
    scale: float = 1.0

    @classmethod
    def of(cls, roots: list[_Node], blocks: int) -> RotationDual:
        """The dual of a search."""
        kinds, prices, waiting = list[int](), list[np.ndarray](), roots[::-1]
        while waiting:
            node = waiting.pop()
            kinds.append((node.prices is not None) + 2 * bool(node.parts))
            if node.prices is not None:
                prices.append(node.prices)
            waiting += node.parts[::-1]
        return cls(np.array(kinds, np.float64), np.array(prices, np.float64).reshape(len(prices), blocks))

    def verify(self, problem: Problem) -> Bound:
        """Prove the bound again: the tree covers all rotations, and each of its ends has a proved bound above it.

        As many transforms of all points as there are prices.  InputError where the sizes are those of other spaces.
        """
        points = points_of(problem)
        if points is None:
            return Bound("lower", -math.inf, ORTHOGONAL)
        blocks, arrays = len(points.second), None
        search = RotationSearch(problem, points)
        if len(self.prices) > 0 and len(self.kinds) > 0:
            wanted = {"kinds": (self.kinds, (len(self.kinds),)), "prices": (self.prices, (len(self.prices), blocks))}
            arrays = usable(ORTHOGONAL, wanted, self.scale)
        if arrays is not None and search.sound:
            search.top = min(search.top, self._height(search, arrays["kinds"], arrays["prices"]))
        return search.bound()

    def _height(self, search: RotationSearch, kinds: np.ndarray, prices: np.ndarray) -> float:
        """The largest bound of the ends of the tree; a node that is missing has that of its parent."""
        waiting, heights, used = search.open[::-1], list[float](), 0
        for kind in kinds:
            if not waiting:
                break
            one = waiting.pop()
            height = one.proved
            if int(kind) & 1 and used < len(prices):
                height = min(height, proof(search.points, search.slopes([one])[0], prices[used]))
                used += 1
            if int(kind) & 2:
                waiting += [_Cell(part, height) for part in halves(one.cell, search.frames.size)][::-1]
            else:
                heights.append(height)
        return max(heights + [one.proved for one in waiting])


class RotationSearch:
    """Depth-first search for one share of the value after another.

    A share is proved when all cells are bounded by its limit.  The program of a cell's block means lies below that of
    all points: where it is above the limit the cell is halved without a proof, else its prices are carried to all
    points for one.
    """

    def __init__(self, problem: Problem, points: RotationPoints) -> None:
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
        self.roots, self.dual = [c.node for c in self.open], None
        A, B = points.first, points.second
        linear, mass = 4 * np.multiply.outer(A[:, 0], B[:, 0]), np.full(len(A), 1 / len(A))
        self._form = Programs(A[:, 1:].copy(), B[:, 1:].copy(), linear, mass, mass, True, 0.0)
        self._prices, self._within = np.zeros(len(B)), within(points)
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
            self._lowered(max((c.proved for c in self.closed), default=self.top))
            return self._next(total, upper, gap)
        limit, stalled = total - self.share * upper, False
        batch = [self.open.pop() for _ in range(min(_BATCH, len(self.open)))]
        for one, slope, coarse, prices in zip(batch, *self._estimated(batch)):
            hidden, height = self._hidden(slope), one.proved
            if height > limit and coarse + self._share * hidden <= limit:
                self.proofs += 1
                height = proof(self.points, slope, prices.astype(np.float32).astype(np.float64))
                if height < one.proved:
                    one.node.prices = prices.astype(np.float32)
                self._share += ((height - coarse) / hidden - self._share) / (self._seen + 1) if hidden > 0 else 0.0
                self._seen, height = min(_REMEMBERED, self._seen + 1), min(one.proved, height)
            if height <= limit:
                self.closed.append(_Cell(one.cell, height, one.node))
                continue
            if one.cell[5] <= _FINEST or len(self.open) + len(self.closed) > POLICY.boxes:
                self.closed.append(_Cell(one.cell, height, one.node))
                stalled = True
                continue
            parts = [_Cell(part, height) for part in halves(one.cell, self.frames.size)]
            one.node.parts = [part.node for part in parts]
            self.open += parts
        if stalled:
            self._lowered(max(c.proved for c in self.open + self.closed))
        return Stop.STALLED if stalled else None

    def _lowered(self, top: float) -> None:
        """Take a lower bound of all cells, and the tree that proves it."""
        if top < self.top:
            self.top, self.dual = top, RotationDual.of(self.roots, len(self._prices))

    def slopes(self, batch: list[_Cell]) -> np.ndarray:
        """Slopes of the linear programs that bound some cells."""
        outer = self.points.curvature * self.frames.outer
        return slopes_of(np.array([one.cell for one in batch]), self.frames.size, outer, np.zeros_like(outer))[0]

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
        slopes = self.slopes(batch)
        prices, shape = np.empty((len(batch), len(self._prices))), self._form.linear.shape
        heights = programs(self._form, slopes, self._prices, prices, np.full(1, np.inf), np.empty(shape))
        self._prices = prices[-1]
        self.cells += len(batch)
        return slopes, heights, prices

    def _hidden(self, slope: np.ndarray) -> float:
        """What the program of all points may have beyond that of block means: the spreads within blocks."""
        sizes = [
            math.sqrt(max(0.0, float(np.einsum("ac,ab,bc", lift, inner, lift))))
            for lift, inner in zip(lifts(slope, self.points), self._within)
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
        return replace(proved(self.problem, root**2, ORTHOGONAL), dual=self.dual)


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
    points = points_of(problem)
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
    points = points_of(problem)
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
    duals={ORTHOGONAL: RotationDual},
)
"""The search of `orthogonal` where its matrices do not fit."""
