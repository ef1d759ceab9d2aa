"""The pivot's output where the output layer works in chunks: only what was asked for exists."""

from __future__ import annotations

import torch
from torch import Tensor

from gwfast_llm.models.logits import Selection, TopK
from gwfast_llm.models.output_layer import ChunkedOutput, Request
from gwfast_llm.system.errors import FusionError
from gwfast_llm.terms.part import Part
from gwfast_llm.terms.term import Asked
from gwfast_llm.text.examples import IGNORE

Columns = dict[tuple[int, str], tuple[int, int]]  # of slot and group: first column of the asked tokens, and the next


class ChunkedStudent:
    """The pivot's output as the terms ask for it; the counterpart of `gwfast_llm.student.dense.DenseStudent`.

    Parameters
    ----------
    request : Request
        What was asked.
    output : ChunkedOutput
        What came back.
    columns : Columns
        Where in the asked tokens each group lies.
    """

    def __init__(self, request: Request, output: ChunkedOutput, columns: Columns):
        self._output = output
        self._columns = columns
        self._kept: TopK | None = None
        self._positions = request.positions
        self._shape = request.shape
        number = torch.zeros(request.shape[0] * request.shape[1], dtype=torch.long, device=request.positions.device)
        every = torch.arange(len(output.logsumexp), device=number.device)
        self._number = number.index_copy(0, request.positions, every).view(request.shape)

    @property
    def vocabulary(self) -> int:
        """Logits V of a position."""
        return self._output.vocabulary

    def cross_entropy(self, labels: Tensor) -> Part:
        """Cross-entropy of the answer tokens; the labels are those that the request was made from."""
        nll = self._output.logsumexp - self._output.asked[:, 0]
        return Part(nll.sum(), (labels[:, 1:] != IGNORE).sum().to(nll.dtype))

    def gold_log_probs(self, labels: Tensor) -> Tensor:
        """Log-probabilities (B, L) of the next tokens; the labels are those that the request was made from."""
        values = self._output.asked[:, 0] - self._output.logsumexp
        whole = values.new_zeros(self._number.numel()).index_copy(0, self._positions, values)
        return whole.view(self._shape)

    def log_probs(self, asked: Asked, positions: Tensor) -> Tensor:
        """Log-probabilities (B, P, K) of asked tokens at positions (B, P)."""
        first, last = self._columns[asked.slot, asked.group]
        rows = torch.arange(len(positions), device=positions.device)[:, None]
        number = self._number[rows, positions]
        return self._output.asked[number, first:last] - self._output.logsumexp[number][..., None]

    def kept(self, how: Selection) -> TopK:
        """Kept logits of every position, (B, L, K); zeros where a position does not count."""
        if self._kept is None:
            self._kept = self._spread_out()
        return self._kept

    def _spread_out(self) -> TopK:
        kept = self._output.kept
        assert kept is not None, "the needs of a term name kept logits"

        def spread(values: Tensor) -> Tensor:
            whole = values.new_zeros(self._number.numel(), *values.shape[1:])
            return whole.index_copy(0, self._positions, values).unflatten(0, self._shape)

        return TopK(spread(kept.values), spread(kept.ids), spread(kept.logsumexp))

    def probs_at(self, positions: Tensor) -> Tensor:
        """Whole distributions are what this path avoids.

        Raises
        ------
        FusionError
            Always.
        """
        raise FusionError("a term needs whole logits; use --train.chunk 0")
