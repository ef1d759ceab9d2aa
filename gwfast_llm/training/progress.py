"""Progress of a training run, told after every step."""

from __future__ import annotations

from collections.abc import Callable

from transformers import TrainerCallback

Progress = Callable[[int, int], None]


class ProgressCallback(TrainerCallback):
    """Tells (steps done, steps in all) after every step."""

    def __init__(self, progress: Progress):
        self._progress = progress

    def on_step_end(self, args, state, control, **kwargs):
        """Tell how far the run is."""
        self._progress(state.global_step, state.max_steps)
