"""Run folders: named before the work starts, in place only when it is finished."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gwfast_llm.errors import FusionError


def choose(runs: Path, name: str, prefix: str, overwrite: bool) -> Path:
    """Pick the folder of a run.

    Parameters
    ----------
    runs : Path
        Folder of all runs.
    name : str
        Name given by the user; empty for the next free number after `prefix`.
    prefix : str
        Start of a numbered name.
    overwrite : bool
        Whether an existing folder of that name may be replaced.

    Returns
    -------
    Path
        The folder, not yet created.

    Raises
    ------
    FusionError
        When the folder exists and may not be replaced, or the name is not one folder name.
    """
    if runs.exists() and not runs.is_dir():
        raise FusionError(f"--runs {runs} is a file; give a folder")
    if name:
        if not re.fullmatch(r"[\w.+-]+", name) or name.startswith("."):
            raise FusionError(f"--name {name!r} is not a plain folder name; use letters, digits, '-', '_', '.'")
        target = runs / name
        if target.exists() and not overwrite:
            raise FusionError(f"run folder {target} exists; give another --name, or --overwrite to replace it")
        return target
    taken = [int(m.group(1)) for p in runs.glob(f"{prefix}-*") if (m := re.fullmatch(rf"{prefix}-(\d+)", p.name))]
    return runs / f"{prefix}-{max(taken, default=0) + 1:03d}"


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """Give a hidden folder beside `target` that takes its place when the block ends well, and is removed otherwise.

    Parameters
    ----------
    target : Path
        Final folder; replaced where it exists.

    Yields
    ------
    Path
        The folder to fill.

    Raises
    ------
    FusionError
        When the parent folder cannot be written to.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as problem:
        raise FusionError(f"cannot write to {target.parent} ({problem.strerror}); give another --runs") from None
    old = scratch.with_name(scratch.name + ".old")
    try:
        yield scratch
        scratch.chmod(0o755)
        if target.exists():
            target.rename(old)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(old, ignore_errors=True)
