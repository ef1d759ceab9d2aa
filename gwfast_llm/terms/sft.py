"""``sft``: cross-entropy of the answer tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from gwfast_llm.config import CROSS_ENTROPY
from gwfast_llm.models.logits import widened
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.part import Part
from gwfast_llm.terms.term import NOTHING, Needs, Student, Term


def sft_part(logits: Tensor, labels: Tensor) -> Part:
    """Cross-entropy of the answer tokens, L = -sum_t log p(y_t) over t with a label.

    Parameters
    ----------
    logits : Tensor (B, L, V)
        Logits; position t predicts token t + 1.
    labels : Tensor (B, L)
        Token ids, -100 where the token is not part of the answer.

    Returns
    -------
    Part
        Nats, one item a token.
    """
    target = labels[:, 1:]
    total = F.cross_entropy(widened(logits[:, :-1].flatten(0, 1)), target.flatten(), ignore_index=-100, reduction="sum")
    return Part(total, (target != -100).sum().to(total.dtype))


@dataclass(frozen=True)
class CrossEntropy(Term):
    """Cross-entropy of the answer tokens; needs no source."""

    name: ClassVar[str] = CROSS_ENTROPY
    needs: ClassVar[Needs] = NOTHING

    def part(self, student: Student, batch: Batch, slot: int) -> Part:
        """Sum the cross-entropy over the answer tokens."""
        return student.cross_entropy(batch.labels)
