"""``xtoken_p`` and ``xtoken_h``: the pivot's distribution seen in the source's vocabulary through a sparse matrix.

Shapes: B batch, S source slots, P matched positions, V pivot and U source tokens, R entries of a row, K kept logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gwfast_llm.teachers.path import PathMap
from gwfast_llm.terms.batch import Batch, stacked
from gwfast_llm.terms.hybrid import Hybrid, SharedIds
from gwfast_llm.terms.part import Part, sum_items
from gwfast_llm.terms.term import Answer, Needs, Student, Term
from gwfast_llm.text.tensors import Tensors

LEAST = 1e-10  # added to probabilities under a logarithm, as in the authors' code
REFERENCE = "Sreenivas et al., X-Token, 2026 (2605.21699)"


def projected(probs: Tensor, ids: Tensor, weights: Tensor, size: int) -> Tensor:
    """Distributions (B, P, V) of the pivot as distributions (B, P, U), by matrices of rows (B, V, R)."""
    flat = (probs[..., None] * weights[:, None].to(probs.dtype)).flatten(2)
    places = ids.flatten(1)[:, None].expand(-1, probs.shape[1], -1)
    return probs.new_zeros(*probs.shape[:2], size).scatter_add(2, places, flat)


def projected_kl(student: Tensor, source: Tensor, mask: Tensor, weight: Tensor | None = None) -> Part:
    """KL from the source to the projected student, both normalised over the source's kept tokens.

    Parameters
    ----------
    student, source : Tensor (..., P, K)
        Projected probabilities of the student and probabilities of the source; 0 in unused channels of the latter.
    mask : Tensor (..., P) of bool
        Positions that count.
    weight : Tensor broadcastable to (..., P), optional
        Weight of each position in the sum.

    Returns
    -------
    Part
        Nats, one item a position.
    """
    kept = source > 0
    p = torch.where(kept, student, torch.zeros_like(student))
    p = p / (p.sum(-1, keepdim=True) + LEAST)
    q = source / source.sum(-1, keepdim=True).clamp_min(LEAST)
    value = torch.where(kept, q * (q.clamp_min(LEAST).log() - (p + LEAST).log()), torch.zeros_like(q)).sum(-1)
    return sum_items(value, mask, weight)


@dataclass(frozen=True)
class Projected(Tensors):
    """Matrices and kept tokens of the sources of a batch.

    Attributes
    ----------
    ids, weights : Tensor (B, S, V, R)
        Rows of the matrices.
    kept, probs : Tensor (B, S, P, K)
        Kept tokens of the sources and their probabilities.
    size : int
        U of the largest source vocabulary.
    """

    ids: Tensor
    weights: Tensor
    kept: Tensor
    probs: Tensor
    size: int


def _map(answer: Answer) -> PathMap:
    assert answer.item.map is not None, "the desk gives it"
    return answer.item.map


@dataclass(frozen=True)
class XTokenP(Term):
    """KL from the source to the pivot's distribution, projected into the source's vocabulary (P-KL).

    Compared are the next tokens at positions where both models have read the same text.  The authors' code averages
    the distributions of all positions of a chunk, also those after different texts, and its matrix differs where
    `gwfast_llm.teachers.projection.projection` says; where both cut alike the two are the same.  The tokens compared
    are the kept ones of the source.
    """

    name: ClassVar[str] = "xtoken_p"
    needs: ClassVar[Needs] = Needs(pairs=True, whole=True)
    reference: ClassVar[str] = REFERENCE

    def collate(self, answers: Sequence[Sequence[Answer]]) -> Projected:
        """Stack the matrices and the kept tokens."""
        matrices = [[_map(a).projection for a in row] for row in answers]
        kept = [[(a.item.signal.kept, a.at_pairs) for a in row] for row in answers]
        return Projected(
            stacked([[one.ids for one in row] for row in matrices]),
            stacked([[one.weights for one in row] for row in matrices]),
            stacked([[own.ids[at] for own, at in row] for row in kept]),
            stacked([[own.probs[at] for own, at in row] for row in kept]),
            max(one.size for row in matrices for one in row),
        )

    def part(self, student: Student, batch: Batch, slot: int) -> Part:
        """Compare at matched positions."""
        at, mask = batch.matched(slot)
        own: Projected = self.own(batch)
        probs = student.probs_at(at)[..., : own.ids.shape[2]]
        seen = projected(probs, own.ids[:, slot], own.weights[:, slot], own.size)
        p = seen.gather(2, own.kept[:, slot])
        return projected_kl(p, own.probs[:, slot], mask, batch.weight(slot)[:, None])


@dataclass(frozen=True)
class XTokenH(Hybrid):
    """KL on paired tokens, sorted mass on the others, pairs by the heaviest entry of the matrix (H-KL).

    As `gwfast_llm.terms.hybrid.Hybrid`, where a pivot token is paired with the source token of its heaviest entry if
    that weighs at least 0.6; of several with one source token the heaviest is.  What is said of the positions and of
    the matrix at `XTokenP` holds here too.
    """

    name: ClassVar[str] = "xtoken_h"
    group: ClassVar[str] = "paired"
    reference: ClassVar[str] = REFERENCE

    def collate(self, answers: Sequence[Sequence[Answer]]) -> SharedIds:
        """Look the source's kept tokens up in the relaxed map."""
        pairs = [[_map(a).paired for a in row] for row in answers]
        ids = [[pair[0][a.kept.ids[a.at_pairs]] for a, pair in zip(*rows)] for rows in zip(answers, pairs)]
        return SharedIds(stacked(ids, fill=-1), stacked([[pair[1] for pair in row] for row in pairs]))
