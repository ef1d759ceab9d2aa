"""The last stage before gathering: the trainer of a run, and its steps."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from transformers import PrinterCallback, TrainerCallback
from transformers.integrations.integration_utils import TensorBoardCallback

from gwfast_llm.config import FuseConfig
from gwfast_llm.system import interruption
from gwfast_llm.system.disk import spell_bytes
from gwfast_llm.system.trouble import out_of_disk, out_of_memory
from gwfast_llm.terms.collate import FusionCollator
from gwfast_llm.training.arguments import pivot_memory
from gwfast_llm.training.checkpoints import remove_halves, step_of
from gwfast_llm.training.loggers import ConfigurationCallback
from gwfast_llm.training.observers import LoggingCallback, Scene
from gwfast_llm.training.on_policy import writer_of
from gwfast_llm.training.order import Indices
from gwfast_llm.training.preflight import bytes_of
from gwfast_llm.training.progress import Progress, ProgressCallback
from gwfast_llm.training.saving import MarkCallback
from gwfast_llm.training.start import Folder
from gwfast_llm.training.trainer import FusionTrainer


def trainer_of(
    scene: Scene, observers: list[TrainerCallback], progress: Progress | None, folder: Folder
) -> FusionTrainer:
    """Make the trainer of a run.

    Parameters
    ----------
    scene : Scene
        The run as the earlier stages have set it up.
    observers : list of transformers.TrainerCallback
        What looks on.
    progress : callable or None
        Called with (steps done, steps in all).
    folder : Folder
        Checkpoints; TensorBoard's events go into ``logs`` beside it.
    """
    prepared, config = scene.prepared, scene.prepared.config
    size, total, pad = prepared.data.size, len(prepared.rows), prepared.tokenizer.pad_token_id or 0
    longest = config.data.max_length if config.train.packing else 0
    told = [ProgressCallback(progress)] if progress is not None else []
    described = [ConfigurationCallback(config.as_dict())] if config.train.report_to else []
    trainer = FusionTrainer(
        scene.pivot.model,
        scene.start.arguments,
        scene.objective,
        FusionCollator(prepared.rows, pad, config.objective, scene.desk, longest),
        Indices(0, size),
        Indices(size, total),
        [MarkCallback(), *told, *observers, *described],
        scene.pivot.head,
        config.train.save_every if folder.keeps else 0,
        writer_of(scene, folder.path if folder.keeps else None),
    )
    for callback in described:
        callback.loggers = trainer.callback_handler.callbacks
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, LoggingCallback):
            callback.log = trainer.log
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            callback.logging_dir = str(folder.path.parent / "logs")  # checkpoints are deleted in the end
    if progress is not None:
        trainer.remove_callback(PrinterCallback)
    return trainer


def train(trainer: FusionTrainer, config: FuseConfig, folder: Folder, last: Path | None) -> None:
    """Run the steps, from the last checkpoint where there is one; trouble becomes one line.

    Raises
    ------
    FusionError
        When memory or disk run out, or the loss is no longer finite.
    InterruptedFusion
        After a signal, once a checkpoint is in the folder.
    """
    if last is not None and step_of(last) >= config.train.steps:
        trainer.take_over(last)
        return
    size = spell_bytes(3 * bytes_of(trainer.model)[1])  # weights and two moments
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    full = f"the disk of {folder.path.parent} is full; a checkpoint takes about {size}: make room"
    noting = interruption.deferred("a checkpoint is written first") if folder.keeps else nullcontext()
    try:
        with out_of_memory(pivot_memory(config, sharded)), out_of_disk(full), noting:
            trainer.train(resume_from_checkpoint=str(last) if last else None)
            if interruption.asked():
                trainer.save_and_stop()
    finally:
        if trainer.args.should_save:
            remove_halves(folder.path)
    trainer.stop_if_broken()
