"""Where the answers of a batch are predicted: found once, on the host, so that no loss asks a GPU for a number.

Shapes: B batch, L tokens, N answer tokens of the batch, T those of the longest answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gwfast_llm.text.examples import IGNORE
from gwfast_llm.text.tensors import Tensors


@dataclass(frozen=True)
class Spots(Tensors):
    """Positions whose next token belongs to an answer.

    Attributes
    ----------
    flat : Tensor (N,)
        Their numbers ``b L + t``, in order.
    index : Tensor (B, T)
        The same by example; the end of shorter rows holds 0.
    mask : Tensor (B, T) of bool
        Which of them are real.
    """

    flat: Tensor
    index: Tensor
    mask: Tensor


def spots_of(labels: Tensor) -> Spots:
    """Find the positions that predict an answer token.

    Parameters
    ----------
    labels : Tensor (B, L)
        Token ids, -100 where a token does not belong to an answer.

    Notes
    -----
    Reads values: of labels on a GPU it waits for the GPU.  Collation calls it on the host.

    Examples
    --------
    >>> found = spots_of(torch.tensor([[-100, 5, 6], [-100, -100, 7]]))
    >>> found.flat.tolist(), found.index.tolist(), found.mask.tolist()
    ([0, 1, 4], [[0, 1], [1, 0]], [[True, True], [True, False]])
    """
    predicts = torch.zeros_like(labels, dtype=torch.bool)
    predicts[:, :-1] = labels[:, 1:] != IGNORE
    counts = predicts.sum(1)
    width = int(counts.max()) if len(counts) else 0
    order = torch.argsort((~predicts).to(torch.int8), dim=1, stable=True)[:, :width]
    mask = torch.arange(width, device=labels.device)[None] < counts[:, None]
    return Spots(predicts.flatten().nonzero()[:, 0], torch.where(mask, order, torch.zeros_like(order)), mask)
