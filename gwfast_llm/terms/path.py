"""``path``: Kullback-Leibler divergence after carrying the source into the pivot's vocabulary along the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gwfast_llm.terms.carried import CarriedTerm
from gwfast_llm.terms.part import Part, sum_items


def kl_part(
    log_probs: Tensor, target_probs: Tensor, target_tail: Tensor, mask: Tensor, weight: Tensor | None = None
) -> Part:
    """Kullback-Leibler divergence of kept target mass plus one cell for the rest.

    KL = sum_k q_k (log q_k - log p_k) + r (log r - log(1 - sum_k p_k)), with r = 1 - sum_k q_k the target's tail.

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

    Returns
    -------
    Part
        Nats, one item a position.
    """
    q = target_probs
    kept = torch.where(q > 0, q * (q.clamp_min(1e-12).log() - log_probs), torch.zeros_like(q)).sum(-1)
    rest = torch.where(q > 0, log_probs.exp(), torch.zeros_like(q)).sum(-1)
    tail = target_tail * (target_tail.clamp_min(1e-12).log() - torch.log1p(-rest.clamp_max(1 - 1e-6)))
    value = kept + torch.where(target_tail > 1e-9, tail, torch.zeros_like(tail))
    return sum_items(value, mask, weight)


@dataclass(frozen=True)
class Path(CarriedTerm):
    """KL from the carried distribution of a source to the pivot's, for any two tokenizers."""

    name: ClassVar[str] = "path"
    loss = staticmethod(kl_part)
