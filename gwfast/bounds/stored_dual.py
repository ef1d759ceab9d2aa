"""Checks of the stored arrays of a dual: shapes, units of the problem at hand, finite entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gwfast.errors import InputError

_LARGEST = 1e120  # in units of the problem: whatever is larger proves nothing, and its squares leave float64


def usable(
    theorem: str, arrays: Mapping[str, tuple[Any, tuple[int, ...]]], factor: float
) -> dict[str, np.ndarray] | None:
    """Return the arrays times `factor`, by name; None where an entry is NaN, infinite or out of all proportion.

    Parameters
    ----------
    theorem : str
        Whose dual it is, for the message.
    arrays : mapping of str to (array, shape)
        By name, each with the shape that the problem asks for.
    factor : float
        From the units that the numbers were stored in to those of the problem.

    Raises
    ------
    InputError
        A shape is another one.
    """
    out = {}
    for name, (array, shape) in arrays.items():
        found = np.shape(array)
        if found != shape:
            raise InputError(
                f"certificate: {name} of its {theorem} dual: expected shape {shape}, found {found}; "
                "pass the spaces and weights that it was made for"
            )
        with np.errstate(all="ignore"):
            number = np.ascontiguousarray(array, dtype=np.float64) * factor
        if not np.abs(number).max() <= _LARGEST:
            return None
        out[name] = number
    return out
