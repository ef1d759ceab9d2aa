"""``path``: Kullback-Leibler divergence after carrying the source into the pivot's vocabulary along the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gwfast_llm.terms.carried import DivergenceTerm
from gwfast_llm.terms.divergence import divergence_part
from gwfast_llm.terms.part import Part


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
    return divergence_part(log_probs, target_probs, target_tail, mask, weight)


@dataclass(frozen=True)
class Path(DivergenceTerm):
    """KL from the carried distribution of a source to the pivot's, for any two tokenizers."""

    name: ClassVar[str] = "path"
