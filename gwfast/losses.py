"""Losses: what a problem sums over pairs of costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Loss:
    """A loss L(a, b) between a cost of the first space and one of the second.

    Attributes
    ----------
    name : str
        Methods name the losses for which they are theorems.
    """

    name: str


SQUARE = Loss("square")
"""L(a, b) = (a - b)^2."""
