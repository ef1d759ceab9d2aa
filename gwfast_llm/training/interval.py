"""The certified GW interval along training, as a diagnostic beside the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from gwfast_llm.errors import FusionError
from gwfast_llm.student.combine import Batch
from gwfast_llm.terms.graph import Interval, certified_interval

INTERVAL_NODES = 256
LOGITS_AT_ONCE = 2**28


class IntervalMeter:
    """Certified GW interval between the pivot's graph and the carried source graph on fixed examples.

    Parameters
    ----------
    batch : dict
        Tensors of a collated batch with targets in the pivot's vocabulary.
    vocab_size : int
        V of the pivot.

    Notes
    -----
    Nodes are the pivot's tokens; where there are more than `INTERVAL_NODES`, the heaviest ones in the sources' graph
    are compared and the rest of both graphs is left out.
    """

    def __init__(self, batch: Batch, vocab_size: int):
        self._batch = batch
        self._vocab_size = vocab_size
        mask = batch["pair_mask"][:, 0]
        ids, probs = batch["path_ids"][:, 0][mask], batch["path_probs"][:, 0][mask]
        used, column = ids.unique(return_inverse=True)
        dense = torch.zeros(len(ids), len(used)).scatter_add(1, column.reshape(ids.shape), probs)
        if vocab_size <= INTERVAL_NODES:
            self._nodes = torch.arange(vocab_size)
            dense = torch.zeros(len(ids), vocab_size).index_copy(1, used, dense)
        else:
            heaviest = dense.sum(0).topk(min(INTERVAL_NODES, len(used))).indices
            self._nodes, dense = used[heaviest], dense[:, heaviest]
        self._target = dense.numpy().astype(np.float64)

    def measure(self, model: Any) -> Interval:
        """Interval for the model as it is now."""
        training = model.training
        model.eval()
        batch = self._batch
        device = next(model.parameters()).device
        found = []
        with torch.no_grad():
            step = max(1, LOGITS_AT_ONCE // (batch["input_ids"].shape[1] * self._vocab_size))
            for k in range(0, len(batch["input_ids"]), step):
                part = {name: batch[name][k : k + step].to(device) for name in ("input_ids", "attention_mask")}
                logits = model(**part, use_cache=False).logits
                rows = torch.arange(len(logits), device=device)[:, None]
                at = batch["pair_index"][k : k + step, 0].to(device)
                picked = logits[rows, at][batch["pair_mask"][k : k + step, 0].to(device)]
                found.append(picked.float().softmax(-1)[:, self._nodes.to(device)].cpu())
        model.train(training)
        if not all(torch.isfinite(probs).all() for probs in found):
            raise FusionError(
                "the pivot's logits are no longer finite where the GW interval is measured; lower train.lr or the "
                "weights of the objective"
            )
        return certified_interval(torch.cat(found).numpy().astype(np.float64), self._target)


class IntervalCallback(TrainerCallback):
    """Logs the interval at the start and every so many steps, to the history and to whatever else is reported to.

    Parameters
    ----------
    meter : IntervalMeter
        What measures.
    every : int
        Steps between measurements.
    """

    def __init__(self, meter: IntervalMeter, every: int):
        self._meter = meter
        self._every = every
        self.log: Callable[[dict[str, float]], None] | None = None  # the trainer's own, once there is one

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        """Measure the pivot as it starts; a resumed run has that already."""
        if state.global_step == 0:
            self._write(control, model)

    def on_step_end(self, args, state, control, model=None, **kwargs):
        """Measure where it is time."""
        if state.global_step % self._every == 0 or state.global_step == state.max_steps:
            self._write(control, model)

    def _write(self, control: Any, model: Any) -> None:
        found = self._meter.measure(model)
        if self.log is not None:
            due = control.should_log
            self.log({"gw_lower": found.lower, "gw_upper": found.upper})
            control.should_log = due  # the losses of this step are still to come
