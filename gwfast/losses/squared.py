r"""A loss as the squared loss of other costs, plus a number that all couplings share.

With L(a, b) = f1(a) + f2(b) - a h2(b), A = s C1 and B = h2(C2) / (2 s),

    sum L(C1_ij, C2_kl) T_ik T_jl = sum (A_ij - B_kl)^2 T_ik T_jl + K,   K = E f1(C1) - E A^2 + E f2(C2) - E B^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from gwfast.arrays import Array, item, namespace, row_block
from gwfast.arrays.precision import EPS, TINY
from gwfast.losses import SPLITS
from gwfast.losses.base import Loss, Rounded
from gwfast.spaces.space import Space

_STEEPEST = 200  # exponent of two of the factor s, halved


@dataclass(frozen=True, eq=False)
class Squared:
    """Spaces whose squared loss is a loss less `constant`, for every coupling.

    Attributes
    ----------
    x, y : Space
        Costs A and B.
    constant : 0-d array
        K, with torch's gradient tape where the spaces have one.
    margin : float
        Bound of the rounding error of `constant`.
    """

    x: Space
    y: Space
    constant: Array
    margin: float


def admitted(loss: Loss, x: Space, y: Space) -> tuple[Space, Space]:
    """Both spaces with costs that the loss takes; InputError where it does not."""
    split = SPLITS[loss.name]
    return split.admit(x, "C1", loss.floor), split.admit(y, "C2", loss.floor)


def squared(loss: Loss, x: Space, y: Space) -> Squared:
    """The transformation for two admitted spaces; O(n^2 + m^2).

    s is a power of four that brings E A^2 and E B^2 together, so that least cancels in K.
    """
    split = SPLITS[loss.name]
    half = split.halved(y)
    seconds = item(x.moments.second), item(half.moments.second)
    k = 0
    if all(0 < second < math.inf for second in seconds):
        k = round((math.log2(seconds[1]) - math.log2(seconds[0])) / 8)
        k = max(-_STEEPEST, min(_STEEPEST, k))
    a, b = (x.scaled(2.0**k), half.scaled(2.0**-k)) if k else (x, half)
    size = item(a.moments.second) + item(b.moments.second)
    constant, terms = -a.moments.second - b.moments.second, 0.0
    for f, space in ((split.first, x), (split.second, y)):
        if f is not None:
            value, magnitude = mean_of(f, space)
            constant, terms = constant + value, terms + item(magnitude)
    doubt = a.doubt + b.doubt
    margin = 8 * (x.n + y.n + 32) * EPS * (size + terms) + doubt * (2 * (2 * size) ** 0.5 + doubt)
    return Squared(a, b, constant, margin * (1 + 1e-9) + (TINY if size + terms > 0 else 0.0))


def mean_of(f: Callable[[Array], Rounded], space: Space) -> Rounded:
    """Mean of f(C) under the weights of a space, and of what its roundings are measured in."""
    p, step = space.weights, row_block(space.n)
    total = size = namespace(p).zeros_like(p[0])
    for start in range(0, space.n, step):
        value, magnitude = f(space.rows(start, min(space.n, start + step)))
        weights = p[start : start + step]
        total, size = total + weights @ (value @ p), size + weights @ (magnitude @ p)
    return total, size
