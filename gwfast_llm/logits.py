"""Top-k logits with their log-sum-exp: all that the losses need of a model's output.

Shapes: B batch, L tokens, V vocabulary, K kept logits, P matched positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class TopK:
    """The largest logits of every position, and the log-sum-exp over the whole vocabulary.

    Attributes
    ----------
    values : Tensor (..., K)
        Logits, largest first; minus infinity where a position keeps fewer than K.
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


@dataclass(frozen=True)
class Selection:
    """How many logits of a position are kept.

    Attributes
    ----------
    k : int
        Largest number kept; 0 for all.
    by : {"fixed", "mass", "entropy"}
        `fixed`: k everywhere.  `mass`: the fewest whose probability reaches `amount` (top-p), at most k.
        `entropy`: ``amount * exp(H)`` of them, H the entropy of the position in nats, at most k and at least 1: more
        channels where the model is unsure.
    amount : float
        The mass, or the factor on ``exp(H)``.
    """

    k: int = 10
    by: Literal["fixed", "mass", "entropy"] = "fixed"
    amount: float = 1.0


def select(logits: Tensor, how: Selection) -> TopK:
    """Keep the largest logits of every position, as many as `how` says.

    Parameters
    ----------
    logits : Tensor (..., V)
        Raw logits.
    how : Selection
        Number kept.

    Returns
    -------
    TopK
        Dropped channels of a position have minus infinity as value, hence probability 0.

    Notes
    -----
    Cost: as `top_k`; `entropy` needs one more pass over V.

    Examples
    --------
    >>> z = torch.log(torch.tensor([[0.9, 0.05, 0.05], [0.4, 0.35, 0.25]]))
    >>> torch.isfinite(select(z, Selection(3, "mass", 0.8)).values).sum(-1).tolist()
    [1, 3]
    """
    kept = top_k(logits, how.k)
    if how.by == "fixed":
        return kept
    probs = kept.probs
    if how.by == "mass":
        before = probs.cumsum(-1) - probs
        stays = before < how.amount
    else:
        log_probs = widened(logits) - kept.logsumexp[..., None]
        entropy = torch.special.entr(log_probs.exp()).sum(-1, keepdim=True)  # a logit of minus infinity adds 0
        number = (how.amount * entropy.exp()).ceil().clamp_min(1)
        stays = torch.arange(probs.shape[-1], device=probs.device) < number
    return TopK(kept.values.masked_fill(~stays, -torch.inf), kept.ids, kept.logsumexp)


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
    values, ids, logsumexp = _TopAndSum.apply(logits, size if k <= 0 else min(k, size))  # type: ignore[misc]
    return TopK(values, ids, logsumexp)


class _TopAndSum(torch.autograd.Function):
    """Largest k and log-sum-exp of every position, saving neither's intermediates.

    Written out because the plain operations make several passes over V, forward and backward: this halves the time
    of the losses on a CPU and keeps O(K) memory a position beyond the logits themselves.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        rows = logits.detach().reshape(-1, logits.shape[-1])
        values, ids = largest(rows, k)
        sums = torch.empty(len(rows), dtype=widened(rows[:0]).dtype, device=rows.device)
        for block in _blocks(rows):
            own = widened(rows[block])
            # one fused pass; the largest entry, whose log-probability is near 0, gives the sum back to the last digit
            top = own.log_softmax(-1).gather(1, ids[block, :1])
            sums[block] = widened(values[block, 0]) - top[:, 0]
        shape = logits.shape[:-1]
        values, ids, sums = values.reshape(*shape, k), ids.reshape(*shape, k), sums.reshape(shape)
        ctx.save_for_backward(logits, ids)
        ctx.mark_non_differentiable(ids)
        ctx.set_materialize_grads(False)
        return values, ids, sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_values: Tensor | None, _: None, for_sums: Tensor | None) -> tuple[Tensor, None]:
        logits, ids = ctx.saved_tensors
        rows = logits.reshape(-1, logits.shape[-1])
        if for_sums is None:
            found = torch.zeros_like(rows)
        else:
            found = torch.empty_like(rows)
            scale = for_sums.reshape(-1, 1)
            for block in _blocks(rows):
                found[block] = widened(rows[block]).softmax(-1).mul_(scale[block])
        if for_values is not None:
            found.scatter_add_(1, ids.reshape(len(rows), -1), for_values.reshape(len(rows), -1).to(found.dtype))
        return found.reshape(logits.shape), None


def _blocks(rows: Tensor) -> list[slice]:
    """Runs of rows small enough to stay in a processor's cache, or large ones on a GPU."""
    width = max(1, (2**20 if rows.device.type == "cpu" else 2**27) // max(rows.shape[-1], 1))
    return [slice(start, start + width) for start in range(0, len(rows), width)]


def largest(rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Largest k entries of every row and their places; on a CPU by way of the maxima of short stretches.

    Parameters
    ----------
    rows : Tensor (N, V)
        Numbers.
    k : int
        How many.

    Returns
    -------
    Tensor (N, k), Tensor (N, k)
        Values, largest first, and indices; among equal values any may be chosen.

    Notes
    -----
    The k largest entries lie in the k stretches of largest maximum, so only those are searched.
    """
    size, stretch = rows.shape[-1], 64
    count = size // stretch
    if rows.device.type != "cpu" or count < 4 * k or rows.dtype not in (torch.float32, torch.float64):
        found = rows.topk(k, dim=-1)
        return found.values, found.indices
    whole = rows[:, : count * stretch].unflatten(1, (count, stretch))
    chosen = whole.amax(-1).topk(k, dim=-1).indices
    places = (chosen[..., None] * stretch + torch.arange(stretch)).flatten(1)
    rest = torch.arange(count * stretch, size).expand(len(rows), -1)
    places = torch.cat([places, rest], 1)
    found = rows.gather(1, places).topk(k, dim=-1)
    return found.values, places.gather(1, found.indices)


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
