"""The pivot's output where the output layer works in chunks: only what was asked for exists."""

from __future__ import annotations

import torch
from torch import Tensor

from gwfast_llm.errors import FusionError
from gwfast_llm.models.logits import Selection, TopK
from gwfast_llm.models.output_layer import ChunkedOutput, Request
from gwfast_llm.terms.objective import Part


class ChunkedStudent:
    """The pivot's output as the parts ask for it; the counterpart of `gwfast_llm.student.combine.DenseStudent`.

    Parameters
    ----------
    request : Request
        What was asked.
    output : ChunkedOutput
        What came back.
    columns : dict
        Where in the asked tokens each named group lies, ``(first, last)``.
    """

    def __init__(self, request: Request, output: ChunkedOutput, columns: dict[str, tuple[int, int]]):
        self._output = output
        self._columns = columns
        shape = request.positions.shape
        self._number = torch.zeros(shape, dtype=torch.long, device=request.positions.device)
        self._number[request.positions] = torch.arange(len(output.logsumexp), device=request.positions.device)
        self._positions = request.positions

    def sft(self, labels: Tensor) -> Part:
        """Cross-entropy part; the labels are those the request was made from."""
        first, _ = self._columns["gold"]
        nll = self._output.logsumexp - self._output.asked[:, first]
        return Part(nll.sum(), (labels[:, 1:] != -100).sum().to(nll.dtype))

    def log_probs_at(self, group: str, positions: Tensor, ids: Tensor) -> Tensor:
        """Log-probabilities (B, P, K) of the tokens that were asked under this name."""
        first, last = self._columns[group]
        rows = torch.arange(len(positions), device=positions.device)[:, None]
        number = self._number[rows, positions]
        return self._output.asked[number, first:last] - self._output.logsumexp[number][..., None]

    def kept(self, how: Selection) -> TopK:
        """Kept logits of every position, (B, L, K); zeros where a position does not count."""
        kept = self._output.kept
        assert kept is not None
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
        raise FusionError("objective.gld_aligned needs whole logits; use --train.chunk 0")
