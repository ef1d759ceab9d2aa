"""``alm``: approximate likelihood matching, on the likelihoods of chunks of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.chunks import SourceChunks, pivot_chunks, source_chunks
from gwfast_llm.terms.part import Part, sum_items
from gwfast_llm.terms.term import Answer, Needs, Student, Term

LEAST = 1e-6  # nats by which a likelihood stays below 1, as in the authors' code


def alm_part(
    student: Tensor, source: Tensor, mask: Tensor, temperature: float = 0.0, weight: Tensor | None = None
) -> Part:
    r"""Binarised KL divergence of chunk likelihoods, tau (p log(p / q) + (1 - p) log((1 - p) / (1 - q))).

    With ``p = exp(source / tau)`` and ``q = exp(student / tau)``.  For tau to infinity this is
    ``source - student + source (log(-student) - log(-source))``, the limit that the authors use.  The factor tau, which
    they leave out, keeps the size of the loss when tau changes.

    Parameters
    ----------
    student, source : Tensor (..., P)
        Log-likelihoods (nats) of the chunks.
    mask : Tensor (..., P) of bool
        Chunks that count.
    temperature : float
        tau; 0 for the limit.
    weight : Tensor broadcastable to (..., P), optional
        Weight of each chunk in the sum.

    Returns
    -------
    Part
        One item a chunk; 0 where the likelihoods agree.
    """
    t, s = source.clamp_max(0.0) - LEAST, student.clamp_max(0.0) - LEAST
    t, s = torch.where(mask, t, -torch.ones_like(t)), torch.where(mask, s, -torch.ones_like(s))
    if temperature:
        t, s = t / temperature, s / temperature
        p = t.exp()
        value = temperature * (p * (t - s) - torch.expm1(t) * (_log_rest(t) - _log_rest(s)))
    else:
        value = t - s + t * (torch.log(-s) - torch.log(-t))
    return sum_items(value, mask, weight)


def _log_rest(log_p: Tensor) -> Tensor:
    """Log of 1 - p."""
    return torch.log(-torch.expm1(log_p))


@dataclass(frozen=True)
class Alm(Term):
    """Binarised KL between the likelihoods of the shortest chunks that both tokenizers cut.

    The published method without its correction for tokenisation bias and without its terms on hidden states.

    Attributes
    ----------
    temperature : float
        See `alm_part`.
    """

    temperature: float = 0.0

    name: ClassVar[str] = "alm"
    needs: ClassVar[Needs] = Needs(pairs=True)
    reference: ClassVar[str] = "Minixhofer, Vulic, Ponti, Universal Cross-Tokenizer Distillation, 2025 (2503.20083)"

    @classmethod
    def of(cls, objective: ObjectiveConfig) -> Self:
        """Make the term of a configuration."""
        return cls(objective.alm_temperature)

    def collate(self, answers: Sequence[Sequence[Answer]]) -> SourceChunks:
        """Sum the sources' log-probabilities over the chunks."""
        return source_chunks(answers)

    def part(self, student: Student, batch: Batch, slot: int) -> Part:
        """Compare the likelihoods of chunks."""
        _, mask = batch.matched(slot)
        theirs: SourceChunks = self.own(batch)
        own = pivot_chunks(student, batch, slot)
        part = alm_part(
            own.logs,
            theirs.logs[:, slot],
            mask & theirs.whole[:, slot],
            self.temperature,
            batch.weight(slot)[:, None],
        )
        return Part(part.total, mask.sum().to(part.total.dtype))  # items are counted before any model runs
