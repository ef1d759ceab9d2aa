"""The losses by name: pure functions of logits, each a sum over items with the number of items it is a mean of.

Shapes: B batch, L tokens, V vocabulary, K kept logits, P matched positions, N graph nodes.  Every part keeps its sum
and its count apart, so that a mean over an accumulated or distributed batch is the mean over all its items and not a
mean of means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gwfast_llm.errors import FusionError
from gwfast_llm.graph import Feature, Nodes, Weights, node_features, node_weights
from gwfast_llm.logits import TopK, pack_rows, top_k, widened

Distance = Literal["l1", "squared"]


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
    return _sum(value, mask, weight)


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
    value = (_widen(student, width) - _widen(source, width)).abs().sum(-1)
    return _sum(value, mask, weight)


@dataclass(frozen=True)
class GraphOptions:
    """What the published description of graph-on-logits distillation leaves open.

    Attributes
    ----------
    nodes : {"rank", "vocab"}
        Node i is the i-th largest logit, or a vocabulary entry.
    weights : {"logits", "softmax"}
        Node weights at a position.
    feature : {"mean", "mean_std"}
        Row means of the graph as published, or row means and row spreads.
    distance : {"l1", "squared"}
        Distance of the sorted features.
    """

    nodes: Nodes = "rank"
    weights: Weights = "logits"
    feature: Feature = "mean"
    distance: Distance = "l1"


def gld_part(
    student: TopK,
    source: TopK,
    student_mask: Tensor,
    source_mask: Tensor,
    vocab_sizes: tuple[int, int],
    options: GraphOptions,
    weight: Tensor | None = None,
) -> Part:
    """Distance of sorted node features of two co-activation graphs, sum_i |f_(i) - g_(i)|.

    Parameters
    ----------
    student, source : TopK of (B, L, K), (B, L', K')
        Kept logits of both models; positions need not correspond.
    student_mask, source_mask : Tensor (B, L), (B, L') of bool
        Answer positions.
    vocab_sizes : (int, int)
        V of both models, used for vocabulary nodes.
    options : GraphOptions
        Nodes, weights, feature, distance.
    weight : Tensor (B,), optional
        Weight of each example in the sum.

    Returns
    -------
    Part
        In units of squared weights (logits or probabilities), one item an example.
    """
    both = []
    for kept, mask, size in zip((student, source), (student_mask, source_mask), vocab_sizes):
        h = node_weights(kept.values, mask, options.weights)
        both.append(node_features(h, kept.ids, mask, nodes=options.nodes, feature=options.feature, vocab_size=size))
    value = student.values.new_zeros(len(student.values))
    for f, g in zip(*both):
        width = max(f.shape[-1], g.shape[-1])
        gap = _widen(f, width).sort(-1, descending=True)[0] - _widen(g, width).sort(-1, descending=True)[0]
        value = value + (gap.abs() if options.distance == "l1" else gap.pow(2)).sum(-1)
    return _sum(value, student_mask.any(1) & source_mask.any(1), weight)


def _widen(values: Tensor, width: int) -> Tensor:
    return F.pad(values, (0, width - values.shape[-1]))


def _sum(value: Tensor, mask: Tensor, weight: Tensor | None) -> Part:
    value = torch.where(mask, value, torch.zeros_like(value))
    if weight is not None:
        value = value * weight
    return Part(value.sum(), mask.sum().to(value.dtype))


def _check_pair(student_logits: Tensor, teacher_logits: Tensor, student_mask: Tensor, teacher_mask: Tensor) -> None:
    for name, logits, mask in (
        ("student", student_logits, student_mask),
        ("teacher", teacher_logits, teacher_mask),
    ):
        if logits.dim() != 3:
            raise FusionError(f"{name}_logits has shape {tuple(logits.shape)}; expected (B, L, V)")
        if mask.shape != logits.shape[:2]:
            raise FusionError(
                f"{name}_mask has shape {tuple(mask.shape)}; expected {tuple(logits.shape[:2])}, (B, L) of "
                f"{name}_logits"
            )
        if mask.dtype != torch.bool:
            raise FusionError(f"{name}_mask has type {mask.dtype}; expected torch.bool: pass mask.bool()")
        if not mask.any():
            raise FusionError(f"{name}_mask excludes every position; at least one must be an answer position")
    if len(student_logits) != len(teacher_logits):
        raise FusionError(
            f"student_logits has {len(student_logits)} examples, teacher_logits {len(teacher_logits)}; "
            "the same examples are needed in the same order"
        )


def uld_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    student_mask: Tensor,
    teacher_mask: Tensor,
    *,
    top_k: int = 10,
) -> Tensor:
    """Universal logit distillation: mean over positions of the L1 distance of sorted probabilities.

    L = (1/P) sum_t sum_{i <= K} |p_t(i) - q_t(i)|, with p_t(i) the i-th largest probability at the t-th answer
    position.  The t-th answer position of one model is compared with the t-th of the other, up to the shorter answer.

    Parameters
    ----------
    student_logits : Tensor (B, L, V)
        Raw logits, differentiable.
    teacher_logits : Tensor (B, L', V')
        Raw logits; L' and V' may differ from the student's.
    student_mask, teacher_mask : Tensor (B, L), (B, L') of bool
        True where the *next* token is an answer token.
    top_k : int
        Sorted probabilities kept, chosen before anything is sorted; 0 keeps all.

    Returns
    -------
    Tensor ()
        Between 0 and 2.

    Raises
    ------
    FusionError
        Naming the argument whose shape or type does not fit.

    Notes
    -----
    Cost: O(V) a position for the selection, O(K) memory a position beyond the logits.  The probabilities are those
    of the whole vocabulary (log-sum-exp over V), not renormalised over the kept ones.
    Source: Boizard et al., Towards Cross-Tokenizer Distillation, 2024.

    Examples
    --------
    >>> s = torch.log(torch.tensor([[[0.6, 0.4]]])); t = torch.log(torch.tensor([[[0.1, 0.0, 0.9]]]).clamp_min(1e-9))
    >>> m = torch.tensor([[True]])
    >>> round(uld_loss(s, t, m, m).item(), 4)  # |0.6 - 0.9| + |0.4 - 0.1|
    0.6
    """
    _check_pair(student_logits, teacher_logits, student_mask, teacher_mask)
    s, s_real = _kept_answers(student_logits, student_mask, top_k)
    t, t_real = _kept_answers(teacher_logits, teacher_mask, top_k)
    width = min(s_real.shape[1], t_real.shape[1])
    return uld_part(s.probs[:, :width], t.probs[:, :width], s_real[:, :width] & t_real[:, :width]).mean


def gld_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    student_mask: Tensor,
    teacher_mask: Tensor,
    *,
    top_k: int = 10,
    nodes: Nodes = "vocab",
    weights: Weights = "softmax",
    feature: Feature = "mean",
    distance: Distance = "l1",
) -> Tensor:
    """Graph-on-logits distillation: distance of sorted node features of two co-activation graphs.

    L = (1/B) sum_b sum_i |f_(i) - g_(i)|, f the row means of C = (1/L) sum_t h_t h_t' over answer positions, sorted.
    The graphs are never formed.

    Parameters
    ----------
    student_logits : Tensor (B, L, V)
        Raw logits, differentiable.
    teacher_logits : Tensor (B, L', V')
        Raw logits; L' and V' may differ from the student's.
    student_mask, teacher_mask : Tensor (B, L), (B, L') of bool
        True where the *next* token is an answer token.
    top_k : int
        Logits kept at each position; 0 keeps all.
    nodes : {"vocab", "rank"}
        A node is a vocabulary entry, or a rank among the kept logits.
    weights : {"softmax", "logits"}
        Weight of a node at a position: softmax over the kept logits, or the raw logit.
    feature : {"mean", "mean_std"}
        Row means as published, or row means and row spreads.
    distance : {"l1", "squared"}
        L1 as published, or squared.

    Returns
    -------
    Tensor ()
        In units of squared weights; not bounded for raw logits.

    Raises
    ------
    FusionError
        Naming the argument whose shape, type or value does not fit.

    Notes
    -----
    With softmax weights every position sums to one, so the row means are the mean token probabilities and the graph
    cancels out of ``feature="mean"``; use ``feature="mean_std"`` for a loss that sees the graph.
    The value bounds the Gromov-Wasserstein distance of the graphs from below, it does not approximate it.

    Cost: O(V) a position for the selection, O(LK + V log V) an example after it.
    Source: InfiGFusion (arXiv 2505.13893); the description leaves the options above open.

    Examples
    --------
    >>> z = torch.randn(1, 4, 20, generator=torch.Generator().manual_seed(0)); m = torch.ones(1, 4, dtype=torch.bool)
    >>> gld_loss(z, z[..., torch.randperm(20, generator=torch.Generator().manual_seed(1))], m, m).item() < 1e-6
    True
    """
    _check_pair(student_logits, teacher_logits, student_mask, teacher_mask)
    for name, value, allowed in (
        ("nodes", nodes, ("vocab", "rank")),
        ("weights", weights, ("softmax", "logits")),
        ("feature", feature, ("mean", "mean_std")),
        ("distance", distance, ("l1", "squared")),
    ):
        if value not in allowed:
            raise FusionError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
    s, s_real = _kept_answers(student_logits, student_mask, top_k)
    t, t_real = _kept_answers(teacher_logits, teacher_mask, top_k)
    sizes = (student_logits.shape[-1], teacher_logits.shape[-1])
    return gld_part(s, t, s_real, t_real, sizes, GraphOptions(nodes, weights, feature, distance)).mean


def _kept_answers(logits: Tensor, mask: Tensor, k: int) -> tuple[TopK, Tensor]:
    kept = top_k(logits, k)
    values, real = pack_rows(kept.values, mask)
    ids, _ = pack_rows(kept.ids, mask)
    lse, _ = pack_rows(kept.logsumexp, mask)
    return TopK(values, ids, lse), real
