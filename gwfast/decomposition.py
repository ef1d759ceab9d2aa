"""The ANOVA identity: every coupling's objective split into a constant, linear terms and a centred problem."""

from __future__ import annotations

from dataclasses import dataclass

from gwfast.arrays import Array
from gwfast.problem import Problem
from gwfast.spaces.space import Space


@dataclass(frozen=True, eq=False)
class MainEffects:
    """Main effects of a cost: C = total + row 1' + 1 column' + H with H doubly centred under the weights.

    Attributes
    ----------
    total : scalar
    row, column : arrays (n,)
    """

    total: Array
    row: Array
    column: Array


def effects(space: Space) -> MainEffects:
    """Main effects of the cost of a space, from its moments."""
    moments = space.moments
    return MainEffects(moments.total, moments.mean - moments.total, moments.comean - moments.total)


def centred(space: Space) -> Array:
    """The doubly centred cost H (n, n), O(n^2) memory."""
    e = effects(space)
    return space.dense() - e.row[:, None] - e.column[None, :] - e.total


def linear_part(problem: Problem) -> tuple[Array, Array]:
    """Return the constant (total1 - total2)^2 and the cost (n, m) of the linear terms of the ANOVA identity.

    For every coupling T: GW(C1, C2; T) = constant + <cost, T> + GW(H1, H2; T).
    """
    a, b = effects(problem.x), effects(problem.y)
    row = a.row[:, None] - b.row[None, :]
    column = a.column[:, None] - b.column[None, :]
    return (a.total - b.total) ** 2, row * row + column * column
