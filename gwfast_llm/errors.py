"""Errors of this package: one line that a user can act on."""

from gwfast_llm.redact import one_line


class FusionError(ValueError):
    """A mistake in what the user gave: says what was found, what was expected and what to do.

    The commands print the message alone, without a traceback, and leave with exit code 2.  Credentials in it are
    struck out.
    """

    def __init__(self, message: object = ""):
        super().__init__(one_line(str(message)))


class InterruptedFusion(KeyboardInterrupt):
    """A job was stopped from outside (Ctrl-C, a plain kill, a closed terminal); says what is on the disk."""
