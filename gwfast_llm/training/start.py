"""The fourth stage: the trainer's settings, and the checkpoint from which a resumed run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import TrainingArguments

from gwfast_llm.training.arguments import training_arguments
from gwfast_llm.training.pivot import LoadedPivot
from gwfast_llm.training.preflight import inputs_of, one_device, same_inputs
from gwfast_llm.training.prepare import Prepared
from gwfast_llm.training.saving import agreed_checkpoint


@dataclass(frozen=True)
class Folder:
    """Where a run keeps its checkpoints.

    Attributes
    ----------
    path : Path
        The folder.
    keeps : bool
        Whether it outlives the call.
    resume : bool
        Whether the run goes on from the last checkpoint in it.
    """

    path: Path
    keeps: bool
    resume: bool


@dataclass(frozen=True)
class Start:
    """From where and with which settings a run starts.

    Attributes
    ----------
    arguments : transformers.TrainingArguments
        The trainer's settings.
    last : Path or None
        Checkpoint to go on from.
    notes : list of str
        What the user should know.
    """

    arguments: TrainingArguments
    last: Path | None
    notes: list[str]


def start_of(prepared: Prepared, pivot: LoadedPivot, folder: Folder, quiet: bool) -> Start:
    """Make the trainer's settings and find the checkpoint.

    Raises
    ------
    FusionError
        When no checkpoint in the folder is what was written, or the inputs of a resumed run have changed.
    """
    config = prepared.config
    arguments = training_arguments(config.train, folder.path, quiet, pivot.bf16)
    alone = one_device(arguments)
    last, left_out = None, ""
    if folder.resume:
        last, left_out = agreed_checkpoint(folder.path, config.train.steps if prepared.sharded else None)
    for note in (pivot.note, alone, left_out):
        if note and not quiet and arguments.should_log:
            print(note)
    if folder.keeps:
        inputs = inputs_of(config, prepared.data, prepared.sources)
        same_inputs(folder.path, inputs, last is not None, arguments.should_save)
    return Start(arguments, last, [note for note in (alone, left_out) if note])
