"""A fused Gromov-Wasserstein problem and its objective: one file, as neither can be read without the other."""

# pyright: reportConstantRedefinition=false
from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gwfast import checks
from gwfast.arrays import Array, asks_for_gradient, detach, from_numpy, item, namespace, row_block, to_numpy
from gwfast.arrays.precision import EPS
from gwfast.errors import InputError
from gwfast.features import FeatureCost, feature_cost
from gwfast.losses import SQUARE, Loss, loss_of
from gwfast.losses.squared import admitted, squared
from gwfast.losses.value import loss_value
from gwfast.marginals import BALANCED, Marginals
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.spaces.dense import Dense
from gwfast.spaces.form import form_of
from gwfast.spaces.gram import Gram
from gwfast.spaces.pair_sums import pair_sum
from gwfast.spaces.points_value import PointsValue, points_value, takes_points
from gwfast.spaces.space import Space
from gwfast.transport import is_uniform

_LONGEST, _WIDEST = 240, 500  # exponents of two: of the factor of costs, halved, and of costs whose squares stay finite


@dataclass(frozen=True, eq=False)
class Problem:
    r"""Two weighted spaces, an optional feature cost, a loss and a set of feasible plans.

    The objective of a plan T is, in POT's convention,

    .. math:: (1 - \alpha) \langle M, T \rangle + \alpha \sum_{ijkl} L(C_{1,ij}, C_{2,kl}) \, T_{ik} T_{jl}.

    Make one with `Problem.of`, which checks its arguments; every front door takes it in the place of arrays.

    Attributes
    ----------
    x, y : Space
        The two spaces, with weights (n,) and (m,).
    M : array (n, m), FeatureCost or None
        Feature cost; a `FeatureCost` where a matrix would be too large.
    alpha : float or 0-d tensor
        Weight of the Gromov-Wasserstein term; 1 without `M`.
    loss : Loss
        The square of the difference, the Kullback-Leibler loss or the inner product.
    marginals : Marginals
        The feasible plans: couplings, `SemiRelaxed`, `Partial` or `Unbalanced` ones.
    doubt : float
        Bound of the error of every entry of `M`, where its units do not hold it whole.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> C = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> problem = gwfast.Problem.of(C, 2 * C)
    >>> gwfast.exact_gw(problem).value == gwfast.exact_gw(C, 2 * C).value
    True
    """

    x: Space
    y: Space
    M: Array = None
    alpha: Any = 1.0
    loss: Loss = SQUARE
    marginals: Marginals = BALANCED
    doubt: float = 0.0

    @classmethod
    def of(
        cls,
        C1: Any,
        C2: Any,
        p: Any = None,
        q: Any = None,
        *,
        M: Any = None,
        alpha: Any = None,
        loss: Any = "square",
        floor: float | None = None,
        marginals: Marginals | None = None,
    ) -> Problem:
        """Check what a caller passes and make a problem of it.

        Parameters
        ----------
        C1, C2 : arrays (n, n) and (m, m), or Space
        p, q : arrays (n,) and (m,), optional
            Weights, summing to 1; uniform by default.
        M : array (n, m) or FeatureCost, optional
        alpha : float, optional
            In [0, 1]; 0.5 where `M` is given.
        loss : {"square", "kl", "inner"}
            L(a, b) = (a - b)^2, a log(a / b) - a + b, or -2 a b.
        floor : float, optional
            With "kl": costs below it are raised to it, on both sides; POT's is 1e-18.
        marginals : Balanced, SemiRelaxed, Partial or Unbalanced, optional
            The feasible plans; couplings without it.

        Returns
        -------
        Problem
            In float64, with torch's gradient tape where the caller has one.  O(n^2 + m^2).

        Raises
        ------
        InputError
            An argument is not as above; the message names it.
        """
        kind = loss_of(loss, floor)
        (p, p_name), (q, q_name) = _weights(C1, p, "C1", "p"), _weights(C2, q, "C2", "q")
        like = checks.same_library(C1=_array_of(C1), C2=_array_of(C2), **{p_name: p, q_name: q}, M=M)
        x, y = _space(C1, "C1", like), _space(C2, "C2", like)
        plans = BALANCED if marginals is None else _plans(marginals)
        if not plans.columns_used:
            if q is not None and q_name == "q":
                raise InputError(f"q: found weights beside {plans.name} plans, which leave them free; leave q out")
            q = None
        p, q = checks.weights(p, x.n, p_name, x.like), checks.weights(q, y.n, q_name, y.like)
        doubt = 0.0
        if isinstance(M, FeatureCost):
            factored, share = feature_cost(M, (x.n, y.n), alpha, like)
            M, doubt = _matrix_or_features(factored, x, y)
        else:
            M, share = checks.feature_cost(M, (x.n, y.n), alpha, like)
        if asks_for_gradient(alpha) and M is not None:
            share = alpha.double().to(x.like.device)
        return cls(x.weighted(p), y.weighted(q), M, share, kind, plans, doubt=doubt)

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

    @cached_property
    def uniform(self) -> bool:
        """Whether both sides have as many points, all of one mass, so that permutations are plans."""
        return is_uniform(self.p, self.q)

    @property
    def T(self) -> Problem:
        """The same problem with both costs transposed; every plan has the same objective."""
        return replace(self, x=self.x.T, y=self.y.T)

    def normalised(self) -> tuple[Problem, float]:
        """The same problem with an objective of the order of 1, for solvers in single precision, and its factor.

        The factor is a power of 16, so nothing is rounded; problems near 1 already are returned as they are.  Where one
        cost of a balanced problem is much larger than the other, they are brought together by a power of 4: that takes
        a constant from the objective, beside which the rest would be lost.
        """
        apart = round(self.imbalance / 8)  # both are multiplied by powers of 4, which are exact for points too
        if apart:
            together = replace(self, x=self.x.scaled(2.0**apart), y=self.y.scaled(2.0**-apart))
            return together.normalised()
        scale = self.alpha * self.size
        if self.M is not None:
            scale += (1 - self.alpha) * largest(self.M)
        if scale == 0 or 1e-6 < scale < 1e6:
            return self, 1.0
        exponent = max(-_LONGEST, min(_LONGEST, -round(math.log2(scale) / 4)))
        extent = max(self.x.extent, self.y.extent)
        if extent > 0:  # a term of little weight must not leave float64
            exponent = min(exponent, math.floor((_WIDEST - math.log2(extent)) / 2))
        root = 2.0**exponent
        plans = self.marginals.scaled(root**4)
        M = None if self.M is None else multiplied(self.M, root**2)
        scaled = replace(
            self, x=self.x.scaled(root), y=self.y.scaled(root), M=M, doubt=self.doubt * root**4, marginals=plans
        )
        return scaled, root**4

    @property
    def imbalance(self) -> float:
        """log2 of E C2^2 / E C1^2; 0 where a cost vanishes, or where plans are such that balancing is no constant."""
        squares = item(self.x.moments.second), item(self.y.moments.second)
        if self.marginals is not BALANCED or not all(0 < s < math.inf for s in squares):
            return 0.0
        return math.log2(squares[1]) - math.log2(squares[0])

    def detached(self) -> Problem:
        """The same problem cut from torch's gradient tape."""
        M = self.M.detached() if isinstance(self.M, FeatureCost) else None if self.M is None else detach(self.M)
        return replace(self, x=self.x.detached(), y=self.y.detached(), M=M, alpha=item(self.alpha))

    def hosted(self) -> Problem:
        """The same problem in host memory, as numpy arrays: for linear programs and compiled kernels."""
        M = self.M.hosted() if isinstance(self.M, FeatureCost) else None if self.M is None else to_numpy(self.M)
        return replace(self, x=self.x.hosted(), y=self.y.hosted(), M=M)

    def objective(self, plan: Plan) -> Array:
        """Objective of `plan` in float64.

        Sums the loss over pairs of atoms, for squares without cancellation: O(N^2) time for N atoms, O(N) memory
        beyond blocks; of over a thousand atoms between points (squared distances, inner products) moments, O(N d^2),
        which cannot cancel either.  Dense plans use c - 2 <T, C1 T C2'>, O(n m (n + m)); two sparse Gram spaces with
        very many atoms use ``|H1 T H2'|^2``.  Where these cancel to below a millionth, and the atoms are few enough,
        the sum is taken.

        Parameters
        ----------
        plan : Plan

        Returns
        -------
        0-d array of the library of the problem.
        """
        if self.loss is SQUARE:
            value = structure(self, plan).value
        else:
            value = loss_value(self.loss, *admitted(self.loss, self.x, self.y), plan).value
        if self.M is not None:
            value = (1 - self.alpha) * features(self, plan) + self.alpha * value
        penalty = self.marginals.penalty
        return value if penalty is None else value + penalty.value(*plan.marginals(), self.p, self.q)

    def gradient(self, plan: Array) -> Array:
        """Gradient (n, m) of the objective at a dense plan, up to terms that no feasible plan sees."""
        if self.loss is not SQUARE:
            other = squared(self.loss, *admitted(self.loss, self.x, self.y))
            return replace(self, x=other.x, y=other.y, loss=SQUARE).gradient(plan)
        image = product(self, plan)
        back = image if self.symmetric else product(self.T, plan)
        return linearised(self, image, back, Plan(self.shape, matrix=plan))

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
        floor = 1e-15 * self.size if isinstance(self.x, Dense) and isinstance(self.y, Dense) else 0.0
        scale = alpha * (_spread(self.x) + _spread(self.y) + floor)
        if self.M is None:
            return scale
        if isinstance(self.M, FeatureCost):
            return scale + (1 - alpha) * self.M.largest
        xp = namespace(self.M)
        return scale + (1 - alpha) * (item(xp.max(self.M)) - item(xp.min(self.M)))


def _plans(marginals: Any) -> Marginals:
    """Check a set of feasible plans; couplings are always the same record."""
    if isinstance(marginals, type):
        raise InputError(f"marginals: found a class, {marginals.__name__}; make one, gwfast.{marginals.__name__}(...)")
    lacking = [
        name
        for name in ("name", "rows_given", "penalty", "scaled", "minimum", "repair")
        if not hasattr(marginals, name)
    ]
    if lacking:
        raise InputError(
            f"marginals: expected a set of feasible plans, found {marginals!r} without {lacking[0]}; leave it "
            "out for couplings"
        )
    return BALANCED if marginals == BALANCED else marginals


def _array_of(C: Any) -> Any:
    return C.like if isinstance(C, Space) else C


def _space(C: Any, name: str, like: Array) -> Space:
    if isinstance(C, Space):
        return C
    if hasattr(C, "nodes") and hasattr(C, "edges"):
        raise InputError(f"{name}: found a networkx graph; wrap it, gwfast.Graph({name}), to choose its cost")
    return Dense(checks.numeric(checks.table(C, name), name, like), name=name).named(checks.names(C))


def _weights(C: Any, p: Any, name: str, weights_name: str) -> tuple[Any, str]:
    """The weights that go with a cost, and what the caller calls them."""
    own = getattr(C, "weights", None) if isinstance(C, Space) else None
    if own is None:
        return p, weights_name
    if p is not None:
        raise InputError(f"{weights_name}: {name} has weights of its own; pass them in one place only")
    return own, f"{name}.weights"


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
    # what is left of an offset that the factors of a space hold is rounding, and no spread
    spread = item(second - p @ mean**2 - p @ comean**2 + (p @ mean) ** 2)
    return max(spread - 64 * EPS * item(moments.second), 0.0)


def _matrix_or_features(M: FeatureCost, x: Space, y: Space) -> tuple[Any, float]:
    """A feature cost as a matrix, with the error of its entries; as it is between many points."""
    if x.n * y.n < POLICY.large_entries or not takes_points(x, y):
        return M.dense(), M.share_lost * M.largest
    if M.taped:
        raise InputError(
            f"M: found features that ask for a gradient, of {x.n} x {y.n} points; pass M.detached(), or M.dense()"
        )
    return M, 0.0


def largest(M: Any) -> float:
    """Largest absolute value of a feature cost, or an upper bound of it."""
    return M.largest if isinstance(M, FeatureCost) else item(namespace(M).max(namespace(M).abs(M)))


def multiplied(M: Any, root: float) -> Any:
    """A feature cost times the square of a power of two."""
    return M.scaled(root) if isinstance(M, FeatureCost) else M * root**2


def features(problem: Problem, plan: Plan) -> Array:
    """Return <M, T> of a plan, O(N) for N atoms."""
    if isinstance(problem.M, FeatureCost):
        return problem.M.mean_under(plan)
    xp = namespace(problem.M)
    if plan.is_dense:
        return xp.sum(problem.M * plan.matrix)
    return problem.M[plan.rows, plan.cols] @ plan.mass


@dataclass(frozen=True)
class Structure:
    """Gromov-Wasserstein part of the objective, how it was summed, and what is known of its rounding.

    Attributes
    ----------
    value : 0-d array
    direct : bool
        Whether it is a sum of squares over pairs of atoms, which cannot cancel.
    points : PointsValue or None
        The moments of points that it was computed from.
    """

    value: Array
    direct: bool = False
    points: PointsValue | None = None


def structure(problem: Problem, plan: Plan) -> Structure:
    """Gromov-Wasserstein part of the objective."""
    x, y = problem.x, problem.y
    if not plan.is_dense and plan.mass.shape[0] > POLICY.point_atoms and takes_points(x, y):
        if not x.matches(y, plan.rows, plan.cols):
            points = points_value(x, y, plan)
            return Structure(from_numpy(np.asarray(points.value), plan.mass), points=points)
        return Structure(namespace(plan.mass).zeros_like(plan.mass[0]), points=PointsValue(0.0, 0.0, 0.0))
    if not plan.is_stored and takes_points(x, y):
        return Structure(_form_value(problem, plan))
    if plan.is_dense:
        value = second_moments(problem, plan) - 2 * namespace(plan.matrix).sum(
            plan.matrix * product(problem, plan.matrix)
        )
    elif plan.mass.shape[0] > POLICY.direct_atoms and isinstance(x, Gram) and isinstance(y, Gram):
        value = second_moments(problem, plan) - 2 * _factored(x, y, plan)
    else:
        return Structure(_pairs(x, y, plan), direct=True)
    if item(value) <= POLICY.cancelled * problem.size:
        rows, cols, mass = plan.atoms()
        if mass.shape[0] <= POLICY.recount_atoms:
            return Structure(_pairs(x, y, Plan(plan.shape, rows, cols, mass)), direct=True)
    return Structure(namespace(problem.p).clip(value, 0.0))  # a sum of squares, that cancellation may leave below 0


def _form_value(problem: Problem, plan: Plan) -> Array:
    """Structure term of a plan through its cross moments: one product of the plan with few columns."""
    first, second = form_of(problem.x), form_of(problem.y)
    assert first is not None  # takes_points
    assert second is not None
    like = problem.p
    image = to_numpy(plan.apply(from_numpy(np.column_stack([second.effect, second.X]), like)))
    linear, cross = float(first.effect @ image[:, 0]), first.X.T @ image[:, 1:]
    total = first.second + second.second - 8 * first.mean * second.mean
    value = total - 4 * linear - 2 * first.kappa * second.kappa * float((cross * cross).sum())
    return from_numpy(np.asarray(max(value, 0.0)), like)


def second_moments(problem: Problem, plan: Plan) -> Array:
    """E C1^2 + E C2^2 under the marginals of a plan; those that are given are not summed again."""
    x, y, marginals = problem.x, problem.y, problem.marginals
    if marginals.rows_given and marginals.columns_given:
        return x.moments.second + y.moments.second
    rows, columns = plan.marginals()
    first = x.moments.second if marginals.rows_given else _second(x, rows)
    return first + (y.moments.second if marginals.columns_given else _second(y, columns))


def _second(space: Space, weights: Array) -> Array:
    """The form w' (C o C) w of weights w (n,) of any sum."""
    weights = namespace(weights).astype(weights, space.weights.dtype)
    return weights @ _squares_times(space, weights)


def _squares_times(space: Space, weights: Array) -> Array:
    """The product (C o C) w, in blocks of rows."""
    starts = range(0, space.n, row_block(space.n))
    blocks = (space.rows(i, min(space.n, i + row_block(space.n))) for i in starts)
    return namespace(weights).concat([(block * block) @ weights for block in blocks])


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
    if plan.mass.shape[0] > POLICY.point_atoms:
        found = pair_sum(x, y, plan)
        if found is not None:
            return from_numpy(np.asarray(found), plan.mass)
    total = namespace(plan.mass).sum(plan.mass[:0])
    for w, gap in differences(x, y, plan):
        total = total + w @ ((gap * gap) @ plan.mass)
    return total


def product(problem: Problem, plan: Array) -> Array:
    """C1 @ plan @ C2' (n, m), through the factors of the spaces where they have some."""
    xp = namespace(plan)
    half = xp.matrix_transpose(problem.y.times(xp.matrix_transpose(plan)))
    return problem.x.times(half)


def linearised(problem: Problem, image: Array, back: Array, plan: Plan | None = None) -> Array:
    """Gradient -2 alpha (C1 T C2' + C1' T C2) + (1 - alpha) M from the two products (n, m).

    Marginals that are not given add the derivative of E C1^2 or E C2^2 under those of `plan`, and that of a penalty.
    """
    cost = -2 * problem.alpha * (image + back)
    if problem.M is not None:
        cost = cost + (1 - problem.alpha) * problem.M
    marginals = problem.marginals
    if plan is None or (marginals.rows_given and marginals.columns_given):
        return cost
    rows, columns = plan.marginals()
    xp = namespace(cost)
    if not marginals.rows_given:
        cost = cost + xp.astype(problem.alpha * _square_slope(problem.x, rows), cost.dtype)[:, None]
    if not marginals.columns_given:
        cost = cost + xp.astype(problem.alpha * _square_slope(problem.y, columns), cost.dtype)[None, :]
    if marginals.penalty is not None:
        first, second = marginals.penalty.slopes(rows, columns, problem.p, problem.q)
        cost = cost + first[:, None] + second[None, :]
    return cost


def _square_slope(space: Space, weights: Array) -> Array:
    """Derivative (n,) of w' (C o C) w in the weights w (n,)."""
    weights = namespace(weights).astype(weights, space.weights.dtype)
    rows = _squares_times(space, weights)
    return 2 * rows if space.symmetric else rows + _squares_times(space.T, weights)


def square_form(space: Space, d: Array) -> Array:
    """The form d' (C o C) d of a vector d (n,) of any signs."""
    return d @ _squares_times(space, d)


def _factored(x: Gram, y: Gram, plan: Plan) -> Array:
    """The inner product <T, C1 T C2'> of two Gram spaces, through their factors."""
    h1, h2 = x.factor[:, plan.rows], y.factor[:, plan.cols]
    inner = (h1 * plan.mass[None, :]) @ h2.T
    return inner.multiply(inner).sum() if hasattr(inner, "multiply") else namespace(inner).sum(inner * inner)
