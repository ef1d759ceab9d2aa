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
        shape = request.positions.shape
        self._number = torch.zeros(shape, dtype=torch.long, device=request.positions.device)
        self._number[request.positions] = torch.arange(len(output.logsumexp), device=request.positions.device)
        self._positions = request.positions

    def cross_entropy(self, labels: Tensor) -> Part:
        """Cross-entropy of the answer tokens; the labels are those that the request was made from."""
        nll = self._output.logsumexp - self._output.asked[:, 0]
        return Part(nll.sum(), (labels[:, 1:] != IGNORE).sum().to(nll.dtype))

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
        shape = self._number.shape

        def spread(values: Tensor) -> Tensor:
            whole = values.new_zeros(*shape, *values.shape[1:])
            whole[self._positions] = values
            return whole

        return TopK(spread(kept.values), spread(kept.ids), spread(kept.logsumexp))

    def probs_at(self, positions: Tensor) -> Tensor:
        """Whole distributions are what this path avoids.

        Raises
        ------
        FusionError
            Always.
        """
        raise FusionError("a term needs whole logits; use --train.chunk 0")
