"""`transformers.Trainer` with the fusion objective as its loss."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from gwfast_llm.models.output_layer import ChunkedHead
from gwfast_llm.student.forward import run_student
from gwfast_llm.system import interruption
from gwfast_llm.system.errors import FusionError, InterruptedFusion
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.collate import FusionCollator
from gwfast_llm.terms.objective import Objective
from gwfast_llm.training.on_policy import Writer
from gwfast_llm.training.order import EpochCallback, EvenSampler, Indices
from gwfast_llm.training.saving import Border, BorderCallback, SaveClock
from gwfast_llm.training.weighing import Weighing

BATCH = "batch"  # name of the typed batch in what the trainer hands around


class _Boundary:
    """A collator whose batches `transformers.Trainer` takes: the batch, beside what the trainer itself looks at."""

    def __init__(self, collator: FusionCollator):
        self._collator = collator

    def __call__(self, indices: Sequence[int]) -> dict[str, Any]:
        batch = self._collator(indices)
        return {"input_ids": batch.input_ids, BATCH: batch}


class FusionTrainer(Trainer):
    """`transformers.Trainer` whose loss is the fusion objective.

    Every part is summed over its items and divided by their number over the whole accumulated and distributed batch,
    so that neither accumulation nor the number of processes changes the loss.  The evaluation loss is the same sum
    over the same number, on all held-out examples at once.

    A signal that `gwfast_llm.system.interruption` has noted ends training with a checkpoint: in one process
    before the next batch, in several before the next step, and in the midst of an evaluation, which the resumed run
    then makes.

    Parameters
    ----------
    model : transformers.PreTrainedModel or peft.PeftModel
        The pivot.
    args : transformers.TrainingArguments
        Optimisation.
    objective : Objective
        Terms with their weights, and source slots.
    collator : FusionCollator
        Makes batches from example numbers.
    train, held_out : Indices
        Examples to train on and to evaluate.
    callbacks : list of transformers.TrainerCallback
        Further callbacks.
    head : ChunkedHead, optional
        Works the model's output layer in chunks; without it whole logits are made.
    save_every : int
        ``train.save_every``.
    writer : Writer, optional
        Puts answers that the model has written into the batches of a step.
    """

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        objective: Objective,
        collator: FusionCollator,
        train: Indices,
        held_out: Indices,
        callbacks: list[TrainerCallback],
        head: ChunkedHead | None = None,
        save_every: int = 0,
        writer: Writer | None = None,
    ):
        super().__init__(
            model=model,
            args=args,
            data_collator=_Boundary(collator),
            train_dataset=train,
            eval_dataset=held_out if len(held_out) else None,
            callbacks=callbacks,
        )
        self.loss_is_scaled_for_ga = True
        self._objective = objective
        self._collator = collator
        self._head = head
        self._writer = writer
        self._seen: Tensor | None = None
        self._seen_steps = 0
        self._broken: Tensor | None = None
        self._clock = SaveClock(save_every)
        self._saved = -1  # step of the last checkpoint, or at which this process began
        self._evaluating = False
        self._evaluate_first = args.eval_strategy != "no"  # a run that goes on asks its checkpoint
        self.save_due = False
        self.border = Border.here(None, 0)
        self.add_callback(BorderCallback(self))
        self.weighing = Weighing(self, objective, head)

    def _get_train_sampler(self, train_dataset=None):
        """Order of the examples; the same for any number of processes."""
        if self.args.world_size == 1:
            return super()._get_train_sampler(train_dataset)
        data = self.train_dataset if train_dataset is None else train_dataset
        assert isinstance(data, Indices)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        order = EvenSampler(len(data), seed, self.args.train_batch_size * self.args.world_size)
        self.add_callback(EpochCallback(order))
        return order

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """Collect the batches of one step, with the number of items of every part over all of them."""
        if self._saved < 0:
            self._saved = self.state.global_step
        self.border = dataclasses.replace(self.border, seen=self._seen, steps=self._seen_steps)
        if self._evaluate_first:
            self._evaluate_first = False
            self.evaluate()
        samples = []
        for _ in range(num_batches):
            sample = next(epoch_iterator, None)
            if sample is None:
                break
            samples.append(sample)
        if not samples:
            return samples, None
        if self._writer is not None:
            own, rank, world = [sample[BATCH] for sample in samples], self.args.process_index, self.args.world_size
            made = self._writer(own, self.model, self.state.global_step, rank, world)
            samples = [{"input_ids": batch.input_ids, BATCH: batch} for batch in made]
        self._seen_steps += 1
        counts = torch.stack([self._counts(sample[BATCH]) for sample in samples]).sum(0).to(device)
        # whether the step before gave finite losses is summed with the counts: no process waits twice
        broken = counts.new_zeros(1) if self._broken is None else self._broken
        due = self._clock.due(self.state.global_step + 1 >= self.state.max_steps) and self.is_world_process_zero()
        wishes = counts.new_tensor([bool(interruption.asked()), due])
        counts = torch.cat([counts, broken, wishes])
        if self.args.world_size > 1:
            counts = _summed(self, counts)
        is_broken, stop, self.save_due = (counts[-3:] > 0).tolist()
        self._stop_if(is_broken)
        if stop:
            self.save_and_stop()
        self.weighing.before_step([sample[BATCH] for sample in samples], lambda own: _summed(self, own))
        return samples, counts[:-3]

    def training_step(self, model, inputs, num_items_in_batch=None):
        """One batch forward and backward; in a single process a noted signal is obeyed before it."""
        self._obey()
        return super().training_step(model, inputs, num_items_in_batch)

    def _obey(self) -> None:
        if self.args.world_size == 1 and interruption.asked():
            self.save_and_stop()

    def save_and_stop(self) -> None:
        """Write a checkpoint of the last finished step, where there is none, and end the run.

        Raises
        ------
        InterruptedFusion
        """
        if self.state.global_step > max(self._saved, 0):
            self.border.restore()
            if not self._evaluating:
                self._seen, self._seen_steps = self.border.seen, self.border.steps
            self._save_checkpoint(self.model, None)  # type: ignore[arg-type]
            self.control = self.callback_handler.on_save(self.args, self.state, self.control)
        raise InterruptedFusion(f"{interruption.asked() or 'a signal'} at step {self.state.global_step}")

    def _save_checkpoint(self, model, trial):
        """Write a checkpoint, if the weights are finite: one that cannot be gone on from would push out one that can.

        Raises
        ------
        FusionError
            When they are not.
        """
        began = time.monotonic()
        held = [getattr(p, "ds_tensor", p) for p in self.model.parameters() if p.requires_grad]  # type: ignore[union-attr]
        own = [getattr(p, "to_local", lambda p=p: p)() for p in held]  # this process's share of it
        bad = torch.stack([(~torch.isfinite(p.detach())).any() for p in own]).any().float().reshape(1)
        if self.args.world_size > 1:
            bad = _summed(self, bad)
        self._stop_if(bool(bad > 0), "weights are")
        super()._save_checkpoint(model, trial)
        self._saved = self.state.global_step
        self._clock.saved(began)

    def _save_rng_state(self, output_dir):
        """Write the generators' states, and what has been summed since the last logged step."""
        super()._save_rng_state(output_dir)
        seen = None if self._seen is None else self._seen.cpu()
        sums = {"seen": seen, "steps": self._seen_steps, "evaluate": self._evaluating}
        torch.save(sums, Path(output_dir) / f"sums_{self.args.process_index}.pt")

    def _load_optimizer_and_scheduler(self, checkpoint):
        """Load what the optimiser was, and what had been summed since the last logged step."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint:
            self._evaluate_first = False
            self._load_sums(Path(checkpoint))

    def _load_sums(self, checkpoint: Path) -> None:
        path = checkpoint / f"sums_{self.args.process_index}.pt"
        if path.is_file():  # written by as many processes, or there is none for this one
            sums = torch.load(path, weights_only=True)
            self._seen = None if sums["seen"] is None else sums["seen"].to(self.args.device)
            self._seen_steps, self._evaluate_first = sums["steps"], sums["evaluate"]

    def take_over(self, checkpoint: Path) -> None:
        """Become what a run was after its last step; the trainer would do one more before it looks at their number."""
        self._load_from_checkpoint(str(checkpoint))
        self.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
        self._evaluate_first = False
        self._load_sums(checkpoint)
        if self._evaluate_first:
            self.evaluate()

    def _counts(self, batch: Batch) -> Tensor:
        counts = self._objective.counts(batch)
        return torch.zeros_like(counts) if batch.idle else counts

    def _prepare_input(self, data: Any) -> Any:
        """Move a typed batch as the trainer moves the tensors in a mapping."""
        return data.map(super()._prepare_input) if isinstance(data, Batch) else super()._prepare_input(data)

    def _stop_if(self, broken: bool, what: str = "") -> None:
        if not broken:
            return
        bad = [] if self._seen is None else [n for n, v in self._by_name(self._seen).items() if not math.isfinite(v)]
        named = f" ({', '.join(bad)})" if bad else ""
        raise FusionError(
            f"the {what or f'loss{named} is'} no longer finite at step {self.state.global_step}; lower train.lr or the "
            "weights of the objective"
        )

    def stop_if_broken(self) -> None:
        """Raise a `FusionError` where the last step's loss was not finite."""
        self._stop_if(self._broken is not None and bool(self._broken > 0))

    def _totals(self, model: Any, batch: Batch) -> tuple[Tensor, Any]:
        """Sum of every part over a batch, with the model's output."""
        student, outputs = run_student(model, batch, self._objective, self._head)
        parts = self._objective.values(student, batch)
        if model.training:
            self.weighing.after_forward(parts, lambda: student.cross_entropy(batch.labels), batch.idle)
        totals = torch.stack([part.total.float() for part in parts])
        return totals * self._objective.counting(batch).to(totals.device) if batch.written else totals, outputs

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Weighted sum of the parts, each divided by its number of items in the whole step."""
        training, batch = model.training, inputs[BATCH]
        assert isinstance(batch, Batch)
        totals, outputs = self._totals(model, batch)
        counts = num_items_in_batch
        if not isinstance(counts, Tensor):
            counts = self._counts(batch)
        if batch.idle:  # this process has no example left in the epoch and only runs along
            totals = torch.where(torch.isfinite(totals), totals, torch.zeros_like(totals)) * 0
        values = totals / counts.to(totals.device).clamp_min(1)
        if training:
            seen = values.detach().double()
            self._seen = seen if self._seen is None else self._seen + seen
            broken = (~torch.isfinite(values.detach())).any().float().reshape(1)
            self._broken = broken if self._broken is None else torch.maximum(self._broken, broken)
        # gradients are averaged over processes afterwards; every process holds its share of the sum
        scale = self.accelerator.num_processes if training else 1
        loss = (self.weighing.of_parts(values.device) * values).sum() * scale
        return (loss, outputs) if return_outputs else loss

    def log(self, logs, start_time=None):
        """Add the parts, unweighted, to what is logged; stop before a broken model is saved.

        Raises
        ------
        FusionError
            When loss or gradient are not finite.
        """
        self._stop_if(any(not math.isfinite(logs.get(name, 0.0)) for name in ("loss", "grad_norm")))
        if "loss" in logs and self._seen is not None:
            seen = self._seen
            if self.args.world_size > 1:
                seen = _summed(self, seen)
            parts = self._by_name(seen / self._seen_steps)
            weights = self.weighing.weights
            # the mean of transformers' trainer leaves out the steps before a checkpoint
            logs = {**logs, "loss": sum(weights[name] * value for name, value in parts.items()), **parts}
            self._seen, self._seen_steps = None, 0
        super().log(logs, start_time)

    def _by_name(self, values: Tensor) -> dict[str, float]:
        """Values by term, summed over source slots."""
        return self._objective.by_name(values.tolist())

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        """Objective on all held-out examples: one sum over one number, as in training.

        Returns
        -------
        dict
            ``eval_loss`` and every part as ``eval_<part>``.
        """
        data = self.eval_dataset if eval_dataset is None else eval_dataset
        assert isinstance(data, Indices)
        world, rank = self.args.world_size, self.args.process_index
        size = self.args.per_device_eval_batch_size
        was_training = self.model.training if self.model is not None else False
        model = self.model_wrapped if self.is_fsdp_enabled else self.model
        assert model is not None
        model.eval()
        self._evaluating = True
        sums = torch.zeros(2, len(self._objective.parts), dtype=torch.float64, device=self.args.device)
        for start in range(0, len(data), size * world):
            own = list(range(start + rank * size, min(start + (rank + 1) * size, len(data))))
            self._obey()
            # a process without examples of its own runs along, so that sharded models stay in step
            batch = self._prepare_input(self._collator([data[i] for i in own or [0]]))
            with torch.no_grad(), self.compute_loss_context_manager():
                totals, _ = self._totals(model, batch)
            if own:
                sums += torch.stack([totals.double(), self._objective.counts(batch).double()])
        model.train(was_training)
        self._evaluating = False
        if world > 1:
            sums = _summed(self, sums)
        values = sums[0] / sums[1].clamp_min(1)
        loss = float((self.weighing.of_parts(values.device) * values).sum())
        metrics = {f"{metric_key_prefix}_loss": loss}
        metrics |= {f"{metric_key_prefix}_{name}": value for name, value in self._by_name(values).items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def _summed(trainer: Trainer, values: Tensor) -> Tensor:
    """Sum over processes."""
    found = trainer.accelerator.reduce(values, reduction="sum")
    assert isinstance(found, Tensor)
    return found
