"""Ctrl-C, SIGTERM and SIGHUP during work that must not be lost: the signal is noted, and obeyed when that is safe."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
ECHO = 5.0  # seconds in which a launcher hands on to its processes the signal that they have got already


class _Wish:
    """Whether somebody wants this process to stop; one a process, as its signals are."""

    asked = ""  # name of the signal
    at = 0.0


def asked() -> str:
    """Name of the signal that asks for an end, within a `deferred` block; empty where there was none."""
    return _Wish.asked


@contextmanager
def deferred(saying: str) -> Iterator[None]:
    """Note the first signal, and go on; the second one raises KeyboardInterrupt, as without this block.

    Parameters
    ----------
    saying : str
        Said when the first one comes: what will be done before the end.

    Notes
    -----
    What is done in the block looks at `asked`.  Signals that are ignored (nohup) stay so.  Outside the main thread,
    where signals do not arrive, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, frame: object) -> None:
        if _Wish.asked:
            echo = int(os.environ.get("WORLD_SIZE", "1")) > 1 and time.monotonic() - _Wish.at < ECHO
            if not echo:
                raise KeyboardInterrupt
            return
        _Wish.asked, _Wish.at = signal.Signals(number).name, time.monotonic()
        with contextlib.suppress(OSError):  # the terminal may be what has gone; print is not safe in a handler
            os.write(2, f"\n{_Wish.asked}: {saying}; a second one stops at once\n".encode())

    before = _set(note)
    try:
        yield
    finally:
        _Wish.asked = ""
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def as_keyboard() -> Iterator[None]:
    """Make a plain kill and a closed terminal clean up as Ctrl-C does: all of them raise KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = _set(stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _set(handler: Any) -> dict[int, Any]:
    """Set the handler of every signal that is not ignored; the handlers before."""
    before: dict[int, Any] = {}
    for name in NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
            before[number] = signal.signal(number, handler)
    return before


class _Lasting:
    """A stream that drops what can no longer be written, as the terminal or the reader of a pipe has gone."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or drop."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, where that is possible."""
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Keep long work going where nobody reads what it says any more."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Lasting(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
