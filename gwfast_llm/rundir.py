"""Run folders: named before the work starts, in place only when it is finished."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def unfinished(target: Path) -> Path:
    """Folder in which a run that can be resumed is built."""
    return target.with_name(f".{target.name}.unfinished")


def open_unfinished(target: Path, config: dict[str, Any], resume: bool, overwrite: bool) -> Path:
    """Make or find the folder of a run that can be resumed after a kill.

    Parameters
    ----------
    target : Path
        Final folder.
    config : dict
        Configuration; kept in the folder, and compared when resuming.
    resume : bool
        Go on with what is there.
    overwrite : bool
        Throw away what is there.

    Returns
    -------
    Path

    Raises
    ------
    FusionError
        When there is something and neither flag is given, nothing to resume, or another configuration.
    """
    folder = unfinished(target)
    record = folder / "config.json"
    if resume:
        if not record.is_file():
            raise FusionError(f"there is nothing to resume for {target}; start it without --resume")
        before = json.loads(record.read_text())
        changed = [name for name in _flat(config) if _flat(before).get(name) != _flat(config)[name]]
        if changed:
            raise FusionError(
                f"{target} was started with another configuration ({', '.join(changed)}); "
                "resume with the same, or use another --name"
            )
        return folder
    if folder.exists() and not overwrite:
        raise FusionError(f"an unfinished run of {target} exists; --resume goes on with it, --overwrite starts anew")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as problem:
        raise FusionError(f"cannot write to {target.parent} ({problem.strerror}); give another --runs") from None
    record.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return folder


def finish(folder: Path, target: Path) -> None:
    """Put a finished run in its place, replacing an older one there."""
    old = folder.with_name(folder.name + ".old")
    if target.exists():
        target.rename(old)
    folder.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested configuration as dotted names."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
