"""Top-k logits with their log-sum-exp: what the losses need of a model's output.

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
    none = torch.empty(*logits.shape[:-1], 0, dtype=torch.long, device=logits.device)
    return read(logits, none, how)[1]


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
    return select(logits, Selection(k))


def read(logits: Tensor, asked: Tensor, how: Selection | None, ids: Tensor | None = None) -> tuple[Tensor, TopK]:
    """Read from logits all that the losses need, in one pass forward and one backward.

    Parameters
    ----------
    logits : Tensor (..., V)
        Raw logits.
    asked : Tensor (..., G)
        Tokens whose logits are wanted.
    how : Selection or None
        Number kept; without it none are.
    ids : Tensor (..., K), optional
        Tokens that were selected on the same logits before, where they are computed once more.

    Returns
    -------
    Tensor (..., G)
        Logits of the asked tokens.
    TopK
        The kept ones, and the log-sum-exp.
    """
    size = logits.shape[-1]
    k = 0 if how is None else size if how.k <= 0 else min(how.k, size)
    picked, values, places, logsumexp = _Read.apply(logits, asked, k, ids)  # type: ignore[misc]
    kept = TopK(values, places, logsumexp)
    if how is None or how.by == "fixed":
        return picked, kept
    with torch.no_grad():
        probs = kept.probs
        if how.by == "mass":
            stays = probs.cumsum(-1) - probs < how.amount
        else:
            log_probs = widened(logits) - logsumexp[..., None]
            entropy = torch.special.entr(log_probs.exp()).sum(-1, keepdim=True)  # a logit of minus infinity adds 0
            number = (how.amount * entropy.exp()).ceil().clamp_min(1)
            stays = torch.arange(probs.shape[-1], device=probs.device) < number
    return picked, TopK(values.masked_fill(~stays, -torch.inf), places, logsumexp)


class _Read(torch.autograd.Function):
    """Asked logits, the largest k and the log-sum-exp of every position, saving no intermediates.

    Written out because the plain operations make several passes over V, forward and backward: this halves the time
    of the losses on a CPU and keeps O(K + G) memory a position beyond the logits themselves.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, asked: Tensor, k: int, ids: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        shape, rows = logits.shape[:-1], logits.detach().reshape(-1, logits.shape[-1])
        wanted = asked.reshape(len(rows), asked.shape[-1])
        if ids is None:
            values, ids = largest(rows, k) if k else (rows[:, :0], wanted[:, :0])
        else:
            ids = ids.reshape(len(rows), ids.shape[-1])
            values = rows.gather(1, ids)
        sums = torch.empty(len(rows), dtype=widened(rows[:0]).dtype, device=rows.device)
        for block in _blocks(rows):
            own = widened(rows[block])
            if k:
                # one fused pass; the largest, of log-probability near 0, gives the sum back to the last digit
                top = own.log_softmax(-1).gather(1, ids[block, :1])
                sums[block] = widened(values[block, 0]) - top[:, 0]
            else:
                sums[block] = own.logsumexp(-1)
        ctx.save_for_backward(logits, wanted, ids)
        picked = rows.gather(1, wanted).reshape(asked.shape)
        values, ids, sums = values.reshape(*shape, k), ids.reshape(*shape, k), sums.reshape(shape)
        ctx.mark_non_differentiable(ids)
        ctx.set_materialize_grads(False)
        return picked, values, ids, sums

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, for_picked: Tensor | None, for_values: Tensor | None, _: None, for_sums: Tensor | None
    ) -> tuple[Tensor, None, None, None]:
        logits, wanted, ids = ctx.saved_tensors
        rows = logits.reshape(-1, logits.shape[-1])
        found = torch.empty_like(rows)
        for block in _blocks(rows):
            if for_sums is None:
                own = torch.zeros_like(widened(rows[block]))
            else:
                own = widened(rows[block]).softmax(-1).mul_(for_sums.reshape(-1, 1)[block])
            for places, given in ((wanted, for_picked), (ids, for_values)):
                if given is not None:
                    own.scatter_add_(1, places[block], given.reshape(places.shape)[block].to(own.dtype))
            found[block] = own  # added up in float32, rounded once
        return found.reshape(logits.shape), None, None, None


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
