"""From a configuration to a trained pivot: load, prepare, train, and merge adapters."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback, set_seed
from transformers.integrations.integration_utils import TensorBoardCallback

from gwfast_llm.config import FuseConfig, ObjectiveConfig
from gwfast_llm.errors import FusionError, one_line
from gwfast_llm.models.loading import (
    check_vocabulary,
    check_weights,
    filled_by_another,
    held_note,
    load_in_four_bits,
    load_to_train,
)
from gwfast_llm.models.output_layer import ChunkedHead
from gwfast_llm.models.separate import check_separate
from gwfast_llm.system import interruption
from gwfast_llm.system.disk import spell_bytes
from gwfast_llm.system.trouble import out_of_disk, out_of_memory
from gwfast_llm.teachers.desk import SourceDesk, path_maps
from gwfast_llm.terms.collate import FusionCollator
from gwfast_llm.terms.vocabulary_coupling import couple
from gwfast_llm.training.arguments import chunk_of, computes_in_bfloat16, training_arguments, with_adapters
from gwfast_llm.training.callbacks import DiagnosisCallback, Progress, ProgressCallback
from gwfast_llm.training.checkpoints import remove_halves, step_of
from gwfast_llm.training.diagnosis import diagnose
from gwfast_llm.training.gather import whole_model
from gwfast_llm.training.interval import IntervalCallback, IntervalMeter
from gwfast_llm.training.preflight import bytes_of, check_loggers, check_room, inputs_of, one_device, same_inputs
from gwfast_llm.training.prepare import prepare_run
from gwfast_llm.training.saving import MarkCallback, agreed_checkpoint
from gwfast_llm.training.teachers import carried_beforehand, open_source, open_targets
from gwfast_llm.training.trainer import FusionTrainer, Indices

Metric = dict[str, Any]
PIVOT_MEMORY = (
    "out of memory while the pivot is trained; lower train.batch_size and raise train.accumulate by as much, use "
    "--train.gradient_checkpointing true, a smaller train.chunk, adapters (--lora.rank 16), or shard the model over "
    "GPUs (examples/accelerate)"
)
INTERVAL_EXAMPLES = 56  # at most, of those held out; the diagnosis takes twice train.diagnose


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
    """

    model: Any
    tokenizer: Any
    metrics: list[Metric]
    seconds: float
    notes: list[str]


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
        return _fuse(config, progress, checkpoints, resume, keeps=True)
    with tempfile.TemporaryDirectory() as scratch:
        return _fuse(config, progress, Path(scratch) / "checkpoints", False, keeps=False)


def _fuse(config: FuseConfig, progress: Progress | None, checkpoints: Path, resume: bool, keeps: bool) -> Fused:
    started = time.perf_counter()
    check_loggers(config.train.report_to)
    objective = config.objective
    looks_ahead = bool(config.data.validation) and (config.train.interval_every or config.train.diagnose)
    needs_sources = objective.distils or bool(looks_ahead and config.sources)
    chosen = config.sources if needs_sources else []
    for model in (config.pivot, *(source for source in chosen if not source.cache)):
        check_weights(model)
    run = prepare_run(config, chosen)
    tokenizer, rows, size = run.tokenizers[0], run.rows, run.size
    if objective.weights["gld_aligned"] and config.train.chunk > 0:
        raise FusionError("objective.gld_aligned needs whole logits; use --train.chunk 0")
    # neither before nor after sharding can one process run the whole model on its own
    sharded = any(os.environ.get(f"ACCELERATE_USE_{kind}", "").lower() == "true" for kind in ("FSDP", "DEEPSPEED"))
    if config.lora.four_bit:
        if sharded:
            raise FusionError(
                "lora.four_bit does not go with FSDP or DeepSpeed; run it without them, each process then holds the "
                "model in 4 bits, or use --lora.four_bit false"
            )
        came = torch.bfloat16 if config.train.bf16 else torch.float32
        model = load_in_four_bits(config.pivot, came)
    else:
        model, came = load_to_train(config.pivot, bool(config.lora.rank))
    held = "" if config.lora.rank else held_note(config.pivot, came)
    check_vocabulary("pivot", model, tokenizer)
    chunk = chunk_of(config, model, max(len(row.ids) for row in rows[0]))
    if config.train.packing and not filled_by_another():
        check_separate(model)
    desk, notes = None, [*run.notes, *([held] if held else [])]
    if chosen:
        sources = [
            open_source(source, its, row, objective.source_top_k, size, run.date)
            for source, its, row in zip(chosen, run.tokenizers[1:], rows[1:])
        ]
        maps = path_maps(tokenizer, rows[0][:size], sources, run.examples[:size])
        for source, path in zip(sources, maps):
            if objective.weights["kl"] and not path.same:
                raise FusionError(
                    f"objective.kl needs equal vocabularies; that of source {source.name} differs from the pivot's: "
                    "use --objective.path instead"
                )
        weights = [source.weight for source in chosen]
        couplings = []
        if objective.weights["gw_aligned"]:
            texts = [[row.ids for row in own[:size]] for own in rows]
            couplings = [couple(own, texts[0]) for own in texts[1:]]
            found = [c.sentence(s.name, path.shared) for c, s, path in zip(couplings, sources, maps)]
            notes += found
            if progress is None and int(os.environ.get("RANK", "0")) == 0:
                print("\n".join(found))
        stored = [open_targets(config, k, run, source) for k, source in enumerate(sources)]
        notes += [
            f"source {source.name}: its targets are carried along the text while training; python -m gwfast_llm.cache "
            "with this configuration would do so once"
            for k, (source, found) in enumerate(zip(sources, stored))
            if found is None and carried_beforehand(config, k, run)
        ]
        keep = objective.source_top_k
        desk = SourceDesk(rows[0], sources, weights, maps, objective.routing, keep, couplings, stored)
    pad = tokenizer.pad_token_id or 0
    callbacks: list[TrainerCallback] = [MarkCallback()]
    if progress is not None:
        callbacks.append(ProgressCallback(progress))
    bf16 = config.train.bf16 or (not config.lora.rank and computes_in_bfloat16(came))
    arguments = training_arguments(config.train, checkpoints, progress is not None, bf16)
    alone = one_device(arguments)
    notes += [alone] if alone else []
    last, left_out = None, ""
    if resume:
        last, left_out = agreed_checkpoint(checkpoints, config.train.steps if sharded else None)
    notes += [left_out] if left_out else []
    for note in (held, alone, left_out):
        if note and progress is None and arguments.should_log:
            print(note)
    if keeps:
        same_inputs(checkpoints, inputs_of(config, run, chosen), last is not None, arguments.should_save)
    held_out = _spread(range(size, len(rows[0])), max(INTERVAL_EXAMPLES, 2 * config.train.diagnose))
    if sharded and held_out and (config.train.interval_every or config.train.diagnose):
        notes.append("the model is sharded: no diagnosis and no GW interval; run them on one GPU with fewer steps")
    if config.train.gradient_checkpointing:
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable()
        if config.lora.rank:
            model.enable_input_require_grads()
    if config.lora.rank:
        set_seed(config.train.seed)  # adapters start at random; the trainer sets its seed later
    adapted = with_adapters(model, config.lora)
    if arguments.should_save:
        check_room(checkpoints, *bytes_of(adapted), config)
    slots = desk.slots if desk and objective.distils else 0
    collator = FusionCollator(rows[0], pad, objective, desk)
    packed = FusionCollator(rows[0], pad, objective, desk, config.data.max_length if config.train.packing else 0)
    head = _head(model, chunk) if chunk else None
    watch = None
    if desk and held_out and not sharded and (config.train.interval_every or config.train.diagnose):
        carried = FusionCollator(rows[0], pad, ObjectiveConfig(preset="path"), desk)
        if config.train.interval_every:
            stride = -(-len(held_out) // INTERVAL_EXAMPLES)
            batch = carried(held_out[::stride])
            meter = IntervalMeter(batch, model.get_input_embeddings().num_embeddings)
            watch = IntervalCallback(meter, config.train.interval_every)
            callbacks.append(watch)
        if config.train.diagnose and last is None:
            # in evaluation mode nothing is checkpointed: where memory is short, one example at a time
            step = 1 if chunk or config.train.gradient_checkpointing else config.train.batch_size
            with out_of_memory(PIVOT_MEMORY), torch.autocast(arguments.device.type, torch.bfloat16, enabled=bf16):
                diagnosis = diagnose(
                    adapted.to(arguments.device),
                    [collator(part) for part in _runs(_spread(range(size), config.train.diagnose), step)],
                    [carried(part) for part in _runs(held_out, step)],
                    objective,
                    slots,
                    head,
                )
            callbacks.append(DiagnosisCallback(diagnosis))
            if progress is None and arguments.should_log:
                print("\n".join(agreement.sentence() for agreement in diagnosis))
    trainer = FusionTrainer(
        adapted,
        arguments,
        objective,
        packed,
        Indices(0, size),
        Indices(size, len(rows[0])),
        slots,
        callbacks,
        head,
        config.train.save_every if keeps else 0,
    )
    if watch is not None:
        watch.log = trainer.log
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            callback.logging_dir = str(checkpoints.parent / "logs")  # checkpoints are deleted in the end
    if progress is not None:
        trainer.remove_callback(PrinterCallback)
    _train(trainer, config, checkpoints, last, keeps)
    notes += trainer.warnings
    if sharded and objective.distils:
        notes.append("the model is sharded: how hard each part pulls beside the cross-entropy was not measured")
    metrics = [
        _plain(row) for row in trainer.state.log_history if {"loss", "gw_lower", "eval_loss", "cosine"} & row.keys()
    ]
    trained = whole_model(trainer, config)
    return Fused(trained.eval(), tokenizer, metrics, time.perf_counter() - started, list(map(one_line, notes)))


def _train(trainer: FusionTrainer, config: FuseConfig, checkpoints: Path, last: Path | None, keeps: bool) -> None:
    """Run the steps, from the last checkpoint where there is one; trouble becomes one line."""
    if last is not None and step_of(last) >= config.train.steps:
        trainer.take_over(last)
        return
    size = spell_bytes(3 * bytes_of(trainer.model)[1])  # weights and two moments
    full = f"the disk of {checkpoints.parent} is full; a checkpoint takes about {size}: make room"
    noting = interruption.deferred("a checkpoint is written first") if keeps else nullcontext()
    try:
        with out_of_memory(PIVOT_MEMORY), out_of_disk(full), noting:
            trainer.train(resume_from_checkpoint=str(last) if last else None)
            if interruption.asked():
                trainer.save_and_stop()
    finally:
        if trainer.args.should_save:
            remove_halves(checkpoints)
    trainer.stop_if_broken()


def _head(model: Any, chunk: int) -> ChunkedHead:
    try:
        return ChunkedHead(model, chunk)
    except FusionError as problem:
        raise FusionError(f"{problem}; use --train.chunk 0") from None


def _spread(numbers: range, count: int) -> list[int]:
    """At most `count` of the numbers, evenly spread: data sets are often sorted by kind."""
    return list(numbers[:: max(1, len(numbers) // count)][:count])


def _runs(numbers: list[int], step: int) -> list[list[int]]:
    """The numbers in batches of at most `step`."""
    return [numbers[start : start + step] for start in range(0, len(numbers), step)]


def _plain(row: Metric) -> Metric:
    kept = {name: value for name, value in row.items() if name != "epoch"}
    return {n: value if n in ("step", "part") else float(value) for n, value in kept.items()}
