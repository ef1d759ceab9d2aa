"""A fused Gromov-Wasserstein problem, and the objective of a plan, written once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from gwfast.arrays import Array, detach, item, namespace, row_block, to_numpy
from gwfast.plan import Plan
from gwfast.spaces.gram import Gram
from gwfast.spaces.space import Space

_DIRECT = 30_000  # atoms up to which the sum over pairs of atoms is taken even where a factored form exists
_RECOUNT = 10_000  # atoms of a dense plan up to which the sum is taken where its expanded form cancels
_CANCELLED = 1e-6  # share of the costs below which the margin of an expanded form could hide the objective


@dataclass(frozen=True, eq=False)
class Problem:
    """Two weighted spaces and an optional feature cost.

    The objective of a plan T is, in POT's convention,

        (1 - alpha) <M, T> + alpha sum_ijkl (C1_ij - C2_kl)^2 T_ik T_jl.

    Attributes
    ----------
    x, y : Space
        The two spaces, with weights (n,) and (m,).
    M : array (n, m) or None
        Feature cost.
    alpha : float
        Weight of the Gromov-Wasserstein term; 1 without `M`.
    """

    x: Space
    y: Space
    M: Array = None
    alpha: float = 1.0

    @property
    def p(self) -> Array:
        """Weights (n,) of the first space."""
        return self.x.weights

    @property
    def q(self) -> Array:
        """Weights (m,) of the second space."""
        return self.y.weights

    @property
    def shape(self) -> tuple[int, int]:
        """(n, m)."""
        return self.x.n, self.y.n

    @property
    def symmetric(self) -> bool:
        """Whether both costs are symmetric."""
        return self.x.symmetric and self.y.symmetric

    @property
    def T(self) -> Problem:
        """The same problem with both costs transposed; every plan has the same objective."""
        return Problem(self.x.T, self.y.T, self.M, self.alpha)

    def normalised(self) -> tuple[Problem, float]:
        """The same problem with an objective of the order of 1, for solvers in single precision, and its factor.

        The factor is a power of 16, so nothing is rounded; problems near 1 already are returned as they are.
        """
        scale = self.alpha * self.size
        if self.M is not None:
            scale += (1 - self.alpha) * item(namespace(self.M).max(namespace(self.M).abs(self.M)))
        if scale == 0 or 1e-6 < scale < 1e6:
            return self, 1.0
        root = 2.0 ** -round(math.log2(scale) / 4)
        M = None if self.M is None else self.M * root**4
        return Problem(self.x.scaled(root), self.y.scaled(root), M, self.alpha), root**4

    def detached(self) -> Problem:
        """The same problem cut from torch's gradient tape."""
        M = None if self.M is None else detach(self.M)
        return Problem(self.x.detached(), self.y.detached(), M, item(self.alpha))

    def hosted(self) -> Problem:
        """The same problem in host memory, as numpy arrays: for linear programs and compiled kernels."""
        M = None if self.M is None else to_numpy(self.M)
        return Problem(self.x.hosted(), self.y.hosted(), M, self.alpha)

    @cached_property
    def size(self) -> float:
        """E C1^2 + E C2^2 under p x p and q x q: the scale that rounding margins are measured in."""
        return item(self.x.moments.second) + item(self.y.moments.second)

    @cached_property
    def scale(self) -> float:
        """What counts as rounding is measured in: alpha (v1 + v2) + (1 - alpha) (max M - min M).

        v is the variance of a cost off its diagonal, less that of rows and columns: an offset of all costs, of rows, of
        columns or of the diagonal is no part of it, but for what rounding leaves.
        """
        alpha = item(self.alpha)
        scale = alpha * (_spread(self.x) + _spread(self.y) + 1e-15 * self.size)
        if self.M is None:
            return scale
        xp = namespace(self.M)
        return scale + (1 - alpha) * (item(xp.max(self.M)) - item(xp.min(self.M)))


def _spread(space: Space) -> float:
    """Variance of a cost, less that of its row and column means, with the diagonal that adds nothing to it."""
    xp, p, moments, diagonal = namespace(space.weights), space.weights, space.moments, space.diagonal()
    if space.n < 4 or item(xp.max(p)) > 0.49:  # rows, columns and diagonal fit any three points, and a heavy one
        return 0.0
    # the diagonal d solves d = mean + comean - total, of the cost that has it
    mean, comean = moments.mean - p * diagonal, moments.comean - p * diagonal
    wanted = mean + comean - p @ mean
    left = 1 - 2 * p
    shared = (p * p / left) @ wanted / (1 + xp.sum(p * p / left))
    fitted = (wanted - shared) / left
    mean, comean = mean + p * fitted, comean + p * fitted
    second = moments.second + (p * p) @ (fitted**2 - diagonal**2)
    return max(item(second - p @ mean**2 - p @ comean**2 + (p @ mean) ** 2), 0.0)


def objective(problem: Problem, plan: Plan) -> Array:
    """Objective of `plan` in float64.

    Sums squared differences over pairs of atoms, which cannot cancel: O(N^2) time for N atoms, O(N) memory
    beyond blocks.  Dense plans use c - 2 <T, C1 T C2'>, O(n m (n + m)); two Gram spaces with very many atoms
    use ``|H1 T H2'|^2``.  Where these cancel to below a millionth, and the atoms are few enough, the sum is taken.

    Parameters
    ----------
    problem : Problem
    plan : Plan

    Returns
    -------
    0-d array of the library of the problem.
    """
    value = structure(problem, plan)[0]
    if problem.M is None:
        return value
    return (1 - problem.alpha) * features(problem, plan) + problem.alpha * value


def features(problem: Problem, plan: Plan) -> Array:
    """Return <M, T> of a plan, O(N) for N atoms."""
    xp = namespace(problem.M)
    if plan.is_dense:
        return xp.sum(problem.M * plan.matrix)
    return problem.M[plan.rows, plan.cols] @ plan.mass


def structure(problem: Problem, plan: Plan) -> tuple[Array, bool]:
    """Gromov-Wasserstein part of the objective, and whether it is a sum of squares, which cannot cancel."""
    if plan.is_dense:
        value = _expanded(problem, plan.matrix)
    elif plan.mass.shape[0] > _DIRECT and isinstance(problem.x, Gram) and isinstance(problem.y, Gram):
        value = _factored(problem.x, problem.y, plan)
    else:
        return _pairs(problem.x, problem.y, plan), True
    if item(value) <= _CANCELLED * problem.size:
        rows, cols, mass = plan.atoms()
        if mass.shape[0] <= _RECOUNT:
            return _pairs(problem.x, problem.y, Plan(plan.shape, rows, cols, mass)), True
    return namespace(problem.p).clip(value, 0.0), False  # a sum of squares, that cancellation may leave below 0


def differences(x: Space, y: Space, plan: Plan) -> Iterator[tuple[Array, Array]]:
    """Blocks of pairs of atoms: the masses (r,) of the first ones, and C1 - C2 (r, N) between them and all."""
    xp, w = namespace(plan.mass), plan.mass
    step = row_block(w.shape[0])
    whole = w.shape[0] == x.n and bool(xp.all(plan.rows == xp.arange(x.n, device=w.device)))
    for start in range(0, w.shape[0], step):
        part = slice(start, start + step)
        first = x.rows(start, min(x.n, start + step)) if whole else x.gather(plan.rows[part], plan.rows)
        yield w[part], first - y.gather(plan.cols[part], plan.cols)


def _pairs(x: Space, y: Space, plan: Plan) -> Array:
    """Sum over pairs of atoms of w_s w_t (C1 - C2)^2, in blocks of rows."""
    total = namespace(plan.mass).zeros_like(plan.mass[0])
    for w, gap in differences(x, y, plan):
        total = total + w @ ((gap * gap) @ plan.mass)
    return total


def _expanded(problem: Problem, plan: Array) -> Array:
    # the plan has the marginals p and q to rounding: every plan that reaches this point was made to
    constant = problem.x.moments.second + problem.y.moments.second
    return constant - 2 * namespace(plan).sum(plan * product(problem, plan))


def product(problem: Problem, plan: Array) -> Array:
    """C1 @ plan @ C2' (n, m), through the factors of the spaces where they have some."""
    xp = namespace(plan)
    half = xp.matrix_transpose(problem.y.times(xp.matrix_transpose(plan)))
    return problem.x.times(half)


def gradient(problem: Problem, plan: Array) -> Array:
    """Gradient (n, m) of the objective at a dense coupling, up to terms that no coupling sees."""
    image = product(problem, plan)
    back = image if problem.symmetric else product(problem.T, plan)
    return linearised(problem, image, back)


def linearised(problem: Problem, image: Array, back: Array) -> Array:
    """Gradient -2 alpha (C1 T C2' + C1' T C2) + (1 - alpha) M from the two products (n, m)."""
    cost = -2 * problem.alpha * (image + back)
    return cost if problem.M is None else cost + (1 - problem.alpha) * problem.M


def _factored(x: Gram, y: Gram, plan: Plan) -> Array:
    h1, h2 = x.factor[:, plan.rows], y.factor[:, plan.cols]
    inner = (h1 * plan.mass[None, :]) @ h2.T
    square = inner.multiply(inner).sum() if hasattr(inner, "multiply") else namespace(inner).sum(inner * inner)
    return x.moments.second + y.moments.second - 2 * square
