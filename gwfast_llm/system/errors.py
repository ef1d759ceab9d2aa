"""Errors of this package, each one line that a user can act on, and what messages and records must not hold."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "***"
# user and password of a URL; paths make one slash of two
_USER = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*:/{1,3})[^/\s@'\"<>]+@")
_SECRET = r"(?:[\w.%-]*(?:token|key|secret|sig|signature|passw|pwd|auth|credential|session|access)[\w.%-]*)"
_QUERY = re.compile(rf"(?P<name>[?&;#]{_SECRET}=)[^&\s#'\"<>)]+", re.IGNORECASE)
_KNOWN = re.compile(r"\b(?:hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|AKIA[0-9A-Z]{12,})")
_BEARER = re.compile(r"(?P<name>\b(?:bearer|authorization:\s*\w+)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def redact(text: str) -> str:
    """Strike credentials out of a text.

    Examples
    --------
    >>> redact("https://me:secret@host/x?token=abc&page=2")
    'https://***@host/x?token=***&page=2'
    """
    text = _USER.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _QUERY.sub(rf"\g<name>{HIDDEN}", text)
    text = _BEARER.sub(rf"\g<name>{HIDDEN}", text)
    return _KNOWN.sub(HIDDEN, text)


def one_line(text: str) -> str:
    """A text in one line, without credentials and without what would move a terminal's cursor."""
    return " ".join(_CONTROL.sub(" ", redact(text)).split())


def redacted(value: Any) -> Any:
    """Plain data with every text in it redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: redacted(own) for name, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(own) for own in value]
    return value


class FusionError(ValueError):
    """A mistake in what the user gave: says what was found, what was expected and what to do.

    The commands print the message alone, without a traceback, and leave with exit code 2.  Credentials in it are
    struck out.
    """

    def __init__(self, message: object = ""):
        super().__init__(one_line(str(message)))


class InterruptedFusion(KeyboardInterrupt):
    """A job was stopped from outside (Ctrl-C, a plain kill, a closed terminal); says what is on the disk."""


def require(condition: bool, message: str) -> None:
    """Raise a `FusionError` where a condition does not hold."""
    if not condition:
        raise FusionError(message)
