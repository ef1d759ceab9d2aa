"""What unbalanced plans pay for marginals that are not the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gwfast.arrays import Array, item, namespace
from gwfast.arrays.precision import EPS, TINY

_BISECTIONS = 80  # of a mass
_DUST = 1e-14  # share of the mass that a point would have in a product: no marginal is followed below it


@dataclass(frozen=True)
class Penalty:
    r"""The sum of rho KL(T 1 x T 1 | p x p) and rho' KL(T' 1 x T' 1 | q x q).

    With a = T 1 of mass m, KL(a x a | p x p) is :math:`2 m \sum_i a_i \log(a_i / p_i) - m^2 + 1`.  A plan of no mass
    pays `total`.

    Attributes
    ----------
    rows, columns : float
        rho and rho', in the unit of the objective.
    """

    rows: float
    columns: float

    @property
    def total(self) -> float:
        """What a plan of no mass pays."""
        return self.rows + self.columns

    def value(self, a: Array, b: Array, p: Array, q: Array) -> Array:
        """Penalty of the marginals a (n,) and b (m,)."""
        return self.rows * _divergence(a, p) + self.columns * _divergence(b, q)

    def slopes(self, a: Array, b: Array, p: Array, q: Array) -> tuple[Array, Array]:
        """Derivatives (n,) and (m,) in the marginals; where these are lighter than dust, of dust."""
        return self.rows * _slope(a, p), self.columns * _slope(b, q)

    def rounding(self, a: Array, b: Array, p: Array, q: Array, atoms: int) -> float:
        """Bound of the rounding error of `value`, for marginals that are sums of so many atoms."""
        return sum(rho * _rounding(w, v, atoms) for rho, w, v in ((self.rows, a, p), (self.columns, b, q))) + TINY


def entropy(a: Array, p: Array) -> Array:
    """The sum of a log(a / p)."""
    xp = namespace(a)
    return xp.sum(a * _logs(a, p))


def best_share(square: float, linear: float, bend: float) -> float:
    """The s > 0 of least s^2 (square + 2 bend log s) + s linear, for bend > 0.

    Without a linear term log s = -1/2 - square / (2 bend); with one, where the derivative over s crosses 0 upwards.
    """
    level = max(-600.0, min(600.0, -0.5 - square / (2 * bend)))
    if linear == 0:
        return math.exp(level)
    low, high = level - 1, level + 1  # the derivative over x = log s falls up to level - 1, and rises from there

    def slope(x: float) -> float:
        return 4 * bend * math.exp(min(x, 700.0)) * (x - level) + linear

    while slope(high) < 0 and high < 690:
        high += 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return math.exp((low + high) / 2)


def _logs(a: Array, p: Array) -> Array:
    """Logarithms of a / p, 0 where a is."""
    xp = namespace(a)
    return xp.log(xp.where(a > 0, a, p)) - xp.log(p)


def _divergence(a: Array, p: Array) -> Array:
    """KL(a x a | p x p) as 2 m sum p h(a / p) + (m - 1)^2 with h(r) = r log r - r + 1: no large terms cancel."""
    xp = namespace(a)
    return 2 * xp.sum(a) * (p @ _terms(a, p)[0]) + (xp.sum(a) - xp.sum(p)) ** 2


def _terms(a: Array, p: Array) -> tuple[Array, Array]:
    """The numbers h(a / p), and the sizes of what they are differences of."""
    xp = namespace(a)
    some = xp.where(a > 0, a, p)
    ratio, off = some / p, (some - p) / p
    near = xp.where(ratio > 0.5, off, xp.zeros_like(off))  # there the logarithm is that of 1 + off
    first = ratio * xp.where(ratio > 0.5, xp.log1p(near), xp.log(ratio))
    one = xp.ones_like(a)
    return xp.where(a > 0, first - off, one), xp.where(a > 0, xp.abs(first) + xp.abs(off), one)


def _slope(a: Array, p: Array) -> Array:
    xp = namespace(a)
    mass = xp.sum(a)
    least = xp.clip(_DUST * mass * p, TINY, None)
    return 2 * (entropy(a, p) + mass * (xp.log(xp.where(a > least, a, least)) - xp.log(p)))


def _rounding(a: Array, p: Array, atoms: int) -> float:
    xp = namespace(a)
    mass, whole = item(xp.sum(a)), item(xp.sum(p))
    share = 8 * (atoms + a.shape[0] + 32) * EPS
    size, off = 2 * mass * item(p @ _terms(a, p)[1]), share * (mass + whole)
    found = share * size + off * (2 * abs(mass - whole) + off)
    return found if math.isfinite(found) else math.inf
