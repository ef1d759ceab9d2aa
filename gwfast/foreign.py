"""Plans as other libraries hand them back: POT's results and logs, OTT's outputs."""

from __future__ import annotations

from typing import Any

from gwfast.arrays import is_array
from gwfast.errors import InputError
from gwfast.plan import Plan


def plan_of(given: Any, name: str) -> Any:
    """The plan in what a caller passed: itself, or a part of a result, of a pair (plan, log) or of an output.

    Takes gwfast's and POT's results (`plan`), POT's pairs of a plan, or of a value, and a log, and OTT's outputs
    (`matrix`); anything else is returned as it is.
    """
    if isinstance(given, Plan) or is_array(given) or hasattr(given, "tocoo"):
        return given
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], dict):
        first, log = given
        if getattr(first, "ndim", 0) != 2 and not isinstance(first, Plan) and "T" in log:  # POT's pair of a value
            return log["T"]
        return first
    for part in ("plan", "matrix"):
        if hasattr(given, part):
            found = getattr(given, part)
            if found is None:
                raise InputError(f"{name}: found a {type(given).__name__} whose {part} is None; pass the array")
            return found
    return given
