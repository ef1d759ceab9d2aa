"""The inner-product loss L(a, b) = -2 a b."""

from __future__ import annotations

from gwfast.arrays import Array, namespace
from gwfast.losses.base import Rounded, Split
from gwfast.spaces.space import Space


def _admit(space: Space, name: str, floor: float | None) -> Space:
    return space


def _pair(a: Array, b: Array) -> Rounded:
    value = -2 * a * b
    return value, namespace(value).abs(value)


SPLIT = Split(_admit, None, None, lambda space: space, _pair)
