"""Run folders: claimed before the work starts, marked as ours, in their place only when the model is whole.

Beside ``runs/<name>`` lie, while they are needed, ``.<name>.lock``, ``.<name>.unfinished`` (the run at work) and
``.<name>.old`` (what it replaces).  Only folders with our mark are replaced or removed.  A run folder that is a link is
refused; the folder of all runs may be one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.locks import Held, held
from gwfast_llm.system.records import read_object, write_object, write_text
from gwfast_llm.training.checkpoints import WHOLE, last_checkpoint, step_of

MARK = ".gwfast-run"  # says that a folder is a run of ours
CONFIG = "config.json"
MODEL = "model"
COMPARE = "compare"  # in the configuration of a run that compares objectives
LONGEST = 240  # bytes of a name, to which file systems that hold 255 let us add an ending


@contextmanager
def claimed(runs: Path, name: str, prefix: str, resume: bool, overwrite: bool) -> Iterator[Path]:
    """Pick the folder of a run and keep every other start away from it until the block ends.

    Parameters
    ----------
    runs : Path
        Folder of all runs.
    name : str
        Name given by the user; empty for the next free number after `prefix`, or the last unfinished one.
    prefix : str
        Start of a numbered name.
    resume : bool
        Whether an unfinished run goes on.
    overwrite : bool
        Whether an existing folder of that name may be replaced.

    Yields
    ------
    Path
        The folder, not yet created.

    Raises
    ------
    FusionError
        When the folder exists and may not be replaced, is no run of ours or is being written by another process, or
        the name is not one folder name.
    """
    if name and (not re.fullmatch(r"[\w.+-]+", name) or name.startswith(".")):
        raise FusionError(f"--name {name!r} is not a plain folder name; use letters, digits, '-', '_', '.'")
    if len(os.fsencode(name)) > LONGEST:
        raise FusionError(
            f"--name {name[:20]}... has {len(os.fsencode(name))} bytes; give a name of at most {LONGEST} bytes"
        )
    _make_folder(runs)
    with ExitStack() as stack:
        for target in [runs / name] if name else _numbered(runs, prefix, resume):
            try:
                stack.enter_context(
                    held(_beside(target, "lock"), f"run folder {target}", "give another --name or --runs")
                )
            except Held:
                if name:
                    raise
                continue
            _recover(target)
            if name or resume or not target.exists():
                break
            stack.close()  # a run of this number was finished since the numbers were read
        check_replaceable(target, overwrite)
        yield target


def _make_folder(folder: Path) -> None:
    try:
        if folder.exists() and not folder.is_dir():
            raise FusionError(f"--runs {folder} is a file; give a folder")
        if folder.is_symlink() and not folder.exists():
            raise FusionError(f"--runs {folder} is a link to nothing; give a folder")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise _unwritable(folder, problem) from None


def _unwritable(folder: Path, problem: OSError) -> FusionError:
    return FusionError(f"cannot write to {folder} ({problem.strerror}); give another --runs")


def _numbered(runs: Path, prefix: str, resume: bool) -> Iterator[Path]:
    """Numbered folders, best first: free ones, or those of unfinished runs."""
    if resume:
        found = [_number(path.name, rf"\.{prefix}-(\d+)\.unfinished") for path in runs.glob(f".{prefix}-*.unfinished")]
        if not any(found):
            raise FusionError(f"there is no unfinished run {prefix}-... in {runs} to resume; start without --resume")
        yield from (runs / f"{prefix}-{number:03d}" for number in sorted(found, reverse=True) if number)
        raise FusionError(f"every unfinished run in {runs} is being written by another process; give its --name")
    number = max([_number(path.name, rf"{prefix}-(\d+)") for path in runs.glob(f"{prefix}-*")], default=0)
    while True:
        number += 1
        target = runs / f"{prefix}-{number:03d}"
        kept = kept_in(unfinished(target))
        if kept:
            print(f"an unfinished run {target.name} holds {kept}: --resume goes on with it, this is a new one")
        else:
            yield target


def _number(name: str, pattern: str) -> int:
    found = re.fullmatch(pattern, name)
    return int(found.group(1)) if found else 0


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(f".{target.name}.{ending}")


def unfinished(target: Path) -> Path:
    """Folder in which a run is at work."""
    return _beside(target, "unfinished")


def is_run(folder: Path) -> bool:
    """Whether a folder may be replaced as a run of ours: it has our mark, or is empty."""
    return (folder / MARK).is_file() or not any(folder.iterdir())


def check_replaceable(target: Path, overwrite: bool) -> None:
    """Refuse a run folder that exists and may not be replaced.

    Raises
    ------
    FusionError
    """
    if target.is_symlink():
        raise FusionError(f"run folder {target} is a link; remove the link, or give another --name")
    if not target.exists():
        return
    if not overwrite:
        more = ""
        if kept_in(unfinished(target)):
            more = ", or --resume --overwrite to finish the unfinished run of that name and replace it"
        raise FusionError(f"run folder {target} exists; give another --name, or --overwrite to replace it{more}")
    _check_ours(target)


def _check_ours(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        raise FusionError(
            f"{folder} is no run of gwfast_llm, which alone --overwrite replaces; move it away, or give another --name"
        )
    try:
        ours = is_run(folder)
    except OSError as problem:
        raise FusionError(f"{folder} cannot be read ({problem.strerror}); give another --name") from None
    if not ours:
        raise FusionError(
            f"{folder} is no run of gwfast_llm, which alone --overwrite replaces: it holds no file {MARK} (runs of "
            "early versions hold none either); remove it by hand, or give another --name"
        )


def _recover(target: Path) -> None:
    """Bring to an end what a kill between two renames has left: an older run is put back, or removed when replaced."""
    old = _beside(target, "old")
    if not old.exists() and not old.is_symlink():
        return
    _check_ours(old)
    try:
        if target.exists():
            _remove(old)
        else:
            old.rename(target)
    except OSError as problem:
        raise FusionError(f"{old}, left by a killed run, cannot be moved ({problem.strerror}); move it away") from None


def _remove(folder: Path) -> None:
    """Delete a folder of ours; its mark goes last, so that what a kill leaves of it is still known as ours."""
    (folder / MARK).touch()
    for path in folder.iterdir():
        if path.name == MARK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    shutil.rmtree(folder)


def kept_in(work: Path) -> str:
    """What a run at work holds that took time to make, in words; empty where there is nothing."""
    if (work / MODEL).is_dir():
        return "the trained model"
    checkpoint = last_checkpoint(work / "checkpoints")
    if checkpoint is not None:
        return f"the checkpoint of step {step_of(checkpoint)}"
    results = len(list(work.glob("results/*.json")))
    begun = {mark.parents[1] for mark in work.glob(f"checkpoints/*/*/{WHOLE}")}
    found = [f"the results of {results} fusions"] if results else []
    found += [f"checkpoints of {len(begun)} more"] if begun else []
    models = [path for path in work.glob("models/*") if not path.name.startswith(".")]
    return " and ".join(found or [f"{len(models)} trained models"] * bool(models))


def open_unfinished(target: Path, config: dict[str, Any], resume: bool, overwrite: bool) -> Path:
    """Make or find the folder of a run that can be resumed after a kill.

    Parameters
    ----------
    target : Path
        Final folder, claimed.
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
    if folder.exists() or folder.is_symlink():
        _check_ours(folder)
    if resume:
        _check_same(folder, target, config)
        return folder
    kept = kept_in(folder)
    if kept and not overwrite:
        raise FusionError(
            f"an unfinished run of {target} exists and holds {kept}; --resume goes on with it, --overwrite starts anew"
        )
    try:
        if folder.exists():
            _remove(folder)
        folder.mkdir()
        write_text(folder / MARK, "made by gwfast_llm; --overwrite may replace this folder\n")
        write_object(folder / CONFIG, config)
    except OSError as problem:
        raise _unwritable(target.parent, problem) from None
    return folder


def _check_same(folder: Path, target: Path, config: dict[str, Any]) -> None:
    record = folder / CONFIG
    if not record.is_file():
        raise FusionError(f"there is nothing to resume for {target}; start it without --resume")
    before, now = _flat(read_object(record, "the run cannot be resumed; start anew with --overwrite")), _flat(config)
    changed = [name for name in dict.fromkeys([*now, COMPARE]) if before.get(name) != now.get(name)]
    if changed:
        raise FusionError(
            f"{target} was started with another configuration ({', '.join(changed)}); "
            "resume with the same, or use another --name"
        )


def drop_if_empty(work: Path) -> str:
    """Remove a run at work that holds nothing that took time; otherwise it stays.

    Returns
    -------
    str
        What is on the disk now and what can be done with it, for the end of a message.
    """
    kept = kept_in(work)
    if kept:
        return f"{kept} is kept in {work}: the same command with --resume goes on from there"
    if work.is_dir() and not work.is_symlink():
        shutil.rmtree(work, ignore_errors=True)
    return "nothing had been made yet that could be gone on from, so no folder is left"


def finish(work: Path, target: Path, overwrite: bool) -> None:
    """Put a run whose model is whole in its place; an older run there goes when the new one is in place.

    Raises
    ------
    FusionError
        When something came to be there meanwhile that may not be replaced.
    """
    try:
        check_replaceable(target, overwrite)
    except FusionError as problem:
        raise FusionError(f"the run is whole, in {work}, but cannot be put in its place: {problem}") from None
    old = _beside(target, "old")
    try:
        if target.exists():
            target.rename(old)
        work.rename(target)
    except OSError as problem:
        raise FusionError(
            f"the run is whole, in {work}, but cannot be put in its place ({problem.strerror}); move it there"
        ) from None
    if old.exists():
        _remove(old)


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested configuration as dotted names."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
