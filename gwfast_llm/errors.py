"""Errors of this package: one line that a user can act on."""


class FusionError(ValueError):
    """A mistake in what the user gave: says what was found, what was expected and what to do.

    The commands print the message alone, without a traceback, and leave with exit code 2.
    """


class InterruptedFusion(KeyboardInterrupt):
    """A job was stopped from outside (Ctrl-C, a plain kill, a closed terminal); says what is on the disk."""
