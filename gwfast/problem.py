"""A fused Gromov-Wasserstein problem, and the objective of a plan, written once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from gwfast._array import Array, detach, item, namespace, row_block, to_numpy
from gwfast.gram import Gram
from gwfast.plan import Plan
from gwfast.space import Space

_DIRECT = 30_000  # atoms up to which the sum over pairs of atoms is taken even where a factored form exists


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
        return Problem(self.x.detached(), self.y.detached(), M, self.alpha)

    def hosted(self) -> Problem:
        """The same problem in host memory, as numpy arrays: for linear programs and compiled kernels."""
        M = None if self.M is None else to_numpy(self.M)
        return Problem(self.x.hosted(), self.y.hosted(), M, self.alpha)

    @cached_property
    def size(self) -> float:
        """E C1^2 + E C2^2 under p x p and q x q: the scale that rounding margins are measured in."""
        return item(self.x.moments.second) + item(self.y.moments.second)


def objective(problem: Problem, plan: Plan) -> Array:
    """Objective of `plan` in float64.

    Sums squared differences over pairs of atoms, which cannot cancel: O(N^2) time for N atoms, O(N) memory
    beyond blocks.  Dense plans use c - 2 <T, C1 T C2'>, O(n m (n + m)); two Gram spaces with very many atoms
    use ``|H1 T H2'|^2``.

    Parameters
    ----------
    problem : Problem
    plan : Plan

    Returns
    -------
    0-d array of the library of the problem.
    """
    structure = _structure(problem, plan)
    if problem.M is None:
        return structure
    return (1 - problem.alpha) * features(problem, plan) + problem.alpha * structure


def features(problem: Problem, plan: Plan) -> Array:
    """Return <M, T> of a plan, O(N) for N atoms."""
    xp = namespace(problem.M)
    if plan.is_dense:
        return xp.sum(problem.M * plan.matrix)
    return problem.M[plan.rows, plan.cols] @ plan.mass


def _structure(problem: Problem, plan: Plan) -> Array:
    if plan.is_dense:
        value = _expanded(problem, plan.matrix)
    elif plan.mass.shape[0] > _DIRECT and isinstance(problem.x, Gram) and isinstance(problem.y, Gram):
        value = _factored(problem.x, problem.y, plan)
    else:
        return _pairs(problem.x, problem.y, plan)
    return namespace(problem.p).clip(value, 0.0)  # a sum of squares, that cancellation may leave below 0


def _pairs(x: Space, y: Space, plan: Plan) -> Array:
    """Sum over pairs of atoms of w_s w_t (C1 - C2)^2, in blocks of rows."""
    xp, w = namespace(plan.mass), plan.mass
    total = xp.zeros_like(w[0])
    step = row_block(w.shape[0])
    whole = w.shape[0] == x.n and bool(xp.all(plan.rows == xp.arange(x.n, device=w.device)))
    for start in range(0, w.shape[0], step):
        part = slice(start, start + step)
        first = x.rows(start, min(x.n, start + step)) if whole else x.gather(plan.rows[part], plan.rows)
        gap = first - y.gather(plan.cols[part], plan.cols)
        total = total + w[part] @ ((gap * gap) @ w)
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
