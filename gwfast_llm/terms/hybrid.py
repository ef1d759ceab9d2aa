"""``hybrid``: KL on tokens that both vocabularies spell alike, sorted mass on the others.

Shapes: B batch, S source slots, P matched positions, V vocabulary, K kept logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.models.logits import Selection, TopK
from gwfast_llm.terms.batch import Batch, stacked
from gwfast_llm.terms.kept import at_positions
from gwfast_llm.terms.part import Part, sum_items, widen
from gwfast_llm.terms.term import Answer, Asked, Needs, Student, Term, kept_by
from gwfast_llm.text.tensors import Tensors


def hybrid_part(
    student: TopK,
    log_probs: Tensor,
    shared: Tensor,
    source_probs: Tensor,
    student_shared: Tensor,
    mask: Tensor,
    weight: Tensor | None = None,
) -> Part:
    """KL on tokens that both vocabularies spell alike, sorted distance on the others.

    Parameters
    ----------
    student : TopK of (..., P, K)
        Student's kept logits at matched positions.
    log_probs : Tensor (..., P, K')
        Student's log-probabilities of the tokens that spell the source's kept tokens; anything where not `shared`.
    shared : Tensor (..., P, K') of bool
        Which of the source's kept tokens the student's vocabulary has.
    source_probs : Tensor (..., P, K')
        Source's probabilities.
    student_shared : Tensor (..., P, K) of bool
        Which of the student's kept tokens the source's vocabulary has.
    mask : Tensor (..., P) of bool
        Positions that count.
    weight : Tensor broadcastable to (..., P), optional
        Weight of each position.

    Returns
    -------
    Part
        One item a position.
    """
    q = torch.where(shared, source_probs, torch.zeros_like(source_probs))
    alike = torch.where(q > 0, q * (q.clamp_min(1e-12).log() - log_probs), torch.zeros_like(q)).sum(-1)
    own = torch.where(student_shared, torch.zeros_like(student.probs), student.probs)
    other = torch.where(shared, torch.zeros_like(source_probs), source_probs)
    width = max(own.shape[-1], other.shape[-1])
    own = widen(own, width).sort(-1, descending=True)[0]
    other = widen(other, width).sort(-1, descending=True)[0]
    return sum_items(alike + (own - other).abs().sum(-1), mask, weight)


@dataclass(frozen=True)
class SharedIds(Tensors):
    """The source's kept tokens in the pivot's vocabulary.

    Attributes
    ----------
    ids : Tensor (B, S, P, K)
        Pivot token of the same spelling; -1 where there is none.
    in_pivot : Tensor (B, S, V) of bool
        Pivot tokens that the source has.
    """

    ids: Tensor
    in_pivot: Tensor


def shared_ids(answers: Sequence[Sequence[Answer]]) -> SharedIds:
    """Look the sources' kept tokens up in the pivot's vocabulary."""
    ids = [[a.item.shared.to_pivot[a.kept.ids[a.at_pairs]] for a in row] for row in answers]
    return SharedIds(stacked(ids, fill=-1), stacked([[a.item.shared.in_pivot for a in row] for row in answers]))


def unshared(shared: SharedIds, batch: Batch, slot: int) -> Part:
    """Mass of the source outside the kept tokens that the pivot has."""
    assert batch.source_probs is not None
    probs = batch.source_probs[:, slot]
    known = torch.where(shared.ids[:, slot] >= 0, probs, torch.zeros_like(probs)).sum(-1)
    return sum_items(1 - known, batch.matched(slot)[1], None)


@dataclass(frozen=True)
class Hybrid(Term):
    """KL on shared strings, sorted mass on the rest.

    Attributes
    ----------
    kept : Selection
        Logits kept of a position.
    """

    kept: Selection = field(default_factory=Selection)

    name: ClassVar[str] = "hybrid"
    needs: ClassVar[Needs] = Needs(source_probs=True, kept=True)
    reference: ClassVar[str] = "GOLD of TRL, 2025: KL on matched tokens, sorted distance on the others"

    @classmethod
    def of(cls, objective: ObjectiveConfig) -> Self:
        """Make the term of a configuration."""
        return cls(kept_by(objective))

    group: ClassVar[str] = "shared"

    def collate(self, answers: Sequence[Sequence[Answer]]) -> SharedIds:
        """Look the source's kept tokens up in the pivot's vocabulary."""
        return shared_ids(answers)

    def asks(self, batch: Batch, slot: int) -> Asked:
        """Ask for the source's kept tokens."""
        return Asked(self.group, slot, self.own(batch).ids[:, slot].clamp_min(0))

    def lost(self, batch: Batch, slot: int) -> Part:
        """Mass of tokens that the pivot's vocabulary does not have."""
        return unshared(self.own(batch), batch, slot)

    def part(self, student: Student, batch: Batch, slot: int) -> Part:
        """Compare at matched positions."""
        at, mask = batch.matched(slot)
        assert batch.source_probs is not None
        own, shared = at_positions(student.kept(self.kept), at), self.own(batch)
        known = shared.in_pivot[:, slot]  # (B, V) of bool; a model may have more rows than tokens
        known = F.pad(known, (0, max(0, student.vocabulary - known.shape[1])))
        return hybrid_part(
            own,
            student.log_probs(self.asks(batch, slot), at),
            shared.ids[:, slot] >= 0,
            batch.source_probs[:, slot],
            known.gather(1, own.ids.flatten(1)).reshape(own.ids.shape),
            mask,
            batch.weight(slot)[:, None],
        )
