"""``simct``: KL over the tokens that both vocabularies have and the next chunk of text as one more token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.terms.batch import Batch, stacked
from gwfast_llm.terms.chunks import SourceChunks, pivot_chunks, source_chunks
from gwfast_llm.terms.part import Part, sum_items
from gwfast_llm.terms.term import Answer, Asked, Needs, Student, Term
from gwfast_llm.text.tensors import Tensors

NONE = -1e9  # log-probability of what is not there


def simct_part(
    student: Tensor, source: Tensor, there: Tensor, mask: Tensor, reverse: bool = True, weight: Tensor | None = None
) -> Part:
    """KL between two distributions over the same candidates, each normalised over those that are there.

    Parameters
    ----------
    student, source : Tensor (..., P, K)
        Log-probabilities of the candidates, up to a constant a position.
    there : Tensor (..., P, K) of bool
        Candidates of each position.
    mask : Tensor (..., P) of bool
        Positions that count.
    reverse : bool
        KL from the student to the source, as on-policy methods take it; else from the source to the student.
    weight : Tensor broadcastable to (..., P), optional
        Weight of each position in the sum.

    Returns
    -------
    Part
        Nats, one item a position; 0 at positions with fewer than two candidates.
    """
    p, q = (torch.where(there, x, torch.full_like(x, NONE)).log_softmax(-1) for x in (student, source))
    first, second = (p, q) if reverse else (q, p)
    value = torch.where(there, first.exp() * (first - second), torch.zeros_like(p)).sum(-1)
    return sum_items(value, mask, weight)


@dataclass(frozen=True)
class Candidates(Tensors):
    """Candidates of every position.

    Attributes
    ----------
    ids : Tensor (B, S, P, K)
        Pivot token of a kept token of the source; -1 where the pivot has none.
    logs : Tensor (B, S, P, K)
        Its log-probability under the source.
    chunks : SourceChunks
        What the source says about the chunks that begin there.
    """

    ids: Tensor
    logs: Tensor
    chunks: SourceChunks


@dataclass(frozen=True)
class SimCt(Term):
    """KL over shared tokens and, where a chunk has several tokens, that chunk as one more candidate.

    A chunk counts by the mean log-probability of its tokens, as published.  The candidates are the shared ones among
    the kept tokens of the source; all shared ones with ``source_top_k: 0``.  The authors' code averages raw logits in
    the place of log-probabilities, which differ by a constant a position, and closes a chunk with the next shared
    token; their paper, and this term, take the shortest chunks.  They train on what the student writes.

    Attributes
    ----------
    reverse : bool
        See `simct_part`.
    """

    reverse: bool = True

    name: ClassVar[str] = "simct"
    needs: ClassVar[Needs] = Needs(pairs=True)
    reference: ClassVar[str] = "Sun et al., SimCT, 2026 (2605.07711)"

    @classmethod
    def of(cls, objective: ObjectiveConfig) -> Self:
        """Make the term of a configuration."""
        return cls(objective.simct_divergence == "reverse")

    def collate(self, answers: Sequence[Sequence[Answer]]) -> Candidates:
        """Look the kept tokens up in the pivot's vocabulary, and sum over chunks."""
        kept = [[(a.item.signal.kept, a.at_pairs, a.item.shared.to_pivot) for a in row] for row in answers]
        ids = [[to_pivot[own.ids[at]] for own, at, to_pivot in row] for row in kept]
        logs = [[own.log_probs[at] for own, at, _ in row] for row in kept]
        return Candidates(stacked(ids, fill=-1), stacked(logs), source_chunks(answers))

    def asks(self, batch: Batch, slot: int) -> Asked:
        """Ask for the shared tokens."""
        return Asked(self.name, slot, self.own(batch).ids[:, slot].clamp_min(0))

    def lost(self, batch: Batch, slot: int) -> Part:
        """Mass of tokens that the pivot's vocabulary does not have; where a chunk is a candidate, it has some of it."""
        own: Candidates = self.own(batch)
        probs = torch.where(own.ids[:, slot] >= 0, own.logs[:, slot].exp(), 0.0).sum(-1)
        return sum_items(1 - probs, batch.matched(slot)[1], None)

    def part(self, student: Student, batch: Batch, slot: int) -> Part:
        """Compare at matched positions."""
        at, mask = batch.matched(slot)
        own: Candidates = self.own(batch)
        chunks, theirs = pivot_chunks(student, batch, slot), own.chunks
        there, source = own.ids[:, slot] >= 0, own.logs[:, slot]
        # kept channels that a position does not use have a log-probability of minus infinity
        there = there & torch.isfinite(source)
        size = theirs.size[:, slot]
        several = theirs.whole[:, slot] & ((size > 1) | (chunks.size > 1))
        pairs = (
            (student.log_probs(self.asks(batch, slot), at), chunks.logs / chunks.size.clamp_min(1)),
            (source, theirs.logs[:, slot] / size.clamp_min(1)),
        )
        p, q = (torch.cat([tokens, chunk[..., None].to(tokens.dtype)], -1) for tokens, chunk in pairs)
        there = torch.cat([there, several[..., None]], -1)
        return simct_part(p, q, there, mask, self.reverse, batch.weight(slot)[:, None])
