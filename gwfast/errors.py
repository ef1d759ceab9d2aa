"""The exceptions that gwfast raises on purpose."""


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
