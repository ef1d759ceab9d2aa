"""Checkpoints on disk: which are complete, and whether their files are unchanged when a run resumes."""

from __future__ import annotations

import shutil
from pathlib import Path

from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.records import read_object, unsound

STATE = "trainer_state.json"
WHOLE = "whole"  # name of the mark in a finished checkpoint, which lists its files with their checksums


def step_of(checkpoint: Path) -> int:
    """Step at which a checkpoint was written; -1 where its name does not say."""
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1


def whole_checkpoints(folder: Path, before: int | None = None) -> list[Path]:
    """Checkpoints that were written to their end, newest first."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{WHOLE}") if step_of(path.parent) >= 0]
    return sorted((p for p in found if before is None or step_of(p) < before), key=step_of, reverse=True)


def last_checkpoint(folder: Path, before: int | None = None) -> Path | None:
    """Newest whole checkpoint of a folder, of a step less than `before` where that is given; None if there is none."""
    return next(iter(whole_checkpoints(folder, before)), None)


def sound_checkpoint(folder: Path, before: int | None = None) -> tuple[Path | None, str]:
    """Newest checkpoint whose files and name are as they were written; others go when an older one is sound.

    Parameters
    ----------
    folder : Path
        Folder of the checkpoints.
    before : int, optional
        Only those of an earlier step.

    Returns
    -------
    Path or None
        None where none was written to its end.
    str
        What was left out and why; empty where nothing was.

    Raises
    ------
    FusionError
        When there are some and none of them is sound, naming the first bad file or name.
    """
    said, bad = [], []
    last = None
    for checkpoint in whole_checkpoints(folder, before):
        problem = unsound(checkpoint, WHOLE) or _misnamed(checkpoint)
        if not problem:
            last = checkpoint
            break
        bad.append(checkpoint)
        said.append(problem)
    if said and last is None:
        raise FusionError(
            f"{said[0]}; there is no other whole checkpoint: put back what was there, or start anew with --overwrite"
        )
    halves = remove_halves(folder)
    for checkpoint in bad:
        shutil.rmtree(checkpoint, ignore_errors=True)
    if halves:
        said.append(f"{', '.join(halves)} was not written to its end")
    where = f"from step {step_of(last)}" if last else "from the first step"
    return last, f"{'; '.join(said)}: the run goes on {where}" if said else ""


def _misnamed(checkpoint: Path) -> str:
    """What the state of a checkpoint says against its name; empty where they agree."""
    try:
        found = read_object(checkpoint / STATE, "").get("global_step")
    except FusionError:
        return f"{checkpoint / STATE} is missing or damaged"
    return "" if found == step_of(checkpoint) else f"{checkpoint} is of step {found}, as its {STATE} says"


def remove_halves(folder: Path) -> list[str]:
    """Remove checkpoints that were not written to their end; their names."""
    halves = [path for path in sorted(folder.glob("checkpoint-*")) if path.is_dir() and not (path / WHOLE).exists()]
    for half in halves:
        shutil.rmtree(half, ignore_errors=True)
    return [half.name for half in halves]
