"""The family where sorting is exact: costs that are a polynomial of degree (1, 1) in one number a point."""

from __future__ import annotations

from dataclasses import dataclass

from gwfast.arrays import Array, item, namespace, row_block, safe_sqrt
from gwfast.bounds.feature_term import cheapest_partner
from gwfast.bounds.rounding import allowance, proved
from gwfast.method import Found, Method, one_pass
from gwfast.problem import Problem
from gwfast.result import Bound
from gwfast.spaces.on_demand import Rows
from gwfast.spaces.space import Space
from gwfast.transport import wasserstein_1d

ONE_FEATURE = "one-feature"
_NOISE = 1e-13
_WORTH_A_PASS = 1e-10  # estimated share of the cost outside the family above which no pass is spent on it


@dataclass(frozen=True, eq=False)
class OneFeature:
    """A cost total + h (f_i + f_j) + s f_i f_j with standardised f, and its L2 distance from the real cost.

    Attributes
    ----------
    f : array (n,)
        Mean 0 and variance 1 under the weights.
    total, linear, quadratic : scalars
        Coefficients total, h and s; h >= 0.
    distance : scalar
        Upper bound of |C - C'| in L2(p x p).
    """

    f: Array
    total: Array
    linear: Array
    quadratic: Array
    distance: Array


def fit(space: Space) -> OneFeature | None:
    """Write the cost in one-feature form, or None where it clearly is not of that form; O(n^2)."""
    if not space.symmetric or isinstance(space, Rows):  # rows on demand are too dear for two more passes
        return None
    xp, p, moments = namespace(space.like), space.weights, space.moments
    effect = moments.mean - moments.total
    linear = safe_sqrt(p @ (effect * effect))
    size = safe_sqrt(moments.second)
    if item(linear) > 1e-7 * item(size):
        f = effect / linear
    else:
        heaviest = int(xp.argmax(p * moments.centred_std))
        row = space.rows(heaviest, heaviest + 1)[0]
        f = row - p @ row
        scale = safe_sqrt(p @ (f * f))
        if item(scale) <= _NOISE * item(size):  # a constant cost: what is left of its row is rounding
            f, scale = xp.zeros_like(f), xp.ones_like(scale)
        f, linear = f / scale, xp.zeros_like(linear)
    f = f - p @ f
    norm = safe_sqrt(p @ (f * f))
    f = f / norm if item(norm) > 0 else f
    if item(moments.second) > 0:
        image = space.times((p * f)[:, None])[:, 0]
        quadratic = (p * f) @ image
        outside = (p @ moments.centred_std**2 - quadratic**2) / moments.second
        if item(outside) > _WORTH_A_PASS:
            return None
    else:
        quadratic = xp.zeros_like(linear)
    distance = xp.zeros_like(linear)
    step = row_block(space.n)
    for start in range(0, space.n, step):
        part = slice(start, min(space.n, start + step))
        model = moments.total + linear * (f[part, None] + f) + quadratic * (f[part, None] * f)
        gap = space.rows(part.start, part.stop) - model
        distance = distance + p[part] @ ((gap * gap) @ p)
    rounding = 8 * (space.n + 16) * 2.3e-16 * size
    return OneFeature(f, moments.total, linear, quadratic, safe_sqrt(distance) * (1 + 1e-9) + rounding)


def one_feature_bound(problem: Problem, x: OneFeature, y: OneFeature) -> Bound:
    r"""Lower bound by the closed form of the one-feature family and the stability of GW_2.

    For C' = total + h (f_i + f_j) + s f_i f_j on both sides the objective depends on a plan through the single
    number c = E f g only,

        (total1 - total2)^2 + 2 (h1^2 + h2^2 - 2 h1 h2 c) + s1^2 + s2^2 - 2 s1 s2 c^2,

    and c runs over [c_anti, c_mono], the values of the two sorted plans.  GW_2(C1, C2) >= GW_2(C1', C2') - e1 - e2.
    Exact (up to rounding) where both costs are of the family.  Symmetric costs, any weights, n != m.

    Returns
    -------
    Bound
        O(n log n + m log m) after `fit`.
    """
    p, q = problem.p, problem.q
    near = wasserstein_1d(x.f, y.f, p, q) / 2  # 1 - c_mono
    far = wasserstein_1d(x.f, -y.f, p, q) / 2  # 1 + c_anti

    def value(short: Array) -> Array:
        """Objective at c = 1 - short, without cancellation for like signs."""
        linear = 2 * (x.linear - y.linear) ** 2 + 4 * x.linear * y.linear * short
        quadratic = (x.quadratic - y.quadratic) ** 2 + 2 * x.quadratic * y.quadratic * short * (2 - short)
        return (x.total - y.total) ** 2 + linear + quadratic

    candidates = [value(near), value(2 - far)]
    product = x.quadratic * y.quadratic
    if item(product) < 0:  # convex in c: the vertex may lie inside
        vertex = 1 + x.linear * y.linear / product
        if item(near) < item(vertex) < item(2 - far):
            candidates.append(value(vertex))
    xp = namespace(near)
    least = candidates[0]
    for c in candidates[1:]:
        least = xp.minimum(least, c)
    tiny = allowance(problem)
    distance = safe_sqrt(xp.clip(least - tiny, 0.0)) - x.distance - y.distance
    slack = 2 * item(safe_sqrt(least)) * item(x.distance + y.distance) + tiny
    bound = proved(problem, xp.clip(distance, 0.0) ** 2, ONE_FEATURE, cheapest_partner(problem))
    return Bound(bound.side, bound.value, bound.theorem, bound.margin + item(problem.alpha) * slack)


def forms(problem: Problem) -> tuple[OneFeature, OneFeature] | None:
    """Both costs in one-feature form, or None; O(n^2 + m^2)."""
    x = fit(problem.x)
    y = None if x is None else fit(problem.y)
    return None if x is None or y is None else (x, y)


def _find(problem: Problem) -> Found:
    family = forms(problem)
    return Found() if family is None else Found((one_feature_bound(problem, *family),))


METHOD = Method("one feature", "sort", (ONE_FEATURE,), one_pass(_find), once=True, differentiable=True)
