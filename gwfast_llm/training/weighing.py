"""The weights of the terms while a run trains: as given, or lowered by what the first batches show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gwfast_llm.config import CROSS_ENTROPY
from gwfast_llm.models.output_layer import ChunkedHead
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.objective import Objective
from gwfast_llm.terms.part import Part
from gwfast_llm.training.gradient_watch import (
    FIRST,
    Pull,
    limits_of,
    measured_limits,
    measured_pulls,
    pulls_of,
    share_of,
)
from gwfast_llm.training.saving import Border


class Weighing:
    """Measures how hard the parts of a run pull, and holds their weights.

    What is measured lies in the log history of the trainer, hence in its checkpoints: a run that goes on has the same
    weights.

    Parameters
    ----------
    trainer : transformers.Trainer
        The run's.
    objective : Objective
        Terms with their weights as given.
    head : ChunkedHead or None
        Works the output layer in chunks.
    """

    def __init__(self, trainer: Any, objective: Objective, head: ChunkedHead | None):
        self._trainer = trainer
        self._objective = objective
        self._head = head
        self._watched = False
        self._kept: Tensor | None = None

    @property
    def _pulls(self) -> list[Pull]:
        return pulls_of(self._trainer.state.log_history)

    @property
    def warnings(self) -> list[str]:
        """Parts that pull too hard."""
        return [said for pull in self._pulls if (said := pull.sentence)]

    @property
    def limits(self) -> list[str]:
        """What became of the weights of limited parts."""
        return limits_of(self._pulls)

    @property
    def weights(self) -> dict[str, float]:
        """Weight of every term as it is used now."""
        pulls = self._pulls
        return {own.term.name: own.weight * share_of(pulls, own.term.name) for own in self._objective.terms}

    def of_parts(self, device: torch.device) -> Tensor:
        """Weight of every part, on a device; made anew only where one was lowered."""
        if self._kept is None or self._kept.device != device:
            weights = self.weights
            self._kept = torch.tensor([weights[name] for name in self._objective.names], device=device)
        return self._kept

    @property
    def _sharded(self) -> bool:
        return self._trainer.is_fsdp_enabled or self._trainer.is_deepspeed_enabled

    def _note(self, pulls: Sequence[Pull]) -> None:
        self._trainer.state.log_history += [pull.record() for pull in pulls]
        self._kept = None

    def _say(self, sentences: Sequence[str]) -> None:
        if sentences and self._trainer.args.should_log and not self._trainer.args.disable_tqdm:
            print("\n".join(sentences), flush=True)

    def before_step(self, batches: Sequence[Batch], summed: Callable[[Tensor], Tensor]) -> None:
        """Before each of the first steps, lower the weights of limited parts by what they pull on its batches.

        Parameters
        ----------
        batches : sequence of Batch
            All of the step, of this process.
        summed : callable
            Sums a tensor over processes.
        """
        state, own = self._trainer.state, self._objective
        last = min(FIRST, state.max_steps) - 1
        if state.global_step > last or self._sharded or not any(given.term.most for given in own.terms):
            return
        alone, before = self._trainer.args.world_size == 1, Border.here(None, 0)
        real = [batch for batch in batches if not batch.idle]
        total = (lambda values: values) if alone else summed
        self._trainer.model.train()
        self._note(measured_limits(self._trainer.model, real, own, self._head, state.global_step, total))
        before.restore()  # the step itself draws the same numbers as without
        self._say(self.limits if state.global_step == last else [])

    def after_forward(self, parts: Sequence[Part], cross_entropy: Callable[[], Part], idle: bool) -> None:
        """Measure once, on the first batch of the first step, how hard the other parts pull.

        Parameters
        ----------
        parts : sequence of Part
            Values of the parts on the batch.
        cross_entropy : callable
            Its cross-entropy.
        idle : bool
            Whether nothing of the batch counts.
        """
        if self._watched:
            return
        self._watched = True
        step, names = self._trainer.state.global_step, set(self._objective.names)
        if step or idle or self._sharded or names == {CROSS_ENTROPY}:
            return
        trained = [p for p in self._trainer.model.parameters() if p.requires_grad]
        self._note(measured_pulls(self._objective, parts, cross_entropy(), trained))
        self._say(self.warnings)
