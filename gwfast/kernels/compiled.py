"""Compiled kernels: kept on disk where a folder can be written, compiled anew where none can, off the clock."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

import numba
from numba.core import event

from gwfast import clock


class _OffTheClock(event.Listener):
    """Stops the clock while numba compiles, loads what it compiled before, or waits to do so."""

    def on_start(self, event: Any) -> None:
        clock.pause()

    def on_end(self, event: Any) -> None:
        clock.resume()


class Announcement(event.Listener):
    """Says once that kernels are being compiled, which a first call may spend a minute with."""

    said = False

    def on_start(self, event: Any) -> None:
        if not Announcement.said:
            Announcement.said = True
            print(
                "gwfast: compiling kernels, once on this machine; time limits do not run", file=sys.stderr, flush=True
            )

    def on_end(self, event: Any) -> None:
        """Say nothing more."""


event.register("numba:compiler_lock", _OffTheClock())
event.register("numba:compile", Announcement())


class _Careful:
    """A numba cache that cannot stop a call: what it cannot read or write is compiled, and said once."""

    said = False

    def __init__(self, cache: Any):
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, signature: Any, context: Any) -> Any:
        try:
            return self._cache.load_overload(signature, context)
        except Exception:  # a file that was cut short or is not ours: whatever reading it raises
            return None

    def save_overload(self, signature: Any, data: Any) -> None:
        try:
            try:
                self._cache.save_overload(signature, data)
            except (EOFError, pickle.UnpicklingError, ValueError):  # an index that was cut short
                self._cache.flush()
                self._cache.save_overload(signature, data)
        except Exception as error:
            _say(f"can be written ({error})")


class _NoCache:
    """What stands for a cache where numba finds no folder for one."""

    cache_path = None

    def load_overload(self, signature: Any, context: Any) -> None:
        return None

    def save_overload(self, signature: Any, data: Any) -> None:
        _say("is found")


def _say(what: str) -> None:
    if not _Careful.said:
        _Careful.said = True
        print(
            f"gwfast: no folder for compiled kernels {what}, so every process compiles them anew; "
            "set NUMBA_CACHE_DIR to a folder that can be written",
            file=sys.stderr,
            flush=True,
        )


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: `numba.njit` with a cache that needs no writable folder, without the interpreter's lock.

    Parameters
    ----------
    **options
        Of `numba.njit`.
    """

    def wrap(function: Callable[..., Any]) -> Any:
        kernel: Any = numba.njit(nogil=True, **options)(function)
        if not hasattr(kernel, "enable_caching"):
            return kernel  # numba is switched off (NUMBA_DISABLE_JIT): the plain function
        try:
            kernel.enable_caching()
        except (RuntimeError, OSError):
            kernel._cache = _NoCache()
        else:
            kernel._cache = _Careful(kernel._cache)
        return kernel

    return wrap
