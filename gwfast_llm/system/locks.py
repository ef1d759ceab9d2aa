"""A lock on a folder that is being written: a file that names host and process, held while the process lives.

On one machine the file is locked by the system (`flock`), which ends with the process; what it says tells a lock of
another machine, or of a process on a file system without such locks, from one that was left behind.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gwfast_llm.system.errors import FusionError

try:
    import fcntl
except ImportError:  # Windows: every lock that is found counts as held
    fcntl = None

LARGEST, FIRST = 4096, b'{"host": "'  # bytes of a lock, and its first ones
WAIT = 0.5  # seconds between looks at a lock that is waited for


class Held(FusionError):
    """Another process writes there; `here` where it is one of this machine, whose end is seen."""

    def __init__(self, message: str, here: bool):
        super().__init__(message)
        self.here = here


@contextmanager
def held(lock: Path, what: str, advice: str, wait: bool = False) -> Iterator[None]:
    """Hold a lock for the length of the block.

    Parameters
    ----------
    lock : Path
        The lock file; removed at the end.  Its folder exists.
    what : str
        What is being written, for messages.
    advice : str
        What to do instead of waiting.
    wait : bool
        Wait for a process of this machine that holds it.

    Raises
    ------
    Held
        When another process holds it, naming host and process.
    FusionError
        When the lock cannot be written, or something else is in its place, which is left alone.
    """
    while True:
        try:
            file = _taken(lock, what, advice)
        except Held as other:
            if not wait or not other.here:
                raise
            time.sleep(WAIT)
            continue
        if file is not None:
            break
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if _is_at(file, lock):  # else something else came into its place
                lock.unlink()  # while it is still locked: nobody takes it in between
        os.close(file)


def _taken(lock: Path, what: str, advice: str) -> int | None:
    """Take the lock and say so in it; None where it vanished meanwhile, to be tried again."""
    foreign = f"{lock} is no lock that gwfast_llm has written, but in the place of one; move it away, or {advice}"
    plain = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        file = os.open(lock, os.O_RDWR | os.O_CREAT | plain, 0o644)
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            raise FusionError(f"{lock} is a link, where a lock belongs; remove it") from None
        if problem.errno in (errno.EISDIR, errno.ENXIO):
            raise FusionError(foreign) from None
        raise FusionError(f"cannot write to {lock.parent} ({problem.strerror}); {advice}") from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise FusionError(foreign)
        free = _system_lock(file)
        if free and not _is_at(file, lock):
            os.close(file)
            return None
        said = os.read(file, LARGEST)
        if free and not _is_ours(said):
            raise FusionError(foreign)
        holder = _holder(said)
        if not free or _lives(holder):
            raise Held(f"{what} is being written by {_named(holder)}; wait for it, or {advice}", here=True)
        if holder and not _is_here(holder):
            raise Held(
                f"{what} is being written by {_named(holder)}; wait for it, or {advice}; where that process is known "
                f"to have ended, delete {lock}",
                here=False,
            )
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
        os.write(file, json.dumps(_myself()).encode())
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(file)
        raise
    return file


def _system_lock(file: int) -> bool:
    """Lock an open file; whether nobody else has locked it.  A file system without locks counts as free."""
    if fcntl is None:
        return os.fstat(file).st_size == 0
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        return problem.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def _is_at(file: int, lock: Path) -> bool:
    """Whether the open file is still the one at this path."""
    try:
        there = os.lstat(lock)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(file))


def _is_ours(said: bytes) -> bool:
    """Whether we have written a lock, or begun to before the machine went down."""
    if len(said) == LARGEST:
        return False
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):  # nothing, zeros, or the beginning of one
        return not said.strip(b"\0") or said.startswith(FIRST) or FIRST.startswith(said)
    return isinstance(found, dict) and {"host", "process"} <= found.keys()


def _holder(said: bytes) -> dict[str, Any]:
    """What the lock says of its holder; empty where it says nothing that can be read."""
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        return {}
    good = isinstance(found, dict) and isinstance(found.get("host"), str) and isinstance(found.get("process"), int)
    return found if good else {}


def _myself() -> dict[str, Any]:
    me = os.getpid()
    return {**_here(), "process": me, "started": _started(me), "since": time.strftime("%Y-%m-%d %H:%M:%S")}


def _here() -> dict[str, str]:
    """Host, its boot and the space that process numbers belong to; empty where the system does not tell."""

    def told(read) -> str:
        try:
            return read().strip()
        except OSError:
            return ""

    boot = told(lambda: Path("/proc/sys/kernel/random/boot_id").read_text())
    return {"host": socket.gethostname(), "boot": boot, "space": told(lambda: os.readlink("/proc/self/ns/pid"))}


def _started(process: int) -> str:
    """When a process started, in the system's own count; empty where it is not told."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _is_here(holder: dict[str, Any]) -> bool:
    """Whether a holder ran on this machine: its system lock would still be there, if it lived."""
    here = _here()
    return holder["host"] == here["host"] or bool(here["boot"] and holder.get("boot") == here["boot"])


def _lives(holder: dict[str, Any]) -> bool:
    """Whether a holder is a process of this machine that still runs, and no later one of the same number."""
    here = _here()
    if not holder or os.name != "posix" or any(holder.get(name) != here[name] for name in here):
        return False
    try:
        os.kill(holder["process"], 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return holder.get("started") == _started(holder["process"])


def _named(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process on this machine"
    where = "this machine" if _is_here(holder) else f"the machine {holder['host']!r}"
    return f"process {holder['process']} on {where}, since {holder.get('since', 'an unknown time')}"
