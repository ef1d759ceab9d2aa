"""The certified GW interval along training, as a diagnostic beside the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from gwfast_llm.system.errors import FusionError
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.graph import Interval, certified_interval
from gwfast_llm.training.observers import INTERVAL_EXAMPLES, LoggingCallback, Scene

INTERVAL_NODES = 256
LOGITS_AT_ONCE = 2**28


class IntervalMeter:
    """Certified GW interval between the pivot's graph and the carried source graph on fixed examples.

    Parameters
    ----------
    batch : Batch
        Held-out examples, with targets in the pivot's vocabulary.
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
        assert batch.carried is not None
        _, mask = batch.matched(0)
        ids, probs = batch.carried.ids[:, 0][mask], batch.carried.probs[:, 0][mask]
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
            step = max(1, LOGITS_AT_ONCE // (batch.input_ids.shape[1] * self._vocab_size))
            for k in range(0, len(batch.input_ids), step):
                part = {name: given[k : k + step].to(device) for name, given in batch.model_inputs.items()}
                logits = model(**part, use_cache=False).logits
                rows = torch.arange(len(logits), device=device)[:, None]
                at, mask = (own[k : k + step].to(device) for own in batch.matched(0))
                picked = logits[rows, at][mask]
                found.append(picked.float().softmax(-1)[:, self._nodes.to(device)].cpu())
        model.train(training)
        if not all(torch.isfinite(probs).all() for probs in found):
            raise FusionError(
                "the pivot's logits are no longer finite where the GW interval is measured; lower train.lr or the "
                "weights of the objective"
            )
        return certified_interval(torch.cat(found).numpy().astype(np.float64), self._target)


class IntervalCallback(LoggingCallback):
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


def attach_interval(scene: Scene) -> list[TrainerCallback]:
    """Measure the interval where ``train.interval_every`` asks for it."""
    every = scene.prepared.config.train.interval_every
    if not every:
        return []
    held_out = scene.held_out()
    stride = -(-len(held_out) // INTERVAL_EXAMPLES)
    batch = scene.carried()(held_out[::stride])
    meter = IntervalMeter(batch, scene.loaded.model.get_input_embeddings().num_embeddings)
    return [IntervalCallback(meter, every)]
