"""The value of a loss at a plan, from the loss itself."""

from __future__ import annotations

from dataclasses import dataclass

from gwfast.arrays import Array, item, namespace, row_block, sparse_times_dense
from gwfast.arrays.precision import EPS, TINY
from gwfast.losses import SPLITS
from gwfast.losses.base import Loss
from gwfast.losses.squared import mean_of
from gwfast.plan import Plan
from gwfast.spaces.dense import Dense
from gwfast.spaces.space import Space

_DIRECT = 2000  # atoms whose pairs are summed one by one


@dataclass(frozen=True, eq=False)
class LossValue:
    """Sum of L(C1_ij, C2_kl) T_ik T_jl, and bounds of its rounding error and of |L|."""

    value: Array
    rounding: float
    largest: float


def loss_value(loss: Loss, x: Space, y: Space, plan: Plan) -> LossValue:
    """Sum a loss over the pairs of atoms of a plan between admitted spaces.

    O(N^2) for N atoms; of over two thousand atoms E f1 + E f2 - <T, C1 T h2(C2)'>, O(n m (n + m)).
    """
    split = SPLITS[loss.name]
    rows, cols, mass = plan.atoms()
    if mass.shape[0] <= _DIRECT:
        value, rounding = _pairs(loss, x, y, Plan(plan.shape, rows, cols, mass))
    else:
        value, rounding = _expanded(loss, x, y, plan)
    if split.least == 0:
        value = namespace(value).clip(value, 0.0)
    doubt, sizes = x.doubt + y.doubt, item(x.moments.second) + item(y.moments.second)
    if doubt:  # inner products of computed costs; admitted costs of other losses are those that were computed
        rounding += 2 * doubt * (2 * (2 * sizes) ** 0.5 + doubt)
    return LossValue(value, rounding, _largest(loss, x, y))


def _pairs(loss: Loss, x: Space, y: Space, plan: Plan) -> tuple[Array, float]:
    xp, w, step = namespace(plan.mass), plan.mass, row_block(plan.mass.shape[0])
    total = size = xp.zeros_like(w[0])
    for start in range(0, w.shape[0], step):
        part = slice(start, start + step)
        a, b = x.gather(plan.rows[part], plan.rows), y.gather(plan.cols[part], plan.cols)
        value, magnitude = SPLITS[loss.name].pair(a, b)
        total, size = total + w[part] @ (value @ w), size + w[part] @ (magnitude @ w)
    terms, summed = 16 * EPS * item(size), 4 * (w.shape[0] + 16) * EPS
    summed *= item(total if SPLITS[loss.name].least == 0 else size)  # a sum of one sign is off by a share of itself
    return total, terms + summed + (TINY if item(size) > 0 else 0.0)


def _expanded(loss: Loss, x: Space, y: Space, plan: Plan) -> tuple[Array, float]:
    split = SPLITS[loss.name]
    rows, columns = plan.marginals()
    x, y = x.weighted(rows), y.weighted(columns)
    half = split.halved(y)
    xp = namespace(rows)
    if plan.is_dense:
        inner = xp.sum(plan.matrix * x.times(xp.matrix_transpose(half.times(xp.matrix_transpose(plan.matrix)))))
    else:
        turned = xp.matrix_transpose(half.dense())
        image = x.times(sparse_times_dense(plan.rows, plan.cols, plan.mass, plan.shape, turned))
        inner = image[plan.rows, plan.cols] @ plan.mass
    value = -2 * inner
    size = 2 * (item(x.moments.second) * item(half.moments.second)) ** 0.5
    for f, space in ((split.first, x), (split.second, y)):
        if f is not None:
            mean, magnitude = mean_of(f, space)
            value, size = value + mean, size + item(magnitude)
    return value, 8 * (sum(plan.shape) + 32) * EPS * size


def _largest(loss: Loss, x: Space, y: Space) -> float:
    """Bound of |L|: the losses here are convex, or linear, in each cost, so that it lies at the least or largest."""
    xp = namespace(x.weights)
    a, b = (xp.asarray(_ends(space), dtype=x.weights.dtype, device=x.weights.device) for space in (x, y))
    value, _ = SPLITS[loss.name].pair(a[:, None], b[None, :])
    return item(xp.max(xp.abs(value))) * (1 + 1e-9)


def _ends(space: Space) -> tuple[float, float]:
    return space.extremes if isinstance(space, Dense) else (-space.extent, space.extent)
