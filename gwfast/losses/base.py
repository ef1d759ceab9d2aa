"""What a loss is, and what the library asks of one that is not the square."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from gwfast.arrays import Array
from gwfast.spaces.space import Space


@dataclass(frozen=True)
class Loss:
    """A loss L(a, b) between a cost of the first space and one of the second.

    Attributes
    ----------
    name : str
        "square", "kl" or "inner".  Methods name the losses for which they are theorems.
    floor : float or None
        Costs below it are raised to it, on both sides; "kl" only.
    """

    name: str
    floor: float | None = None


SQUARE = Loss("square")
"""L(a, b) = (a - b)^2."""

Rounded = tuple[Array, Array]
"""Numbers, and what the rounding error of each is measured in."""


@dataclass(frozen=True, eq=False)
class Split:
    """A loss L(a, b) = f1(a) + f2(b) - a h2(b).

    Attributes
    ----------
    admit : callable
        (space, name of the argument, floor) -> the space with its costs checked, and raised to the floor.
    first, second : callable or None
        f1 and f2 of an array of costs, with what their roundings are measured in; None where they are 0.
    halved : callable
        The second space with the costs h2(b) / 2.
    pair : callable
        L of two arrays of costs that broadcast, with what its roundings are measured in.
    least : float
        L is never below it.
    """

    admit: Callable[[Space, str, float | None], Space]
    first: Callable[[Array], Rounded] | None
    second: Callable[[Array], Rounded] | None
    halved: Callable[[Space], Space]
    pair: Callable[[Array, Array], Rounded]
    least: float = -math.inf
