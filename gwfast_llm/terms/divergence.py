"""KL between a student and a target of which the largest probabilities are known, and the rest as one bucket or not.

Shapes: P positions, K kept tokens.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gwfast_llm.terms.part import Part, sum_items

Tail = Literal["bucket", "renormalise"]
Direction = Literal["forward", "reverse"]
LEAST = 1e-6  # mass of a bucket under a logarithm, at least
NEGLIGIBLE = 1e-9


class _LogRest(torch.autograd.Function):
    """Log of 1 - sum_k exp(x_k), at least `LEAST` under the logarithm, with its analytic gradient -p_k / rest."""

    @staticmethod
    def forward(ctx: Any, log_probs: Tensor, kept: Tensor) -> Tensor:
        probs = torch.where(kept, log_probs.exp(), torch.zeros_like(log_probs))
        rest = (1 - probs.sum(-1)).clamp_min(LEAST)
        ctx.save_for_backward(probs, rest)
        return rest.log()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, None]:
        probs, rest = ctx.saved_tensors
        return -(given / rest)[..., None] * probs, None


def log_rest(log_probs: Tensor, kept: Tensor) -> Tensor:
    """Log of the mass outside the kept tokens.

    Parameters
    ----------
    log_probs : Tensor (..., K)
        Log-probabilities.
    kept : Tensor (..., K) of bool
        Channels in use.

    Returns
    -------
    Tensor (...)
        At least log 1e-6; the gradient is that of the mass also there, so that a student that is too sure is pulled
        back.
    """
    return _LogRest.apply(log_probs, kept)  # type: ignore[no-any-return]


def divergence_part(
    log_probs: Tensor,
    target_probs: Tensor,
    target_tail: Tensor,
    mask: Tensor,
    weight: Tensor | None = None,
    tail: Tail = "bucket",
    direction: Direction = "forward",
) -> Part:
    r"""Kullback-Leibler divergence between target and student over the target's kept tokens.

    With q the target, p the student, Q and P their mass on the kept tokens, ``bucket`` is
    ``sum_k q_k log(q_k / p_k) + (1 - Q) log((1 - Q) / (1 - P))``, whose gradient in the student's logits is p_j - q_j
    inside and p_j (Q - P) / (1 - P) outside.  ``renormalise`` is ``sum_k q_k / Q log((q_k / Q) / (p_k / P))``, with
    gradient p_j / P - q_j / Q inside and 0 outside: what lies outside is not learnt.  ``reverse`` exchanges p and q.

    Parameters
    ----------
    log_probs : Tensor (..., P, K)
        Student's log-probabilities of the target's kept tokens.
    target_probs : Tensor (..., P, K)
        Target's probabilities; 0 for unused channels.
    target_tail : Tensor (..., P)
        Target mass outside the kept tokens.
    mask : Tensor (..., P) of bool
        Positions that count.
    weight : Tensor broadcastable to (..., P), optional
        Weight of each position in the sum.
    tail : {"bucket", "renormalise"}
        What becomes of the mass outside.
    direction : {"forward", "reverse"}
        KL from the target to the student, or back.

    Returns
    -------
    Part
        Nats, one item a position.  Masses of buckets are at least 1e-6 under a logarithm.
    """
    kept = target_probs > 0
    log_q = target_probs.clamp_min(1e-12).log()
    log_p = torch.where(kept, log_probs, torch.zeros_like(log_probs))
    if tail == "renormalise":
        log_q = log_q - torch.where(kept, target_probs, 0.0).sum(-1, keepdim=True).clamp_min(1e-12).log()
        own = torch.where(kept, log_p, torch.full_like(log_p, -1e9)).logsumexp(-1, keepdim=True)
        log_p = log_p - own
    gap = log_q - log_p
    value = log_q.exp() * gap if direction == "forward" else -log_p.exp() * gap
    found = torch.where(kept, value, torch.zeros_like(value)).sum(-1)
    if tail == "bucket":
        found = found + _bucket(log_rest(log_p, kept), target_tail, direction)
    return sum_items(found, mask, weight)


def _bucket(rest: Tensor, tail: Tensor, direction: Direction) -> Tensor:
    """The divergence's summand of the one cell for all tokens outside."""
    if direction == "forward":
        value = tail * (tail.clamp_min(1e-12).log() - rest)
        return torch.where(tail > NEGLIGIBLE, value, torch.zeros_like(value))
    return rest.exp() * (rest - tail.clamp_min(LEAST).log())
