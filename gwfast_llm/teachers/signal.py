"""What a source model says about an example: top-k logits at the answer positions, behind one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from gwfast_llm.models.logits import TopK
from gwfast_llm.text.alignment import UNKNOWN
from gwfast_llm.text.examples import Encoded


@dataclass(frozen=True)
class Signal:
    """A source's output on one answer of L tokens (under the source's own tokenizer).

    Attributes
    ----------
    kept : TopK of (L, K)
        Position t holds the prediction of answer token t.
    gold : Tensor (L,)
        Log-probability (nats) of the answer token itself.
    """

    kept: TopK
    gold: Tensor

    @property
    def nll(self) -> float:
        """Negative log-likelihood (nats) of the whole answer; see `comparable_losses` for answers cut at a length."""
        return -float(self.gold.double().sum())


def comparable_losses(signals: Sequence[Signal], ends: Sequence[Sequence[int]]) -> list[float]:
    """Negative log-likelihood of the same text under several sources, also where answers are cut at other places.

    Parameters
    ----------
    signals : sequence of Signal
        What every source says about one example.
    ends : sequence of sequence of int
        Byte at which each answer token ends under each source.

    Returns
    -------
    list of float
        Nats up to the last byte at which all sources end a token: the whole answer where none is cut.  Where there is
        no such byte, nats a byte of each one's own part.
    """
    common = set.intersection(*(set(own[: len(s.gold)]) for s, own in zip(signals, ends))) - {UNKNOWN}
    if not common:
        return [s.nll / max(1, *own) for s, own in zip(signals, ends)]
    last = max(common)
    found = []
    for signal, own in zip(signals, ends):
        stop = max(t for t in range(len(signal.gold)) if own[t] == last) + 1
        found.append(-float(signal.gold[:stop].double().sum()))
    return found


BLOCK = 16  # examples that a source is asked at once


class Source(Protocol):
    """A source: a model that runs, one that is served, or what either said, read from disk."""

    name: str
    tokenizer: object
    rows: Sequence[Encoded]

    def signals(self, indices: Sequence[int]) -> list[Signal]:
        """Signals of the examples at these indices of the data set."""
        ...
