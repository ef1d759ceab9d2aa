"""A fusion, stage by stage: from a configuration to a trained pivot."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from gwfast_llm.config import CROSS_ENTROPY, FuseConfig
from gwfast_llm.system.errors import one_line
from gwfast_llm.training.checkpoints import step_of
from gwfast_llm.training.diagnosis import attach_diagnosis
from gwfast_llm.training.gather import whole_model
from gwfast_llm.training.interval import attach_interval
from gwfast_llm.training.measured import Measured, Stopwatch, in_use, most_in_use, reset
from gwfast_llm.training.observers import Scene, observe
from gwfast_llm.training.on_policy import check_on_policy
from gwfast_llm.training.opening import open_sources
from gwfast_llm.training.pivot import load_pivot, with_training_aids
from gwfast_llm.training.preflight import bytes_of, check_room
from gwfast_llm.training.prepare import prepare_fusion
from gwfast_llm.training.progress import Progress
from gwfast_llm.training.samples import Sample, SampleCallback, chosen, samples_of
from gwfast_llm.training.start import Folder, start_of
from gwfast_llm.training.steps import train, trainer_of

Metric = dict[str, Any]
OBSERVERS = (attach_interval, attach_diagnosis)
SHOWN = {"loss", "gw_lower", "eval_loss", "cosine"}  # rows of the log history that are metrics hold one of these


@dataclass(frozen=True)
class Fused:
    """A trained pivot.

    Attributes
    ----------
    model, tokenizer : transformers objects
        The pivot after training, adapters merged, with its tokenizer.
    metrics : list of dict
        Losses, intervals, and at step 0 the diagnosis of every part.
    seconds : float
        Time from loading to the end of training.
    notes : list of str
        What was left out or cut from the data.
    steps : int
        Optimiser steps.
    samples : list of Sample
        What the pivot wrote to a few prompts before and after.
    measured : Measured or None
        Time and memory.
    lengths : sequence of int
        Tokens of every training example under the pivot's tokenizer.
    """

    model: Any
    tokenizer: Any
    metrics: list[Metric]
    seconds: float
    notes: list[str]
    steps: int = 0
    samples: list[Sample] = field(default_factory=list)
    measured: Measured | None = None
    lengths: Sequence[int] = ()


def fuse(
    config: FuseConfig, progress: Progress | None = None, checkpoints: Path | None = None, resume: bool = False
) -> Fused:
    """Train the pivot of a configuration on its data and sources.

    Parameters
    ----------
    config : FuseConfig
        Everything that defines the run.
    progress : callable, optional
        Called with (steps done, steps in all); without it the trainer shows its own bar.
    checkpoints : Path, optional
        Folder for checkpoints; without it none outlives the call.  TensorBoard's events go into ``logs`` beside it.
    resume : bool
        Go on from the last checkpoint in that folder.

    Returns
    -------
    Fused

    Raises
    ------
    FusionError
        When a model, a tokenizer or the data cannot be used, naming which and why; when no checkpoint in the folder is
        what was written.
    InterruptedFusion
        After Ctrl-C or a plain kill in the midst of training, once a checkpoint is in the folder.
    """
    if checkpoints is not None:
        return _fuse(config, progress, Folder(checkpoints, True, resume))
    with tempfile.TemporaryDirectory() as scratch:
        return _fuse(config, progress, Folder(Path(scratch) / "checkpoints", False, False))


def _fuse(config: FuseConfig, progress: Progress | None, folder: Folder) -> Fused:
    started, quiet = time.perf_counter(), progress is not None
    prepared = prepare_fusion(config)
    config = prepared.config
    check_on_policy(config, prepared.sharded)
    reset()
    before = in_use()
    loaded = load_pivot(prepared)
    opened = open_sources(prepared, quiet)
    start = start_of(prepared, loaded, folder, quiet)
    pivot = with_training_aids(loaded, config)
    if start.arguments.should_save:
        check_room(folder.path, *bytes_of(pivot.model), config)
    scene = Scene(prepared, opened.objective, opened.desk, loaded, pivot, start, quiet)
    callbacks, unseen = observe(scene, OBSERVERS)
    shown = chosen(prepared)
    callbacks += [SampleCallback(prepared, shown)] if shown else []
    trainer = trainer_of(scene, callbacks, progress, folder)
    watch, first = Stopwatch(), step_of(start.last) if start.last else 0
    with watch.running():
        train(trainer, config, folder, start.last)
    steps = max(0, trainer.state.global_step - first)
    measured = Measured(watch.seconds, steps, most_in_use(), before, torch.cuda.is_available())
    held = [loaded.note] if loaded.note else []
    notes = [
        *prepared.data.notes,
        *held,
        *opened.notes,
        *start.notes,
        *unseen,
        *trainer.weighing.warnings,
        *trainer.weighing.limits,
    ]
    if prepared.sharded and any(name != CROSS_ENTROPY for name in opened.objective.names):
        notes.append("the model is sharded: how hard each part pulls was not measured, and weights are as given")
    metrics = [_plain(row) for row in trainer.state.log_history if row.keys() & SHOWN]
    limited = [own.term.name for own in opened.objective.terms if own.term.most]
    metrics += [{"step": 0, f"weight_{name}": trainer.weighing.weights[name]} for name in limited]
    trained = whole_model(trainer, config).eval()
    samples = samples_of(trained, prepared, shown, trainer.state.log_history)
    return Fused(
        trained,
        prepared.tokenizer,
        metrics,
        time.perf_counter() - started,
        list(map(one_line, notes)),
        config.train.steps,
        samples,
        measured,
        [len(row.ids) for row in prepared.rows[: prepared.data.size]],
    )


def _plain(row: Metric) -> Metric:
    kept = {name: value for name, value in row.items() if name != "epoch"}
    return {n: value if n in ("step", "part") else float(value) for n, value in kept.items()}
