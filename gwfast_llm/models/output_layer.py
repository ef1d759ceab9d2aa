"""From hidden states to what the losses need without ever holding (L, V) logits.

The output layer of a model is told beforehand which positions count and which tokens will be asked for; it then works
through the positions in chunks, keeps log-sum-exp, asked logits and top-k of each, and forgets the logits.  In the
backward pass each chunk is computed once more.  Memory is that of one chunk x V instead of L x V; the cost is one
more product with the output layer.

Shapes: B batch, L tokens, N answer positions of a batch, V vocabulary, K kept logits, G asked tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gwfast_llm.models.after_layer import change_of
from gwfast_llm.models.logits import Selection, TopK, read, widened
from gwfast_llm.text.packing import Places

WHOLE = 2**24  # logits of a batch up to which no chunks are made: 64 MiB in float32
AT_ONCE = 2**26  # logits of a chunk, at most
SHARE = 8  # chunks of a batch, at least


def automatic_chunk(tokens: int, vocabulary: int) -> int:
    """Positions at which logits exist at one time; 0, for the whole batch, where they are small.

    Parameters
    ----------
    tokens : int
        Tokens of the largest batch, B x L.
    vocabulary : int
        V.

    Returns
    -------
    int
        At most an eighth of the positions: a chunk's logits, their gradient and what is between are then less than
        one (B, L, V) tensor.

    Examples
    --------
    >>> automatic_chunk(4 * 96, 150), automatic_chunk(4096, 152064)
    (0, 441)
    """
    whole = tokens * vocabulary
    return 0 if whole <= WHOLE else max(1, min(AT_ONCE, whole // SHARE) // vocabulary)


@dataclass(frozen=True)
class Request:
    """What will be asked of a forward pass.

    Attributes
    ----------
    positions : Tensor (N,)
        Numbers b L + t, in order, of the positions that count: those whose next token belongs to an answer.
    shape : (int, int)
        B and L.
    asked : Tensor (N, G)
        Token ids whose logits are wanted at each of them.
    kept : Selection or None
        How many of the largest logits are kept.
    places : Places or None
        Where the examples lie where the model is given packed rows.
    """

    positions: Tensor
    shape: tuple[int, int]
    asked: Tensor
    kept: Selection | None
    places: Places | None = None

    def chosen(self, hidden: Tensor) -> Tensor:
        """States (N, D) of the positions that count, of (B, L, D) or of packed rows (R, M, D)."""
        if self.places is None:
            return hidden.flatten(0, 1)[self.positions]
        example, position = self.positions // self.shape[1], self.positions % self.shape[1]
        return hidden[self.places.at(example, position, hidden.shape[1])]


@dataclass(frozen=True)
class ChunkedOutput:
    """What a forward pass leaves: log-sum-exp (N,), asked logits (N, G), the kept ones where wanted, and V."""

    logsumexp: Tensor
    asked: Tensor
    kept: TopK | None
    vocabulary: int


class ChunkedHead:
    """Works the output layer of a model in chunks whenever a request is pending.

    Parameters
    ----------
    model : transformers.PreTrainedModel or peft.PeftModel
        Its output layer is told to ask here first; weights and their names stay as they are.
    chunk : int
        Positions at once.
    size : int, optional
        Logits that belong to tokens; those of further rows of the layer are left out.

    Attributes
    ----------
    pending : Request or None
        To be set before a forward pass.  What that pass returns as logits is then empty.
    output : ChunkedOutput or None
        What the last forward pass left.

    Raises
    ------
    FusionError
        When what the model does to its logits after the output layer cannot be found out.
    """

    def __init__(self, model: Any, chunk: int, size: int | None = None):
        self.pending: Request | None = None
        self.output: ChunkedOutput | None = None
        self._chunk = chunk
        self._size = size
        self._width = 0
        self._layer = model.get_output_embeddings()
        self._change = change_of(model)
        self._whole, self._own = self._layer.forward, vars(self._layer).get("forward")
        self._layer.forward = self._forward

    def release(self) -> None:
        """Leave the model as it was."""
        if self._own is None:
            del self._layer.forward
        else:
            self._layer.forward = self._own

    def answer(self) -> ChunkedOutput:
        """What the forward pass left; to be taken once."""
        found, self.output = self.output, None
        assert found is not None, "a request was pending and the model has run"
        return found

    def _forward(self, hidden: Tensor) -> Any:
        request, self.pending = self.pending, None
        if request is None:
            return self._whole(hidden)
        chosen = request.chosen(hidden)
        sums, asked, values, ids = [], [], [], []
        for start in range(0, self._chunk * self._number(chosen), self._chunk):
            stop = start + self._chunk
            arguments = (chosen[start:stop], request.asked[start:stop], request.kept, [])
            if torch.is_grad_enabled():
                # unchecked: DeepSpeed empties weights after the recomputation, and gathers them where they are used
                found: Any = checkpoint(self._one, *arguments, use_reentrant=False, determinism_check="none")
            else:
                found = self._one(*arguments)
            for own, piece in zip((sums, asked, values, ids), found):
                own.append(piece)
        logsumexp = torch.cat(sums)
        kept = None if request.kept is None else TopK(torch.cat(values), torch.cat(ids), logsumexp)
        self.output = ChunkedOutput(logsumexp, torch.cat(asked), kept, self._width)
        return hidden.new_zeros(1, 1, self._layer.weight.shape[0])  # the model goes on with it as if it were logits

    def _number(self, chosen: Tensor) -> int:
        """Number of chunks: where DeepSpeed has sharded the layer all processes gather it as often."""
        own = max(1, -(-len(chosen) // self._chunk))
        if not hasattr(self._layer.weight, "ds_id"):
            return own
        number = torch.tensor(own, device=chosen.device)
        torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
        return int(number)

    def _one(self, hidden: Tensor, asked: Tensor, how: Selection | None, known: list[Tensor]) -> tuple[Tensor, ...]:
        """One chunk; `known` carries the selection over to the backward pass, where it is not made again."""
        logits = self._layer(hidden)  # as a module, in the backward pass too: its hooks gather weights that are sharded
        if self._change is not None:
            logits = self._change(logits)
        logits = logits[:, : self._size]
        self._width = logits.shape[-1]
        picked, kept = read(logits, asked, how, known[0] if known else None)
        if not known:
            known.append(kept.ids)
        return kept.logsumexp, widened(picked), kept.values, kept.ids
