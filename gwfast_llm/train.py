"""Training: the fusion objective on `transformers.Trainer`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from gwfast_llm.collate import FusionCollator, SourceDesk, path_maps
from gwfast_llm.config import FuseConfig, ObjectiveConfig, TrainConfig
from gwfast_llm.data import encode_all, read_examples
from gwfast_llm.errors import FusionError
from gwfast_llm.graph import Interval, certified_interval
from gwfast_llm.loading import end_token_of, load_model, load_tokenizer
from gwfast_llm.logits import TopK, pack_rows, top_k, widened
from gwfast_llm.objective import GraphOptions, Part, gld_part, kl_part, sft_part, uld_part
from gwfast_llm.signal import OnlineSource, Remembered

Progress = Callable[[int, int], None]
Metric = dict[str, Any]
INTERVAL_EXAMPLES = 56
INTERVAL_NODES = 256


class Indices(Dataset):
    """The numbers 0 to n - 1; the collator looks the examples up."""

    def __init__(self, size: int):
        self._size = size

    def __len__(self) -> int:
        """Return the number of examples."""
        return self._size

    def __getitem__(self, index: int) -> int:
        """Return the index itself."""
        return index


def part_names(objective: ObjectiveConfig, slots: int) -> list[tuple[str, int]]:
    """Parts with a weight, each with its source slot (0 for the cross-entropy)."""
    weights = objective.weights
    names = [("sft", 0)] if weights["sft"] else []
    return names + [(name, s) for name in ("path", "uld", "gld") if weights[name] for s in range(slots)]


def batch_counts(batch: dict[str, Tensor], names: Sequence[tuple[str, int]]) -> Tensor:
    """Items of every part in a batch, known before any model runs."""
    counts = []
    for name, slot in names:
        if name == "sft":
            counts.append((batch["labels"][:, 1:] != -100).sum())
        elif name == "gld":
            counts.append((batch["source_mask"][:, slot].any(1)).sum())
        else:
            counts.append(batch["pair_mask"][:, slot].sum())
    return torch.stack(counts).float()


def batch_parts(logits: Tensor, batch: dict[str, Tensor], objective: ObjectiveConfig, slots: int) -> list[Part]:
    """Every weighted part of the objective on one batch, in the order of `part_names`.

    Parameters
    ----------
    logits : Tensor (B, L, V)
        The pivot's logits.
    batch : dict
        Tensors from `FusionCollator`.
    objective : ObjectiveConfig
        Weights and options.
    slots : int
        Source slots S.

    Returns
    -------
    list of Part
    """
    weights = objective.weights
    logsumexp = widened(logits).logsumexp(-1) if weights["path"] else None
    kept = top_k(logits, objective.top_k) if weights["uld"] or weights["gld"] else None
    answers = None
    if weights["gld"] and kept is not None:
        predicts = torch.zeros_like(batch["labels"], dtype=torch.bool)
        predicts[:, :-1] = batch["labels"][:, 1:] != -100
        values, real = pack_rows(kept.values, predicts)
        answers = TopK(values, pack_rows(kept.ids, predicts)[0], pack_rows(kept.logsumexp, predicts)[0]), real
    rows = torch.arange(len(logits), device=logits.device)[:, None]
    parts = []
    for name, slot in part_names(objective, slots):
        if name == "sft":
            parts.append(sft_part(logits, batch["labels"]))
            continue
        weight = batch["source_weight"][:, slot]
        if name == "gld":
            assert answers is not None
            source = TopK(
                batch["source_values"][:, slot],
                batch["source_ids"][:, slot],
                batch["source_values"].new_zeros(()),
            )
            options = GraphOptions(
                objective.gld_nodes, objective.gld_weights, objective.gld_feature, objective.gld_distance
            )
            size = max(logits.shape[-1], int(batch["source_ids"].max()) + 1)
            parts.append(
                gld_part(
                    answers[0],
                    source,
                    answers[1],
                    batch["source_mask"][:, slot],
                    (size, size),
                    options,
                    weight,
                )
            )
            continue
        at, mask = batch["pair_index"][:, slot], batch["pair_mask"][:, slot]
        if name == "path":
            assert logsumexp is not None
            ids = batch["path_ids"][:, slot]
            log_probs = logits[rows[..., None], at[..., None], ids] - logsumexp[rows, at][..., None]
            parts.append(
                kl_part(log_probs, batch["path_probs"][:, slot], batch["path_tail"][:, slot], mask, weight[:, None])
            )
        else:
            assert kept is not None
            parts.append(uld_part(kept.probs[rows, at], batch["source_probs"][:, slot], mask, weight[:, None]))
    return parts


class FusionTrainer(Trainer):
    """`transformers.Trainer` whose loss is the fusion objective.

    Every part is summed over its items and divided by their number over the whole accumulated and distributed batch,
    so that neither accumulation nor the number of processes changes the loss.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The pivot.
    args : transformers.TrainingArguments
        Optimisation.
    objective : ObjectiveConfig
        Weights and options.
    collator : FusionCollator
        Makes batches from example indices.
    size : int
        Number of examples.
    slots : int
        Source slots of a batch.
    callbacks : list of transformers.TrainerCallback
        Further callbacks.
    """

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        objective: ObjectiveConfig,
        collator: FusionCollator,
        size: int,
        slots: int,
        callbacks: list[TrainerCallback],
    ):
        super().__init__(
            model=model, args=args, data_collator=collator, train_dataset=Indices(size), callbacks=callbacks
        )
        self.loss_is_scaled_for_ga = True
        self._objective = objective
        self._slots = slots
        self._names = part_names(objective, slots)
        self._seen: dict[str, float] = {}

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """Collect the batches of one step, with the number of items of every part over all of them."""
        samples = []
        for _ in range(num_batches):
            batch = next(epoch_iterator, None)
            if batch is None:
                break
            samples.append(batch)
        if not samples:
            return samples, None
        counts = torch.stack([batch_counts(batch, self._names) for batch in samples]).sum(0).to(device)
        if self.args.world_size > 1:
            counts = self.accelerator.reduce(counts, reduction="sum")
        return samples, counts

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Weighted sum of the parts, each divided by its number of items in the whole step."""
        outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False)
        parts = batch_parts(outputs.logits, inputs, self._objective, self._slots)
        counts = num_items_in_batch
        if not isinstance(counts, Tensor):
            counts = torch.stack([part.count for part in parts])
        training = model.training
        scale = self.accelerator.num_processes if training else 1
        weights = self._objective.weights
        loss = outputs.logits.new_zeros((), dtype=torch.float32)
        for (name, _), part, count in zip(self._names, parts, counts):
            value = part.total / count.clamp_min(1)
            loss = loss + weights[name] * value
            if training:
                self._seen[name] = self._seen.get(name, 0.0) + float(value.detach())
        loss = loss * scale
        return (loss, outputs) if return_outputs else loss

    def log(self, logs, start_time=None):
        """Add the parts, unweighted, to what is logged."""
        if "loss" in logs and self._seen:
            steps = self.state.global_step - getattr(self, "_parts_logged_at", 0)
            logs = {**logs, **{name: total / max(steps, 1) for name, total in self._seen.items()}}
            self._seen = {}
            self._parts_logged_at = self.state.global_step
        super().log(logs, start_time)


class _Recorder(TrainerCallback):
    """Hands losses to a list and progress to a function."""

    def __init__(self, metrics: list[Metric], progress: Progress):
        self._metrics = metrics
        self._progress = progress

    def on_step_end(self, args, state, control, **kwargs):
        self._progress(state.global_step, state.max_steps)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "loss" in logs:
            kept = {k: float(v) for k, v in logs.items() if k != "epoch"}
            self._metrics.append({"step": state.global_step, **kept})


class IntervalMeter:
    """Certified GW interval between the pivot's graph and the carried source graph on fixed examples.

    Parameters
    ----------
    batch : dict
        Tensors of a collated batch with `path` targets.
    vocab_size : int
        V of the pivot.

    Notes
    -----
    Nodes are the pivot's tokens; where there are more than `INTERVAL_NODES` with mass, the heaviest ones in the
    sources' graph are compared and the rest of both graphs is left out.
    """

    def __init__(self, batch: dict[str, Tensor], vocab_size: int):
        self._batch = batch
        mask = batch["pair_mask"][:, 0]
        ids, probs = batch["path_ids"][:, 0], batch["path_probs"][:, 0]
        dense = torch.zeros(int(mask.sum()), vocab_size).scatter_add(1, ids[mask], probs[mask])
        self._nodes = torch.arange(vocab_size)
        if vocab_size > INTERVAL_NODES:
            self._nodes = dense.sum(0).topk(INTERVAL_NODES).indices
        self._target = dense[:, self._nodes].numpy()

    def measure(self, model: Any) -> Interval:
        """Interval for the model as it is now."""
        training = model.training
        model.eval()
        batch = self._batch
        device = next(model.parameters()).device
        with torch.no_grad():
            logits = model(
                input_ids=batch["input_ids"].to(device), attention_mask=batch["attention_mask"].to(device)
            ).logits.cpu()
        model.train(training)
        rows = torch.arange(len(logits))[:, None]
        at, mask = batch["pair_index"][:, 0], batch["pair_mask"][:, 0]
        probs = logits[rows, at][mask].float().softmax(-1)[:, self._nodes]
        return certified_interval(probs.numpy().astype(np.float64), self._target.astype(np.float64))


class _IntervalCallback(TrainerCallback):
    def __init__(self, meter: IntervalMeter, every: int, metrics: list[Metric]):
        self._meter = meter
        self._every = every
        self._metrics = metrics

    def _measure(self, step: int, model: Any) -> None:
        interval = self._meter.measure(model)
        self._metrics.append({"step": step, "gw_lower": interval.lower, "gw_upper": interval.upper})

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self._measure(state.global_step, model)

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step % self._every == 0 or state.global_step == state.max_steps:
            self._measure(state.global_step, model)


@dataclass(frozen=True)
class Fused:
    """A trained pivot.

    Attributes
    ----------
    model, tokenizer : transformers objects
        The pivot after training, with its tokenizer.
    metrics : list of dict
        Losses and intervals by step.
    seconds : float
        Time of the training alone.
    """

    model: Any
    tokenizer: Any
    metrics: list[Metric]
    seconds: float


def training_arguments(train: TrainConfig, folder: Path, quiet: bool) -> TrainingArguments:
    """The `transformers.TrainingArguments` of a `TrainConfig`."""
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=train.steps,
        per_device_train_batch_size=train.batch_size,
        gradient_accumulation_steps=train.accumulate,
        learning_rate=train.lr,
        warmup_steps=train.warmup_steps,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        lr_scheduler_type="linear",
        logging_steps=train.log_every,
        seed=train.seed,
        data_seed=train.seed,
        save_strategy="no",
        report_to=[],
        disable_tqdm=quiet,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        logging_nan_inf_filter=False,
    )


def fuse(config: FuseConfig, progress: Progress | None = None) -> Fused:
    """Train the pivot of a configuration on its data and sources.

    Parameters
    ----------
    config : FuseConfig
        Everything that defines the run.
    progress : callable, optional
        Called with (steps done, steps in all); without it the trainer shows its own bar.

    Returns
    -------
    Fused

    Raises
    ------
    FusionError
        When a model, a tokenizer or the data cannot be used, naming which and why.
    """
    started = time.perf_counter()
    tokenizer = load_tokenizer(config.pivot)
    model = load_model(config.pivot)
    examples = read_examples(config.data.train)
    held_out = read_examples(config.data.validation) if config.data.validation else []
    held_out = held_out[:: max(1, len(held_out) // INTERVAL_EXAMPLES)][:INTERVAL_EXAMPLES]
    both = [*examples, *held_out]

    def rows_of(tokenizer):
        end = end_token_of(tokenizer) if config.data.end_token else None
        return encode_all(both, tokenizer, config.data.max_length, end)

    rows = rows_of(tokenizer)
    objective = config.objective
    measures = bool(config.train.interval_every and held_out and config.sources)
    desk = None
    if objective.distils or measures:
        sources = []
        for source in config.sources:
            own = load_tokenizer(source)
            online = OnlineSource(source.label, load_model(source), own, rows_of(own), objective.source_top_k)
            sources.append(Remembered(online))
        maps = path_maps(tokenizer, rows[: len(examples)], sources, examples)
        weights = [source.weight for source in config.sources]
        desk = SourceDesk(rows, sources, weights, maps, objective.routing, objective.source_top_k)
    pad = tokenizer.pad_token_id or 0
    collator = FusionCollator(rows, pad, objective, desk)
    metrics: list[Metric] = []
    callbacks: list[TrainerCallback] = []
    if progress is not None:
        callbacks.append(_Recorder(metrics, progress))
    else:
        callbacks.append(_Recorder(metrics, lambda done, total: None))
    if measures:
        indices = list(range(len(examples), len(both)))
        batch = FusionCollator(rows, pad, ObjectiveConfig(preset="path"), desk)(indices)
        meter = IntervalMeter(batch, model.get_input_embeddings().num_embeddings)
        callbacks.append(_IntervalCallback(meter, config.train.interval_every, metrics))
    with tempfile.TemporaryDirectory() as scratch:
        trainer = FusionTrainer(
            model,
            training_arguments(config.train, Path(scratch), quiet=progress is not None),
            objective,
            collator,
            len(examples),
            desk.slots if desk else 0,
            callbacks,
        )
        if progress is not None:
            trainer.remove_callback(PrinterCallback)
        trainer.train()
    final = [m["loss"] for m in metrics if "loss" in m]
    if final and not np.isfinite(final[-1]):
        raise FusionError("the loss is no longer finite; lower train.lr or the weights of the objective")
    return Fused(model.eval(), tokenizer, metrics, time.perf_counter() - started)
