"""Units of a problem: no offset that both costs share, and powers of two whose squares float64 holds."""

from __future__ import annotations

import math
from dataclasses import replace

from gwfast.arrays import item, namespace, needs_grad
from gwfast.arrays.precision import TINY
from gwfast.errors import InputError
from gwfast.features import FeatureCost
from gwfast.problem import Problem, largest
from gwfast.spaces.dense import Dense
from gwfast.spaces.space import Space

# powers of two that costs and features are kept within, so that no square and no margin leaves float64; the most that
# costs are multiplied by, halved
_COST, _FEATURE, _MOST = 330, 700, 240


def without_offset(x: Space, y: Space) -> tuple[Space, Space]:
    """Both spaces less an offset that their costs share, which no objective sees; only where that is exact."""
    if not (isinstance(x, Dense) and isinstance(y, Dense)):
        return x, y
    low, high = min(x.extremes[0], y.extremes[0]), max(x.extremes[1], y.extremes[1])
    near, far = min(abs(low), abs(high)), max(abs(low), abs(high))
    if not (low * high > 0 and far <= 2 * near):  # Sterbenz: within a factor 2 a difference is exact
        return x, y
    offset = low + (high - low) / 2
    return x.shifted(offset), y.shifted(offset)


def near_one(problem: Problem) -> tuple[Problem, float]:
    """The problem with costs and features whose squares and margins float64 holds, and the factor to the caller's.

    Costs are multiplied by 2^2k, M by 2^4k.  A term without weight (alpha 0 or 1) is no part of the objective, and gets
    a unit of its own.
    """
    alpha, extent = item(problem.alpha), max(problem.x.extent, problem.y.extent)
    top = 0.0 if problem.M is None else largest(problem.M)
    costs, features = _halves(extent, _COST, 2), _halves(top, _FEATURE, 4)
    if alpha in (0.0, 1.0) and problem.M is not None and costs != features:
        if needs_grad(problem.alpha):
            raise InputError(
                f"alpha: found {alpha:g}, which asks for a gradient, beside costs of {extent:.3g} and M of "
                f"{top:.3g}; rescale the costs"
            )
        k, other = (features, costs) if alpha == 0 else (costs, features)
        k_costs, k_features = (other, k) if alpha == 0 else (k, other)
    else:
        k = k_costs = k_features = _common(extent, top)
    if k_costs == 0 and k_features == 0:
        return problem, 1.0
    x, y = problem.x.scaled(2.0**k_costs), problem.y.scaled(2.0**k_costs)
    M, doubt = problem.M, 0.0
    if isinstance(M, FeatureCost):
        M = M.scaled(2.0 ** (2 * k_features))
    elif M is not None:
        xp, M = namespace(M), M * 2.0 ** (4 * k_features)
        lost = k_features < 0 and bool(xp.any((xp.abs(M) < TINY) & (problem.M != 0)))
        doubt = TINY if lost else 0.0
    doubt, plans = doubt + problem.doubt * 2.0 ** (4 * k_features), problem.marginals.scaled(2.0 ** (4 * k))
    return replace(problem, x=x, y=y, M=M, doubt=doubt, marginals=plans), 2.0 ** (-4 * k)


def _halves(size: float, limit: int, power: int) -> int:
    """The k nearest 0 for which size * 2^(power k) lies within 2^-limit and 2^limit."""
    if size == 0:
        return 0
    exponent = math.log2(size)
    if abs(exponent) <= limit:
        return 0
    k = (limit - abs(exponent)) / power
    return max(-_MOST, min(_MOST, math.floor(k) if exponent > 0 else math.ceil(-k)))


def _common(extent: float, largest: float) -> int:
    """The k nearest 0 that suits costs of size `extent` and features of size `largest`.

    Where there is none, the larger term stays finite; what the other loses is within the margins.
    """
    ranges = [(-_MOST, _MOST)]
    for size, limit, power in ((extent, _COST, 2), (largest, _FEATURE, 4)):
        if size > 0:
            exponent = math.log2(size)
            ranges.append((math.ceil((-limit - exponent) / power), math.floor((limit - exponent) / power)))
    low, high = max(r[0] for r in ranges), min(r[1] for r in ranges)
    return min(max(0, low), high)
