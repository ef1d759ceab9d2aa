"""``gold``: generalised Jensen-Shannon divergence on shared tokens and sorted mass on the others, chunk by chunk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.models.logits import Selection
from gwfast_llm.terms.batch import Batch, stacked
from gwfast_llm.terms.chunks import SourceChunks, pivot_chunks, source_chunks
from gwfast_llm.terms.hybrid import SharedIds, shared_ids, unshared
from gwfast_llm.terms.kept import at_positions
from gwfast_llm.terms.part import Part, sum_items, widen
from gwfast_llm.terms.term import Answer, Asked, Needs, Student, Term, kept_by
from gwfast_llm.text.tensors import Tensors

LEAST = 1e-8  # probability below which a token counts as absent, as in the published code


def divergence(log_p: Tensor, log_q: Tensor, beta: float) -> Tensor:
    """Generalised Jensen-Shannon divergence of two (not normalised) distributions, element by element.

    ``beta q log(q / m) + (1 - beta) p log(p / m)`` with ``m = beta q + (1 - beta) p``; for beta 0 it is q log(q / p),
    for beta 1 p log(p / q).

    Parameters
    ----------
    log_p, log_q : Tensor
        Logarithms of the student's and the source's probabilities.
    beta : float
        From 0 to 1.
    """
    p, q = log_p.exp(), log_q.exp()
    if beta == 0:
        return q * (log_q - log_p)
    if beta == 1:
        return p * (log_p - log_q)
    mixed = torch.logaddexp(log_q + math.log(beta), log_p + math.log1p(-beta))
    return beta * q * (log_q - mixed) + (1 - beta) * p * (log_p - mixed)


@dataclass(frozen=True)
class GoldItems(Tensors):
    """What the term needs of the sources beside their kept probabilities.

    Attributes
    ----------
    shared : SharedIds
        The source's kept tokens in the pivot's vocabulary.
    chunks : SourceChunks
        Log-likelihoods of chunks.
    share : Tensor (B, S)
        Share of the source's vocabulary that the pivot has.
    """

    shared: SharedIds
    chunks: SourceChunks
    share: Tensor


@dataclass(frozen=True)
class Gold(Term):
    """The hybrid loss of TRL's GOLD: divergence on shared tokens, L1 of sorted probabilities on the others.

    At each chunk the distributions at its first token are multiplied by the probability of the rest of the chunk, as
    GOLD merges tokens ("bayesian").  The two losses are weighted by the share r of the source's vocabulary that both
    have, r and 1 - r, GOLD's default.  Tokens looked at are the kept ones: of the source in the first loss, ``top_k``
    of both in the second; all of them with ``source_top_k: 0`` and a ``top_k`` of the size of the vocabulary.

    Attributes
    ----------
    kept : Selection
        Logits kept of a position.
    beta : float
        See `divergence`; 0.5 is GOLD's default.
    """

    kept: Selection = field(default_factory=Selection)
    beta: float = 0.5

    name: ClassVar[str] = "gold"
    needs: ClassVar[Needs] = Needs(source_probs=True, kept=True)
    reference: ClassVar[str] = "GOLD of TRL, 2025, use_uld_loss with uld_use_hybrid_loss"

    @classmethod
    def of(cls, objective: ObjectiveConfig) -> Self:
        """Make the term of a configuration."""
        return cls(kept_by(objective), objective.gold_beta)

    def collate(self, answers: Sequence[Sequence[Answer]]) -> GoldItems:
        """Look the kept tokens up in the pivot's vocabulary, and sum over chunks."""
        shares = [[(a.item.shared.to_pivot >= 0).float().mean() for a in row] for row in answers]
        return GoldItems(shared_ids(answers), source_chunks(answers), stacked(shares))

    def asks(self, batch: Batch, slot: int) -> Asked:
        """Ask for the source's kept tokens."""
        return Asked("shared", slot, self.own(batch).shared.ids[:, slot].clamp_min(0))

    def lost(self, batch: Batch, slot: int) -> Part:
        """Mass of tokens that the pivot's vocabulary does not have."""
        return unshared(self.own(batch).shared, batch, slot)

    def part(self, student: Student, batch: Batch, slot: int) -> Part:
        """Compare chunk by chunk."""
        at, mask = batch.matched(slot)
        assert batch.source_probs is not None
        own: GoldItems = self.own(batch)
        chunks = pivot_chunks(student, batch, slot)
        whole, share = own.chunks.whole[:, slot], own.share[:, slot, None]
        rest_p, rest_q = chunks.rest[..., None], own.chunks.rest[:, slot, :, None]
        log_q = batch.source_probs[:, slot].clamp_min(LEAST).log() + rest_q
        log_p = student.log_probs(self.asks(batch, slot), at) + rest_p
        shared = (own.shared.ids[:, slot] >= 0) & (batch.source_probs[:, slot] > 0)
        alike = torch.where(shared, divergence(log_p, log_q, self.beta), torch.zeros_like(log_p)).sum(-1)
        kept = at_positions(student.kept(self.kept), at)
        known = own.shared.in_pivot[:, slot]
        known = F.pad(known, (0, max(0, student.vocabulary - known.shape[1])))
        known = known.gather(1, kept.ids.flatten(1)).reshape(kept.ids.shape)
        ours = torch.where(known, torch.zeros_like(kept.probs), kept.probs * rest_p.exp())
        probs = batch.source_probs[:, slot] * rest_q.exp()
        theirs = torch.where(own.shared.ids[:, slot] >= 0, torch.zeros_like(probs), probs)
        width = max(ours.shape[-1], theirs.shape[-1])
        ours, theirs = (widen(x, width).sort(-1, descending=True)[0] for x in (ours, theirs))
        value = share * alike + (1 - share) * (ours - theirs).abs().sum(-1)
        part = sum_items(value, mask & whole, batch.weight(slot)[:, None])
        return Part(part.total, mask.sum().to(part.total.dtype))  # items are counted before any model runs
