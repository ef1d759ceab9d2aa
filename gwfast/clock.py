"""The one clock of time limits: seconds in which kernels are compiled or libraries are imported do not count."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_depth, _since, _paused = 0, 0.0, 0.0


def now() -> float:
    """Return seconds since some moment, less those between `pause` and `resume`."""
    with _lock:
        return (_since if _depth else time.perf_counter()) - _paused


def pause() -> None:
    """Stop the clock until `resume`; pauses may lie inside one another, or overlap in several threads."""
    global _depth, _since
    with _lock:
        if _depth == 0:
            _since = time.perf_counter()
        _depth += 1


def resume() -> None:
    """End a `pause`."""
    global _depth, _paused
    with _lock:
        _depth -= 1
        if _depth == 0:
            _paused += time.perf_counter() - _since


@contextmanager
def paused() -> Iterator[None]:
    """Stop the clock inside the block."""
    pause()
    try:
        yield
    finally:
        resume()
