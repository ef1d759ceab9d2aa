"""Terms that compare the pivot with distributions of a source in the pivot's own vocabulary, token by token."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.terms.batch import Batch, CarriedTargets
from gwfast_llm.terms.divergence import Direction, Tail, divergence_part
from gwfast_llm.terms.part import Part, sum_items
from gwfast_llm.terms.term import Asked, Needs, Student, Term


@dataclass(frozen=True)
class CarriedTerm(Term):
    """A loss of the pivot's log-probabilities of the kept tokens of a carried target.

    A subclass gives `loss`; it changes `targets` and `group` where it carries in another way than along the text.
    """

    needs: ClassVar[Needs] = Needs(carried=True)
    group: ClassVar[str] = "carried"

    @abstractmethod
    def loss(
        self, log_probs: Tensor, target_probs: Tensor, target_tail: Tensor, mask: Tensor, weight: Tensor | None = None
    ) -> Part:
        """Loss at matched positions; see `gwfast_llm.terms.path.kl_part`."""

    def targets(self, batch: Batch) -> CarriedTargets:
        """Targets of the batch."""
        assert batch.carried is not None
        return batch.carried

    def asks(self, batch: Batch, slot: int) -> Asked:
        """Ask for the kept tokens of the targets."""
        return Asked(self.group, slot, self.targets(batch).ids[:, slot])

    def lost(self, batch: Batch, slot: int) -> Part:
        """Mass outside the kept tokens: what the source kept no logits for, and what has no pivot token."""
        return sum_items(self.targets(batch).tail[:, slot], batch.matched(slot)[1], None)

    def part(self, student: Student, batch: Batch, slot: int) -> Part:
        """Compute the loss at matched positions."""
        at, mask = batch.matched(slot)
        targets = self.targets(batch)
        log_probs = student.log_probs(self.asks(batch, slot), at)
        weight = batch.weight(slot)[:, None]
        return self.loss(log_probs, targets.probs[:, slot], targets.tail[:, slot], mask, weight)


@dataclass(frozen=True)
class DivergenceTerm(CarriedTerm):
    """A KL divergence between a carried target and the pivot.

    Attributes
    ----------
    tail : {"bucket", "renormalise"}
        What becomes of the mass outside the kept tokens.
    direction : {"forward", "reverse"}
        KL from the target to the pivot, or back.
    """

    tail: Tail = "bucket"
    direction: Direction = "forward"

    @classmethod
    def of(cls, objective: ObjectiveConfig) -> Self:
        """Make the term of a configuration."""
        return cls(objective.tail, objective.divergence)

    def loss(
        self, log_probs: Tensor, target_probs: Tensor, target_tail: Tensor, mask: Tensor, weight: Tensor | None = None
    ) -> Part:
        """See `gwfast_llm.terms.divergence.divergence_part`."""
        return divergence_part(log_probs, target_probs, target_tail, mask, weight, self.tail, self.direction)
