"""Top-k logits with their log-sum-exp: all that the losses need of a model's output.

Shapes: B batch, L tokens, V vocabulary, K kept logits, P matched positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TopK:
    """The largest logits of every position, and the log-sum-exp over the whole vocabulary.

    Attributes
    ----------
    values : Tensor (..., K)
        Logits, largest first.
    ids : Tensor (..., K)
        Their token ids.
    logsumexp : Tensor (...)
        Log-sum-exp of all V logits, so that ``exp(values - logsumexp)`` are true probabilities and the rest of the
        mass is known.
    """

    values: Tensor
    ids: Tensor
    logsumexp: Tensor

    @property
    def log_probs(self) -> Tensor:
        """True log-probabilities (nats) of the kept tokens, (..., K)."""
        return self.values - self.logsumexp[..., None]

    @property
    def probs(self) -> Tensor:
        """True probabilities of the kept tokens, (..., K); they sum to at most 1."""
        return self.log_probs.exp()


def widened(logits: Tensor) -> Tensor:
    """Half-precision numbers as float32, others as they are: sums over a vocabulary need the digits."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def top_k(logits: Tensor, k: int) -> TopK:
    """Keep the k largest logits of every position, with the log-sum-exp of all.

    Parameters
    ----------
    logits : Tensor (..., V)
        Raw logits.
    k : int
        How many to keep; all of them where k is 0 or larger than V.

    Returns
    -------
    TopK
        Differentiable in `logits` (the selection itself is piecewise constant).

    Notes
    -----
    Cost: one selection and one log-sum-exp, O(V) time a position; what is returned is O(K) a position.

    Examples
    --------
    >>> kept = top_k(torch.log(torch.tensor([0.2, 0.7, 0.1])), 2)
    >>> kept.ids.tolist(), [round(p, 3) for p in kept.probs.tolist()]
    ([1, 0], [0.7, 0.2])
    """
    size = logits.shape[-1]
    values, ids = logits.topk(size if k <= 0 else min(k, size), dim=-1)
    return TopK(values, ids, widened(logits).logsumexp(-1))


def pack_rows(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move the masked positions of every row to its front.

    Parameters
    ----------
    values : Tensor (B, L, ...)
        One entry a position.
    mask : Tensor (B, L) of bool
        Positions to keep, in their order.

    Returns
    -------
    Tensor (B, P, ...)
        P is the largest count; the end of shorter rows holds entries that the mask below excludes.
    Tensor (B, P) of bool
        Which entries are real.
    """
    counts = mask.sum(1)
    width = int(counts.max()) if len(counts) else 0
    order = torch.argsort((~mask).to(torch.int8), dim=1, stable=True)[:, :width]
    rows = torch.arange(len(values), device=values.device)[:, None]
    real = torch.arange(width, device=values.device)[None] < counts[:, None]
    return values[rows, order], real
