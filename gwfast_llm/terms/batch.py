"""The tensors of a batch, as typed records.

Shapes: B batch, S source slots, L pivot tokens, P matched positions, T source answer tokens, K kept tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from gwfast_llm.terms.spots import Spots, spots_of
from gwfast_llm.text.examples import IGNORE
from gwfast_llm.text.packing import Places
from gwfast_llm.text.tensors import Tensors


@dataclass(frozen=True)
class Pairs(Tensors):
    """Positions of the pivot that start at the same byte as a token of the source.

    Attributes
    ----------
    index : Tensor (B, S, P)
        Position of the pivot whose logits predict the token.
    mask : Tensor (B, S, P) of bool
        Which of them are real.
    """

    index: Tensor
    mask: Tensor


@dataclass(frozen=True)
class CarriedTargets(Tensors):
    """Distributions of the sources in the pivot's vocabulary, at matched positions.

    Attributes
    ----------
    ids, probs : Tensor (B, S, P, K)
        Pivot tokens and their probabilities; unused channels are 0.
    tail : Tensor (B, S, P)
        Mass outside the kept tokens.
    """

    ids: Tensor
    probs: Tensor
    tail: Tensor


@dataclass(frozen=True)
class Batch(Tensors):
    """A batch of examples, and what the terms need of the sources.

    Attributes
    ----------
    input_ids : Tensor (B, L), or (R, M) of packed rows
        What the model reads.
    labels : Tensor (B, L)
        Token ids, -100 where a token does not belong to the answer.
    attention_mask : Tensor (B, L) or None
        Which tokens are real; None with packed rows.
    position_ids : Tensor (R, M) or None
        Positions that start anew in every example of a packed row.
    places : Places or None
        Where the examples lie in packed rows.
    spots : Spots or None
        Where the answers are predicted, as found on the host; without them they are looked for when asked for.
    idle : bool
        Whether the batch only keeps a process in step with the others; nothing of it counts.
    written : bool
        Whether the pivot has written the answers itself: terms that need no source do not count then.
    source_weight : Tensor (B, S) or None
        Weight of the source of each slot.
    pairs : Pairs or None
        Matched positions, where a term needs them.
    carried : CarriedTargets or None
        Targets carried along the text, where a term needs them.
    source_probs : Tensor (B, S, P, K) or None
        Kept probabilities of the sources at matched positions, where a term needs them.
    own : dict of str to Tensors
        Further tensors of a term, by its name.
    """

    input_ids: Tensor
    labels: Tensor
    attention_mask: Tensor | None = None
    position_ids: Tensor | None = None
    places: Places | None = None
    spots: Spots | None = None
    idle: bool = False
    written: bool = False
    source_weight: Tensor | None = None
    pairs: Pairs | None = None
    carried: CarriedTargets | None = None
    source_probs: Tensor | None = None
    own: dict[str, Tensors] = field(default_factory=dict)

    @property
    def model_inputs(self) -> dict[str, Tensor]:
        """What the model is given: with packed rows, positions that start anew in place of a mask.

        transformers reads borders from the positions only where there is no cache: call with ``use_cache=False``.
        """
        if self.position_ids is not None:
            return {"input_ids": self.input_ids, "position_ids": self.position_ids}
        assert self.attention_mask is not None
        return {"input_ids": self.input_ids, "attention_mask": self.attention_mask}

    @property
    def predicts(self) -> Tensor:
        """Positions (B, L) of bool whose next token belongs to an answer."""
        found = torch.zeros_like(self.labels, dtype=torch.bool)
        found[:, :-1] = self.labels[:, 1:] != IGNORE
        return found

    @property
    def answers(self) -> Spots:
        """Where the answers are predicted."""
        return spots_of(self.labels) if self.spots is None else self.spots

    def as_written(self) -> Batch:
        """The same batch, of answers that the pivot has written."""
        return dataclasses.replace(self, written=True)

    def relabelled(self, labels: Tensor) -> Batch:
        """The same batch with other labels."""
        return dataclasses.replace(self, labels=labels, spots=spots_of(labels))

    def matched(self, slot: int) -> tuple[Tensor, Tensor]:
        """Matched positions (B, P) of a slot, and which of them are real."""
        assert self.pairs is not None, "the needs of a term name matched positions"
        return self.pairs.index[:, slot], self.pairs.mask[:, slot]

    def weight(self, slot: int) -> Tensor:
        """Weight (B,) of the source of a slot."""
        assert self.source_weight is not None
        return self.source_weight[:, slot]


def stacked(rows: Sequence[Sequence[Tensor]], fill: float = 0) -> Tensor:
    """Stack tensors of one rank into (B, S, ...), filled up with `fill` in every other axis.

    Parameters
    ----------
    rows : sequence of sequence of Tensor
        One list an example, one tensor a source slot.
    fill : float
        Value of the padding.
    """
    flat = [t for row in rows for t in row]
    shape = [max(t.shape[d] for t in flat) for d in range(flat[0].dim())]
    padded = []
    for t in flat:
        widths: list[int] = []
        for d in reversed(range(t.dim())):
            widths += [0, shape[d] - t.shape[d]]
        padded.append(F.pad(t, widths, value=fill))
    return torch.stack(padded).unflatten(0, (len(rows), len(rows[0])))
