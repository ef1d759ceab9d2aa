"""``uld``: universal logit distillation, the distance of sorted probabilities.

Shapes: B batch, L tokens, V vocabulary, P matched positions, K kept logits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from torch import Tensor

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.models.logits import Selection, select
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.kept import at_positions, check_pair, check_positions, in_order
from gwfast_llm.terms.part import Part, sum_items, widen
from gwfast_llm.terms.term import Needs, Student, Term, kept_by


def uld_part(student: Tensor, source: Tensor, mask: Tensor, weight: Tensor | None = None) -> Part:
    """Distance of sorted probabilities at matched positions, sum_i |p_(i) - q_(i)|.

    Parameters
    ----------
    student, source : Tensor (..., P, K), (..., P, K')
        True probabilities of the kept tokens, largest first; the shorter is filled up with zeros.
    mask : Tensor (..., P) of bool
        Positions that count.
    weight : Tensor broadcastable to (..., P), optional
        Weight of each position in the sum.

    Returns
    -------
    Part
        Between 0 and 2, one item a position.
    """
    width = max(student.shape[-1], source.shape[-1])
    value = (widen(student, width) - widen(source, width)).abs().sum(-1)
    return sum_items(value, mask, weight)


def uld_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    student_mask: Tensor,
    teacher_mask: Tensor,
    *,
    top_k: int = 10,
    positions: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Universal logit distillation: mean over positions of the L1 distance of sorted probabilities.

    ``L = (1/P) sum_t sum_{i <= K} |p_t(i) - q_t(i)|`` with p_t(i) the i-th largest probability at the t-th answer
    position.  Without `positions` the t-th answer position of one model is compared with the t-th of the other, up to
    the shorter answer, as published; the trainer compares positions whose next tokens start at the same byte.

    Parameters
    ----------
    student_logits : Tensor (B, L, V)
        Raw logits, differentiable.
    teacher_logits : Tensor (B, L', V')
        Raw logits; L' and V' may differ from the student's.
    student_mask, teacher_mask : Tensor (B, L), (B, L') of bool
        True where the *next* token is an answer token.
    top_k : int
        Sorted probabilities kept, chosen before anything is sorted; 0 keeps all.
    positions : (Tensor (B, P), Tensor (B, P)) of int, optional
        Positions of the student and of the teacher that are compared, -1 where there is no more pair; a pair counts
        where both masks are True.  `gwfast_llm.text.alignment.matched_starts` finds them for two tokenizers.

    Returns
    -------
    Tensor ()
        Between 0 and 2.

    Raises
    ------
    FusionError
        Naming the argument whose shape or type does not fit.

    Notes
    -----
    Cost: O(V) a position for the selection, O(K) memory a position beyond the logits.  The probabilities are those
    of the whole vocabulary (log-sum-exp over V), not renormalised over the kept ones.
    Source: Boizard et al., Towards Cross-Tokenizer Distillation, 2024.

    Examples
    --------
    >>> import torch
    >>> s = torch.log(torch.tensor([[[0.6, 0.4]]])); t = torch.log(torch.tensor([[[0.1, 0.0, 0.9]]]).clamp_min(1e-9))
    >>> m = torch.tensor([[True]])
    >>> round(uld_loss(s, t, m, m).item(), 4)  # |0.6 - 0.9| + |0.4 - 0.1|
    0.6
    """
    check_pair(student_logits, teacher_logits, student_mask, teacher_mask)
    masks = student_mask, teacher_mask
    if positions is None:
        width = min(student_mask.shape[1], teacher_mask.shape[1])
        found = [in_order(mask, width) for mask in masks]
    else:
        check_positions(positions, student_logits, teacher_logits)
        found = [(at.clamp_min(0), (at >= 0) & mask.gather(1, at.clamp_min(0))) for at, mask in zip(positions, masks)]
    kept = [select(logits, Selection(top_k)) for logits in (student_logits, teacher_logits)]
    s, t = (at_positions(own, at) for own, (at, _) in zip(kept, found))
    return uld_part(s.probs, t.probs, found[0][1] & found[1][1]).mean


@dataclass(frozen=True)
class Uld(Term):
    """L1 distance of the sorted probabilities of pivot and source at matched positions.

    Attributes
    ----------
    kept : Selection
        Logits kept of a position.
    """

    kept: Selection = field(default_factory=Selection)

    name: ClassVar[str] = "uld"
    needs: ClassVar[Needs] = Needs(source_probs=True, kept=True)
    reference: ClassVar[str] = "Boizard et al., Towards Cross-Tokenizer Distillation, 2024"

    @classmethod
    def of(cls, objective: ObjectiveConfig) -> Self:
        """Make the term of a configuration."""
        return cls(kept_by(objective))

    def part(self, student: Student, batch: Batch, slot: int) -> Part:
        """Compare sorted probabilities at matched positions."""
        at, mask = batch.matched(slot)
        assert batch.source_probs is not None
        own = at_positions(student.kept(self.kept), at)
        return uld_part(own.probs, batch.source_probs[:, slot], mask, batch.weight(slot)[:, None])
