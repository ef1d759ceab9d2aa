"""The pivot's output as whole logits, and what the terms ask of it.

Shapes: B batch, L tokens, V vocabulary, P matched positions, K kept logits; R rows of M tokens where packed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gwfast_llm.models.logits import Selection, TopK, select, widened
from gwfast_llm.terms.part import Part
from gwfast_llm.terms.sft import sft_part
from gwfast_llm.terms.term import Asked
from gwfast_llm.text.examples import IGNORE
from gwfast_llm.text.packing import Places


class DenseStudent:
    """The pivot's output as one (B, L, V) tensor, and what the terms ask of it.

    Parameters
    ----------
    logits : Tensor (B, L, V), or (R, M, V) of packed rows
        Position t predicts token t + 1.
    places : Places, optional
        Where the examples lie in packed rows.
    """

    def __init__(self, logits: Tensor, places: Places | None = None):
        self.logits = logits
        self._places = places
        self._logsumexp: Tensor | None = None
        self._kept: tuple[Selection, TopK] | None = None

    @property
    def vocabulary(self) -> int:
        """Logits V of a position."""
        return self.logits.shape[-1]

    @property
    def logsumexp(self) -> Tensor:
        """Log-sum-exp over the vocabulary, (B, L) or (R, M)."""
        if self._logsumexp is None:
            self._logsumexp = widened(self.logits).logsumexp(-1)
        return self._logsumexp

    def _where(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Row and column in the logits of positions (B, P) of every example."""
        examples = torch.arange(len(positions), device=positions.device)[:, None]
        if self._places is None:
            return examples, positions
        return self._places.at(examples, positions, self.logits.shape[1])

    def cross_entropy(self, labels: Tensor) -> Part:
        """Cross-entropy of the answer tokens."""
        if self._places is not None:
            # an example starts with its prompt, so no label reaches back over a border
            rows, width = self.logits.shape[:2]
            row, column = self._where(torch.arange(labels.shape[1], device=labels.device).expand_as(labels))
            spare = torch.full_like(column, width)  # a column that is cut off takes what is no label
            place = row * (width + 1) + torch.where(labels != -100, column, spare)
            packed = labels.new_full((rows * (width + 1),), -100).scatter(0, place.flatten(), labels.flatten())
            labels = packed.view(rows, width + 1)[:, :width]
        return sft_part(self.logits, labels)

    def gold_log_probs(self, labels: Tensor) -> Tensor:
        """Log-probabilities (B, L) of the next tokens; 0 where the next token belongs to no answer."""
        following = torch.cat([labels[:, 1:], torch.full_like(labels[:, :1], IGNORE)], 1)
        row, column = self._where(torch.arange(labels.shape[1], device=labels.device).expand_as(labels))
        picked = widened(self.logits[row, column, following.clamp_min(0)]) - self.logsumexp[row, column]
        return torch.where(following != IGNORE, picked, torch.zeros_like(picked))

    def log_probs(self, asked: Asked, positions: Tensor) -> Tensor:
        """Log-probabilities (B, P, K) of asked tokens at positions (B, P)."""
        row, column = self._where(positions)
        picked = self.logits[row[..., None], column[..., None], asked.ids]
        return widened(picked) - self.logsumexp[row, column][..., None]

    def kept(self, how: Selection) -> TopK:
        """Kept logits of every position, (B, L, K); selected once."""
        if self._kept is None or self._kept[0] != how:
            self._kept = how, self._selected(how)
        return self._kept[1]

    def _selected(self, how: Selection) -> TopK:
        kept = select(self.logits, how)
        if self._places is None:
            return kept
        every = torch.arange(self._places.length, device=self.logits.device)
        where = self._where(every.expand(len(self._places.row), -1))
        return TopK(kept.values[where], kept.ids[where], kept.logsumexp[where])

    def probs_at(self, positions: Tensor) -> Tensor:
        """Probabilities (B, P, V) at these positions (B, P)."""
        return widened(self.logits[self._where(positions)]).softmax(-1)
