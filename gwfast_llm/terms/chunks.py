"""Chunks: stretches of an answer between two bytes at which both tokenizers start a token, the shortest there are.

Shapes: B batch, S source slots, L pivot tokens, P matched positions, each the first of a chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gwfast_llm.terms.batch import Batch, stacked
from gwfast_llm.terms.term import Answer, Student
from gwfast_llm.text.tensors import Tensors


@dataclass(frozen=True)
class SourceChunks(Tensors):
    """What the sources say about the chunks of a batch.

    Attributes
    ----------
    logs : Tensor (B, S, P)
        Log-likelihood (nats) of each chunk.
    rest : Tensor (B, S, P)
        The same without its first token.
    size : Tensor (B, S, P)
        Tokens of the source in it.
    whole : Tensor (B, S, P) of bool
        Whether it holds the same text under both tokenizers: the last chunk of a cut answer does not.
    """

    logs: Tensor
    rest: Tensor
    size: Tensor
    whole: Tensor


@dataclass(frozen=True)
class PivotChunks:
    """What the pivot says about the chunks: log-likelihoods, those without the first token, and sizes, each (B, P)."""

    logs: Tensor
    rest: Tensor
    size: Tensor


def source_chunks(answers: Sequence[Sequence[Answer]]) -> SourceChunks:
    """Sum what the sources say over every chunk; one list an example, one entry a slot."""
    made = [[_of(answer) for answer in row] for row in answers]
    logs, rest, size, whole = (stacked([[own[k] for own in row] for row in made]) for k in range(4))
    return SourceChunks(logs, rest, size, whole)


def _of(answer: Answer) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    gold, first = answer.item.signal.gold, answer.at_pairs
    sums = torch.cat([gold.new_zeros(1), gold.cumsum(0)])
    stops = torch.cat([first[1:], first.new_full((min(1, len(first)),), len(gold))])
    whole = torch.ones(len(first), dtype=torch.bool)
    whole[-1:] = answer.item.whole
    logs = sums[stops] - sums[first]
    return logs, logs - gold[first], (stops - first).to(gold.dtype), whole


def pivot_chunks(student: Student, batch: Batch, slot: int) -> PivotChunks:
    """Sum what the pivot says over every chunk.

    Parameters
    ----------
    student : Student
        The pivot's output.
    batch : Batch
        With matched positions.
    slot : int
        Source slot, whose tokenizer the chunks belong to.
    """
    at, mask = batch.matched(slot)
    gold, counts = student.gold_log_probs(batch.labels), batch.predicts
    length, width = gold.shape[1], at.shape[1]
    # the number of each position's chunk; what lies before the first goes into a column that is cut off
    starts = at.new_zeros(len(at), length + 1).scatter_add(1, torch.where(mask, at, length), mask.to(at.dtype))
    number = starts[:, :length].cumsum(1) - 1
    number = torch.where((number >= 0) & counts, number, width)
    empty = gold.new_zeros(len(at), width + 1)
    logs = empty.scatter_add(1, number, gold)[:, :width]
    size = empty.scatter_add(1, number, counts.to(gold.dtype))[:, :width]
    return PivotChunks(logs, logs - torch.where(mask, gold.gather(1, at), torch.zeros_like(logs)), size)
