"""The losses position by position: pure functions, each a sum over items with the number of items it is a mean of.

Shapes: B batch, L tokens, V vocabulary, K kept logits, P matched positions.  Every part keeps its sum and its count
apart, so that a mean over an accumulated or distributed batch is the mean over all its items and not a mean of means.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.models.logits import Selection, TopK, widened


@dataclass(frozen=True)
class Part:
    """A loss as the sum over its items and their number; the loss is ``total / count``.

    Attributes
    ----------
    total : Tensor ()
        Sum over items, in nats or as the loss says; differentiable.
    count : Tensor ()
        Number of items (weighted), not differentiable.
    """

    total: Tensor
    count: Tensor

    @property
    def mean(self) -> Tensor:
        """The loss; 0 where there are no items."""
        return self.total / self.count.clamp_min(1e-9)


def sft_part(logits: Tensor, labels: Tensor) -> Part:
    """Cross-entropy of the answer tokens, L = -sum_t log p(y_t) over t with a label.

    Parameters
    ----------
    logits : Tensor (B, L, V)
        Logits; position t predicts token t + 1.
    labels : Tensor (B, L)
        Token ids, -100 where the token is not part of the answer.

    Returns
    -------
    Part
        Nats, one item a token.
    """
    target = labels[:, 1:]
    total = F.cross_entropy(widened(logits[:, :-1].flatten(0, 1)), target.flatten(), ignore_index=-100, reduction="sum")
    return Part(total, (target != -100).sum().to(total.dtype))


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


def uld_part(student: Tensor, source: Tensor, mask: Tensor, weight: Tensor | None = None) -> Part:
    """Distance of sorted probabilities at matched positions, sum_i |p_(i) - q_(i)|.

    Parameters
    ----------
    student, source : Tensor (..., P, K), (..., P, K')
        True probabilities of the kept tokens, largest first; the shorter is filled up with zeros.
    mask : Tensor (..., P) of bool
        Positions that count.
    weight : Tensor broadcastable to (..., P), optional
        Weight of each position in the sum.

    Returns
    -------
    Part
        Between 0 and 2, one item a position.
    """
    width = max(student.shape[-1], source.shape[-1])
    value = (widen(student, width) - widen(source, width)).abs().sum(-1)
    return sum_items(value, mask, weight)


def hellinger_part(
    log_probs: Tensor, target_probs: Tensor, target_tail: Tensor, mask: Tensor, weight: Tensor | None = None
) -> Part:
    """Squared Hellinger distance at matched positions, sum_v (sqrt p_v - sqrt q_v)^2 = 2 - 2 sum_v sqrt(p_v q_v).

    Parameters
    ----------
    log_probs, target_probs, target_tail, mask, weight
        As in `kl_part`; what lies outside the kept tokens counts as one cell.

    Returns
    -------
    Part
        Between 0 and 2, one item a position.
    """
    kept = target_probs > 0
    p = torch.where(kept, log_probs, torch.zeros_like(log_probs)).exp() * kept
    overlap = (_root(p) * target_probs.sqrt()).sum(-1)
    rest = (1 - p.sum(-1)).clamp_min(0.0)
    overlap = overlap + _root(rest) * target_tail.clamp_min(0.0).sqrt()
    return sum_items(2 - 2 * overlap, mask, weight)


def hybrid_part(
    student: TopK,
    log_probs: Tensor,
    shared: Tensor,
    source_probs: Tensor,
    student_shared: Tensor,
    mask: Tensor,
    weight: Tensor | None = None,
) -> Part:
    """KL on tokens that both vocabularies spell alike, sorted distance on the others.

    Parameters
    ----------
    student : TopK of (..., P, K)
        Student's kept logits at matched positions.
    log_probs : Tensor (..., P, K')
        Student's log-probabilities of the tokens that spell the source's kept tokens; anything where not `shared`.
    shared : Tensor (..., P, K') of bool
        Which of the source's kept tokens the student's vocabulary has.
    source_probs : Tensor (..., P, K')
        Source's probabilities.
    student_shared : Tensor (..., P, K) of bool
        Which of the student's kept tokens the source's vocabulary has.
    mask : Tensor (..., P) of bool
        Positions that count.
    weight : Tensor broadcastable to (..., P), optional
        Weight of each position.

    Returns
    -------
    Part
        One item a position.
    """
    q = torch.where(shared, source_probs, torch.zeros_like(source_probs))
    alike = torch.where(q > 0, q * (q.clamp_min(1e-12).log() - log_probs), torch.zeros_like(q)).sum(-1)
    own = torch.where(student_shared, torch.zeros_like(student.probs), student.probs)
    other = torch.where(shared, torch.zeros_like(source_probs), source_probs)
    width = max(own.shape[-1], other.shape[-1])
    own = widen(own, width).sort(-1, descending=True)[0]
    other = widen(other, width).sort(-1, descending=True)[0]
    return sum_items(alike + (own - other).abs().sum(-1), mask, weight)


def _root(x: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0 and not infinite."""
    positive = x > 1e-12
    return torch.where(positive, torch.where(positive, x, torch.ones_like(x)).sqrt(), torch.zeros_like(x))


def widen(values: Tensor, width: int) -> Tensor:
    """Fill the last axis up with zeros to `width`."""
    return F.pad(values, (0, width - values.shape[-1]))


def sum_items(value: Tensor, mask: Tensor, weight: Tensor | None) -> Part:
    """Sum the items that count, with their number."""
    value = torch.where(mask, value, torch.zeros_like(value))
    if weight is not None:
        value = value * weight
    return Part(value.sum(), mask.sum().to(value.dtype))


CARRIED = ("kl", "path", "gld_aligned", "hellinger")  # parts that use targets carried along the text


def selection(objective: ObjectiveConfig) -> Selection:
    """How many logits ULD, GLD and hybrid keep."""
    return Selection(objective.top_k, objective.top_by, objective.top_amount)
