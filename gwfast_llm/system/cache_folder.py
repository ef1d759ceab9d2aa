"""Where built things are kept, and how one of them is built once, however many processes ask for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.locks import held
from gwfast_llm.system.records import unsound, whole_folder, write_checksums

WHOLE = "whole"  # name of the mark in a finished folder, which lists its files with their checksums
FIX = "set GWFAST_CACHE to a folder that can be written to"
ROOM = 2**26  # bytes that must be free before something is built


def cache_folder() -> Path:
    """Folder for things worth keeping between runs; it may be a link to one.

    ``$GWFAST_CACHE`` where set, else ``$XDG_CACHE_HOME/gwfast``, else ``~/.cache/gwfast``.

    Raises
    ------
    FusionError
        When there is no home folder.
    """
    own, base = os.environ.get("GWFAST_CACHE"), os.environ.get("XDG_CACHE_HOME")
    try:
        if own:
            return Path(own).expanduser()
        return (Path(base).expanduser() if base else Path.home() / ".cache") / "gwfast"
    except RuntimeError:  # neither HOME nor an entry for the user
        raise FusionError(f"the folder for built models is not known, as there is no home folder; {FIX}") from None


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        why = "a file or a link to nothing is in its way" if isinstance(problem, FileExistsError) else problem.strerror
        raise FusionError(f"the folder for built models, {folder}, cannot be made ({why}); {FIX}") from None


def built_once(target: Path, build: Callable[[Path], None]) -> Path:
    """Find a folder of the cache, or build it: whole or not at all, and again where a file of it has changed.

    Parameters
    ----------
    target : Path
        The folder, inside `cache_folder`.
    build : callable
        Fills the folder that it is given.  Another process that wants the same one waits.

    Raises
    ------
    FusionError
        When the cache cannot be written to.
    """
    if target.is_dir() and not unsound(target, WHOLE):
        return target
    _make(target.parent)
    with held(target.with_name(f".{target.name}.lock"), f"{target}", FIX, wait=True):
        if target.is_symlink():
            raise FusionError(f"{target} is a link, where a built model belongs; remove the link, or {FIX}")
        if target.is_dir() and not unsound(target, WHOLE):
            return target
        free = shutil.disk_usage(target.parent).free
        if free < ROOM:
            raise FusionError(
                f"{free} bytes are free at {target.parent}, {ROOM} are needed to build {target.name}; {FIX}"
            )
        try:
            with whole_folder(target) as folder:
                build(folder)
                write_checksums(folder, WHOLE)
                shutil.rmtree(target, ignore_errors=True)
        except OSError as problem:
            raise FusionError(f"{target} cannot be written ({problem.strerror or problem}); {FIX}") from None
    return target
