"""Two losses for anybody's training loop, on plain logit tensors and masks; the trainer calls the same parts.

Shapes: B batch, L tokens, V vocabulary, K kept logits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gwfast_llm.errors import FusionError
from gwfast_llm.models.logits import Selection, TopK, largest, pack_rows, select
from gwfast_llm.terms.graph import Nodes, Weights
from gwfast_llm.terms.graph_objective import Feature, GraphOptions, gld_part
from gwfast_llm.terms.graph_rows import Distance
from gwfast_llm.terms.objective import uld_part


def uld_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    student_mask: Tensor,
    teacher_mask: Tensor,
    *,
    top_k: int = 10,
) -> Tensor:
    """Universal logit distillation: mean over positions of the L1 distance of sorted probabilities.

    ``L = (1/P) sum_t sum_{i <= K} |p_t(i) - q_t(i)|`` with p_t(i) the i-th largest probability at the t-th answer
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

    ``L = (1/B) sum_b sum_i |f_(i) - g_(i)|``, f the sorted row means of ``C = (1/L) sum_t h_t h_t'`` over answer
    positions.  The graphs are never formed.

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
    weights : {"softmax", "logits", "zscore"}
        Weight of a node at a position: softmax over the kept logits, the raw logit, or its z-score among the kept.
    feature : {"mean", "mean_std", "spectrum", "rows"}
        Row means as published, row means and row spreads, eigenvalues of the graph, or its whole rows, sorted and
        matched by a linear assignment.  `rows` and `spectrum` with ``distance="squared"``, over the squared number of
        nodes, are lower bounds of the squared GW distance; `rows` is at least that of the row means.
    distance : {"l1", "squared"}
        L1 as published, or squared.

    Returns
    -------
    Tensor ()
        In units of squared weights; not bounded for raw logits.

    Raises
    ------
    FusionError
        Naming the argument whose shape, type or value does not fit; for z-scores with row means, which are zero.

    Notes
    -----
    With softmax weights every position sums to one, so the row means are the mean token probabilities and the graph
    cancels out of ``feature="mean"``; use ``feature="mean_std"`` for a loss that sees the graph.
    The value bounds the Gromov-Wasserstein distance of the graphs from below, it does not approximate it.

    Cost: O(V) a position for the selection, O(LK + V log V) an example after it; `rows` takes O(N^3) with N = K, or
    the number of different kept tokens of both models.
    Source: InfiGFusion (arXiv 2505.13893); the description leaves the options above open.

    Examples
    --------
    >>> z = torch.randn(1, 4, 20, generator=torch.Generator().manual_seed(0)); m = torch.ones(1, 4, dtype=torch.bool)
    >>> gld_loss(z, z[..., torch.randperm(20, generator=torch.Generator().manual_seed(1))], m, m).item() < 1e-6
    True
    """
    _check_pair(student_logits, teacher_logits, student_mask, teacher_mask)
    options = GraphOptions(nodes, weights, feature, distance)
    s, s_real = answers_only(_without_sum(student_logits, top_k), student_mask)
    t, t_real = answers_only(_without_sum(teacher_logits, top_k), teacher_mask)
    sizes = (student_logits.shape[-1], teacher_logits.shape[-1])
    return gld_part(s, t, s_real, t_real, sizes, options).mean


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


def _without_sum(logits: Tensor, k: int) -> TopK:
    """Kept logits without their log-sum-exp, which graphs do not use and which costs as much as the selection."""
    size = logits.shape[-1]
    _, ids = largest(logits.detach().flatten(0, 1), size if k <= 0 else min(k, size))
    ids = ids.unflatten(0, logits.shape[:2])
    return TopK(logits.gather(-1, ids), ids, logits.detach()[..., 0])


def _kept_answers(logits: Tensor, mask: Tensor, k: int) -> tuple[TopK, Tensor]:
    return answers_only(select(logits, Selection(k)), mask)


def answers_only(kept: TopK, mask: Tensor) -> tuple[TopK, Tensor]:
    """Kept logits of the masked positions alone, moved to the front, with the mask of real ones."""
    values, real = pack_rows(kept.values, mask)
    ids, _ = pack_rows(kept.ids, mask)
    lse, _ = pack_rows(kept.logsumexp, mask)
    return TopK(values, ids, lse), real
