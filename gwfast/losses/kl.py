"""The Kullback-Leibler loss L(a, b) = a log(a / b) - a + b of costs a >= 0, b > 0."""

from __future__ import annotations

from gwfast.arrays import Array, asks_for_gradient, item, namespace
from gwfast.arrays.precision import EPS
from gwfast.errors import InputError
from gwfast.losses.base import Rounded, Split
from gwfast.spaces.dense import Dense
from gwfast.spaces.space import Space

_MOST = 20_000  # points whose costs are written out


def _admit(space: Space, name: str, floor: float | None) -> Space:
    if not isinstance(space, Dense) and space.n > _MOST:
        raise InputError(f'{name}: found {space.n} points; loss="kl" writes out the costs of at most {_MOST}')
    cost = space.dense()
    xp = namespace(cost)
    low = item(xp.min(cost))
    if low < 0:
        raise InputError(f'{name}: found a cost of {low:.3g}; loss="kl" takes costs >= 0, such as distances')
    if floor is not None:
        cost = xp.where(cost > floor, cost, xp.full_like(cost, floor))
    elif low == 0 and name == "C2":
        count = int(xp.sum(xp.astype(cost == 0, xp.int64)))
        raise InputError(
            f'C2: found {count} zeros, whose logarithm loss="kl" takes; pass floor=1e-18 to raise costs below it'
        )
    elif low == 0 and asks_for_gradient(cost):
        raise InputError(f"{name}: found zeros, where KL has no gradient; pass floor=1e-18, or {name}.detach()")
    elif isinstance(space, Dense):
        return space
    return Dense(cost, space.weights, name=name)


def _log(a: Array) -> Array:
    """The logarithm, and 0 at 0."""
    xp = namespace(a)
    return xp.log(xp.where(a > 0, a, xp.ones_like(a)))


def _first(a: Array) -> Rounded:
    xp, grown = namespace(a), a * _log(a)
    return grown - a, xp.abs(grown) + a


def _halved(space: Space) -> Space:
    assert isinstance(space, Dense)  # from `_admit`
    logarithm = Dense(namespace(space.cost).log(space.cost) / 2, space.weights, name=space.name)
    # libraries round their logarithms to a few units in the last place
    return logarithm._with(doubt=8 * EPS * item(logarithm.moments.second) ** 0.5 * (1 + 1e-9))


def _pair(a: Array, b: Array) -> Rounded:
    """Near a = b the sum of three terms would cancel: there it is a (r - log(1 + r)) with r = (b - a) / a."""
    xp, gap = namespace(a), b - a
    near = 2 * xp.abs(gap) <= a
    r = xp.where(near, gap, xp.zeros_like(gap)) / xp.where(near, a, xp.ones_like(gap))
    log_a, log_b = _log(a), xp.log(b)
    value = xp.where(near, a * (r - xp.log1p(r)), a * (log_a - log_b) - a + b)
    size = xp.where(near, xp.abs(gap), a * (xp.abs(log_a) + xp.abs(log_b)) + a + b)
    return xp.clip(value, 0.0), size


SPLIT = Split(_admit, _first, lambda b: (b, b), _halved, _pair, least=0.0)
