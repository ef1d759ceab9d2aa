"""The exceptions that gwfast raises on purpose, and warnings that name the line of the caller."""

from __future__ import annotations

import sys
import warnings
from types import FrameType


class GWFastError(Exception):
    """Base class of every error that gwfast raises on purpose."""


class InputError(GWFastError, ValueError):
    """An argument is not what the function needs; the message names it and says what to do."""


class ConvergenceWarning(UserWarning):
    """A solver stopped before it met its tolerance; the plan is feasible, its certified interval holds."""


class MissingPackageError(GWFastError, ImportError):
    """An optional package is needed for what was asked; the message says how to install it."""


class WorkerError(GWFastError, RuntimeError):
    """A worker process died; the message says near which call, and what to try."""


_WRAPPERS = ("contextlib", "numpy", "threadpoolctl", "torch")  # their decorators and with blocks


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line outside this package from which the call came, however deep it is."""
    level, frame = 1, sys._getframe()
    while frame is not None and _is_passed(frame):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_passed(frame: FrameType) -> bool:
    """Whether a frame is of this package, or of a library whose wrappers stand between its functions."""
    return frame.f_globals.get("__name__", "").partition(".")[0] in ("gwfast", *_WRAPPERS)
