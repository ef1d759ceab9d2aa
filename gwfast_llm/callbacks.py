"""What is told along a training run: progress, the diagnosis, and which checkpoints are whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from transformers import TrainerCallback

from gwfast_llm.diagnose import Agreement

Progress = Callable[[int, int], None]
WHOLE = "whole"  # name of the mark in a finished checkpoint


class ProgressCallback(TrainerCallback):
    """Tells (steps done, steps in all) after every step."""

    def __init__(self, progress: Progress):
        self._progress = progress

    def on_step_end(self, args, state, control, **kwargs):
        """Tell how far the run is."""
        self._progress(state.global_step, state.max_steps)


class DiagnosisCallback(TrainerCallback):
    """Writes the diagnosis into the log history, where a resumed run finds it again."""

    def __init__(self, diagnosis: Sequence[Agreement]):
        self._diagnosis = diagnosis

    def on_train_begin(self, args, state, control, **kwargs):
        """Write one row a part."""
        state.log_history += [{"step": 0, **dataclasses.asdict(agreement)} for agreement in self._diagnosis]


class MarkCallback(TrainerCallback):
    """Marks a checkpoint that is whole; a kill while one is written leaves it without the mark."""

    def on_save(self, args, state, control, **kwargs):
        """Set the mark."""
        if state.is_world_process_zero:
            (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / WHOLE).touch()


def step_of(checkpoint: Path) -> int:
    """Step at which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def last_checkpoint(folder: Path, before: int | None = None) -> Path | None:
    """Newest whole checkpoint of a folder, of a step less than `before` where that is given; None if there is none."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{WHOLE}")]
    return max((path for path in whole if before is None or step_of(path) < before), key=step_of, default=None)
