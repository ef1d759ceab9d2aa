"""Experimental: carry a source's distribution into the pivot's vocabulary by a GW coupling of the two vocabularies.

Two tokens are taken for one where they stand among other tokens alike: a graph of which token follows which is made
of each vocabulary, from token ids alone, and the two are coupled by Gromov-Wasserstein.  No spelling is used.  It
finds a renaming of one vocabulary and fails where the segmentation differs; where both tokenizers read the same text,
as they do here, `gwfast_llm.teachers.path` gets the map from the text itself.

Shapes: P matched positions, K kept logits, N and M tokens of source and pivot in the graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import gwfast
from gwfast_llm.teachers.path import SharedTokens, Targets
from gwfast_llm.teachers.signal import Signal

TOKENS = 256  # most frequent tokens of each vocabulary that are coupled; the rest of the mass is the target's tail
EXAMPLES = 2000  # texts from which the graphs are counted


def following(rows: Sequence[Sequence[int]], tokens: int = TOKENS) -> tuple[np.ndarray, np.ndarray]:
    r"""Which token follows which, among the most frequent ones.

    .. math:: C_{ij} = \log(1 + n_{ij} n / (n_{i\cdot} n_{\cdot j}))

    with n_ij how often j comes directly after i; scaled to a largest edge of 1.

    Parameters
    ----------
    rows : sequence of sequence of int
        Token ids of texts.
    tokens : int
        Tokens kept, the most frequent first.

    Returns
    -------
    ids : ndarray (N,)
        Token ids, ascending.
    graph : ndarray (N, N)
        Asymmetric edges.
    """
    everything = np.concatenate([np.asarray(row) for row in rows])
    names, uses = np.unique(everything, return_counts=True)
    ids = np.sort(names[np.argsort(-uses, kind="stable")[:tokens]])
    counts = np.zeros((len(ids), len(ids)))
    for row in rows:
        at = np.searchsorted(ids, row).clip(max=len(ids) - 1)
        known = ids[at] == np.asarray(row)
        both = known[:-1] & known[1:]
        np.add.at(counts, (at[:-1][both], at[1:][both]), 1.0)
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / max(counts.sum(), 1.0)
    graph = np.log1p(counts / np.maximum(expected, 1e-9))
    return ids, graph / max(graph.max(), 1e-9)


@dataclass(frozen=True)
class Coupling:
    """Which of the pivot's tokens each of the source's is taken for.

    Attributes
    ----------
    source_ids, pivot_ids : Tensor (N,), (M,)
        Tokens in the graphs.
    shares : Tensor (N, M)
        Row i says how the mass of source token i is spread; rows sum to 1.
    """

    source_ids: Tensor
    pivot_ids: Tensor
    shares: Tensor

    def agreement(self, shared: SharedTokens) -> tuple[int, int]:
        """How many tokens that both vocabularies spell alike are matched, and how many of them are in both graphs."""
        there = shared.to_pivot[self.source_ids]
        known = torch.isin(there, self.pivot_ids) & (there >= 0)
        best = self.pivot_ids[self.shares.argmax(1)]
        return int((best == there)[known].sum()), int(known.sum())

    def sentence(self, name: str, shared: SharedTokens) -> str:
        """The agreement with the spelling in words."""
        right, known = self.agreement(shared)
        if not known:
            return f"gw_aligned (experimental), source {name}: no common strings to check the coupling against"
        poor = "; most of what it distils is wrong: use objective.path" if right < known / 2 else ""
        return (
            f"gw_aligned (experimental), source {name}: {right} of {known} tokens that both vocabularies spell alike "
            f"are matched to each other{poor}"
        )

    def targets(self, matched: Targets, signal: Signal, keep: int = 0) -> Targets:
        """Carry a signal into the pivot's vocabulary at matched positions.

        Parameters
        ----------
        matched : Targets
            Positions P of pivot and source that start at the same byte.
        signal : Signal
            The source's output on the answer.
        keep : int
            Pivot tokens kept a position; 0 keeps all M.

        Returns
        -------
        Targets
            Mass of source tokens outside the graph is in the tail.

        Notes
        -----
        Cost: O(P N M).
        """
        ids, probs = (x[matched.source_index] for x in (signal.kept.ids, signal.kept.probs))
        at = torch.searchsorted(self.source_ids, ids).clamp_max(len(self.source_ids) - 1)
        probs = torch.where(self.source_ids[at] == ids, probs, torch.zeros_like(probs))
        carried = probs.new_zeros(len(ids), len(self.source_ids)).scatter_add(1, at, probs) @ self.shares
        width = len(self.pivot_ids) if keep <= 0 else min(keep, len(self.pivot_ids))
        best = carried.topk(width, dim=1)
        tail = (1 - best.values.sum(1)).clamp_min(0.0)
        return Targets(matched.pivot_index, matched.source_index, self.pivot_ids[best.indices], best.values, tail)


def couple(source_rows: Sequence[Sequence[int]], pivot_rows: Sequence[Sequence[int]]) -> Coupling:
    """Couple two vocabularies by `gwfast.exact_gw` of their graphs of `following` tokens, uniform weights.

    Parameters
    ----------
    source_rows, pivot_rows : sequence of sequence of int
        Token ids of texts under each tokenizer; the texts need not be the same.

    Returns
    -------
    Coupling

    Notes
    -----
    Cost: one pass over the texts and a local GW solve of `TOKENS` nodes, some seconds.  A better optimum of GW need
    not be truer.
    """
    source_ids, first = following(source_rows[:EXAMPLES])
    pivot_ids, second = following(pivot_rows[:EXAMPLES])
    plan = np.asarray(gwfast.exact_gw(first, second).plan.toarray())
    shares = plan / plan.sum(1, keepdims=True)
    return Coupling(torch.from_numpy(source_ids), torch.from_numpy(pivot_ids), torch.from_numpy(shares).float())
