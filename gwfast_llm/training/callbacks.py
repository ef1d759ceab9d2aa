"""What is told along a training run: progress and the diagnosis."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from transformers import TrainerCallback

from gwfast_llm.training.diagnosis import Agreement

Progress = Callable[[int, int], None]


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
