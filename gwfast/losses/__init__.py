"""Losses, one a file: what a problem sums over pairs of costs, and how it becomes a squared loss."""

from __future__ import annotations

from typing import Any

from gwfast import checks
from gwfast.errors import InputError
from gwfast.losses import inner, kl
from gwfast.losses.base import SQUARE, Loss, Split

SPLITS: dict[str, Split] = {"kl": kl.SPLIT, "inner": inner.SPLIT}
"""The losses other than the square, by name; a new one is one file and one line here."""

LOSSES = ("square", *SPLITS)


def loss_of(loss: Any, floor: Any = None) -> Loss:
    """Check a loss, by its name or as a record, and the floor of its costs."""
    if isinstance(loss, Loss):
        if loss.name not in LOSSES:
            raise InputError(f"loss: expected a Loss named one of {', '.join(LOSSES)}, found {loss.name!r}")
        if floor is None:
            return loss
        loss = loss.name
    name = checks.choice(loss, LOSSES, "loss")
    if floor is not None:
        floor = checks.positive(floor, "floor")
        if name != "kl":
            raise InputError(f'floor: found {floor:g} with loss="{name}"; only "kl" takes logarithms; leave it out')
    return SQUARE if name == "square" else Loss(name, floor)


__all__ = ["LOSSES", "SPLITS", "SQUARE", "Loss", "Split", "loss_of"]
