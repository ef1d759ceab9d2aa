"""When checkpoints are written, what they hold beside the trainer's own, and how several processes agree on one."""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import Tensor
from transformers import TrainerCallback

from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.records import write_checksums
from gwfast_llm.training.checkpoints import WHOLE, sound_checkpoint, whole_checkpoints

KEPT = 2  # whole checkpoints that are kept
PERIOD = 600.0  # seconds between checkpoints by time
SHARE = 10  # or so many times what writing one takes, where that is longer
SHORT = 60.0  # seconds of training that may be without a checkpoint when the steps are done


class MarkCallback(TrainerCallback):
    """Marks a checkpoint that is whole and removes those before the last two; a kill leaves it without the mark."""

    def on_save(self, args, state, control, **kwargs):
        """Set the mark, once every process has written its part."""
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir))
            write_checksums(folder / f"checkpoint-{state.global_step}", WHOLE)
            for old in whole_checkpoints(folder)[KEPT:]:
                shutil.rmtree(old, ignore_errors=True)
        PartialState().wait_for_everyone()  # if a process ended now, its launcher would end the one that marks


class SaveClock:
    """When a run that saves by time is to save next.

    Parameters
    ----------
    every : int
        ``train.save_every``: only a negative one saves by time.
    """

    def __init__(self, every: int):
        self._by_time = every < 0
        self._last = time.monotonic()
        self._cost = 0.0

    def due(self, at_end: bool) -> bool:
        """Whether the step that begins now should end with a checkpoint."""
        wait = SHORT if at_end else max(PERIOD, SHARE * self._cost)
        return self._by_time and time.monotonic() - self._last >= wait

    def saved(self, began: float) -> None:
        """Note that a checkpoint has been written."""
        self._last = time.monotonic()
        self._cost = self._last - began


@dataclass(frozen=True)
class Border:
    """What a checkpoint written within a step needs of the moment before it.

    Attributes
    ----------
    generators : tuple
        States of the random number generators of python, numpy, torch and the GPU.
    seen : Tensor or None
        Sum of every part of the loss over the steps since the last logged one.
    steps : int
        Number of those steps.
    """

    generators: tuple[Any, ...]
    seen: Tensor | None
    steps: int

    @staticmethod
    def here(seen: Tensor | None, steps: int) -> Border:
        """The present moment."""
        gpu = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
        return Border((random.getstate(), np.random.get_state(), torch.get_rng_state(), gpu), seen, steps)  # noqa: NPY002

    def restore(self) -> None:
        """Set the generators back."""
        python, arrays, cpu, gpu = self.generators
        random.setstate(python)
        np.random.set_state(arrays)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if gpu is not None:
            torch.cuda.set_rng_state(gpu)


class BorderCallback(TrainerCallback):
    """Tells the trainer that a step is done; saves where it said so at the start of the step, evaluates at the end."""

    def __init__(self, trainer: Any):
        self._trainer = trainer

    def on_step_end(self, args, state, control, **kwargs):
        """Remember the moment; ask for a checkpoint."""
        self._trainer.border = Border.here(None, 0)
        control.should_save |= self._trainer.save_due
        if args.eval_strategy != "no" and state.global_step >= state.max_steps:
            control.should_evaluate = True


def agreed_checkpoint(folder: Path, before: int | None = None) -> tuple[Path | None, str]:
    """What `gwfast_llm.training.checkpoints.sound_checkpoint` finds in the first process, in all of them."""
    state = PartialState()
    found: list[Any] = [None, "", ""]
    if state.is_main_process:
        try:
            found[:2] = sound_checkpoint(folder, before)
        except FusionError as mistake:
            found[2] = str(mistake)
    if state.num_processes > 1:
        broadcast_object_list(found)
    if found[2]:
        raise FusionError(found[2])
    return found[0], found[1]
