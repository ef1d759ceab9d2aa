"""The losses on co-activation graphs: graph-on-logits distillation, and the graphs compared in one vocabulary.

Shapes: B batch, L tokens, V vocabulary, K kept logits, P matched positions, N graph nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gwfast_llm.errors import FusionError
from gwfast_llm.models.logits import TopK
from gwfast_llm.terms.graph import NodeFeature, Nodes, Weights, node_features, node_weights
from gwfast_llm.terms.graph_rows import Distance, edges_of, rows_distance
from gwfast_llm.terms.objective import Part, sum_items, widen

Feature = NodeFeature | Literal["rows"]


@dataclass(frozen=True)
class GraphOptions:
    """What the published description of graph-on-logits distillation leaves open.

    Attributes
    ----------
    nodes : {"rank", "vocab"}
        Node i is the i-th largest logit, or a vocabulary entry.
    weights : {"logits", "softmax", "zscore"}
        Node weights at a position.
    feature : {"mean", "mean_std", "spectrum", "rows"}
        Row means of the graph as published, row means and row spreads, eigenvalues, or whole rows matched by one
        linear assignment (the third lower bound of GW).
    distance : {"l1", "squared"}
        Distance of the sorted features.
    scale : {"published", "source"}
        `published`: as it is.  `source`: divided by the same size of the source's own features, so that the value
        does not depend on the scale of the logits and its gradient is of the size of the cross-entropy's.

    Raises
    ------
    FusionError
        For an unknown value, and for z-scores with row means, which are identically zero.
    """

    nodes: Nodes = "rank"
    weights: Weights = "logits"
    feature: Feature = "mean"
    distance: Distance = "l1"
    scale: Literal["published", "source"] = "published"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("nodes", ("vocab", "rank")),
            ("weights", ("softmax", "logits", "zscore")),
            ("feature", ("mean", "mean_std", "spectrum", "rows")),
            ("distance", ("l1", "squared")),
            ("scale", ("published", "source")),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise FusionError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
        if self.weights == "zscore" and self.feature == "mean":
            raise FusionError(
                "weights='zscore' with feature='mean' is identically zero with zero gradient: the z-scores of a "
                "position sum to 0, hence so does every row of the graph; use feature='mean_std' or weights='logits'"
            )


def gld_part(
    student: TopK,
    source: TopK,
    student_mask: Tensor,
    source_mask: Tensor,
    vocab_sizes: tuple[int, int],
    options: GraphOptions,
    weight: Tensor | None = None,
) -> Part:
    """Distance of sorted node features of two co-activation graphs, sum_i |f_(i) - g_(i)|, or of their rows.

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
    pairs = (student, student_mask, vocab_sizes[0]), (source, source_mask, vocab_sizes[1])
    weighted = [node_weights(kept.values, mask, options.weights) for kept, mask, _ in pairs]
    counted = student_mask.any(1) & source_mask.any(1)
    value = student.values.new_zeros(len(student.values))
    size = torch.zeros_like(value)
    if options.feature == "rows":
        own, other = (
            [edges_of(h[b], kept.ids[b], mask[b].sum(), options.nodes) for b in range(len(h))]
            for h, (kept, mask, _) in zip(weighted, pairs)
        )
        number = max(vocab_sizes if options.nodes == "vocab" else [h.shape[-1] for h in weighted])
        value = torch.stack([rows_distance(c, d, number, options.distance) for c, d in zip(own, other)])
        power = 1 if options.distance == "l1" else 2
        size = torch.stack([d.detach().abs().pow(power).sum() for d in other])
        if options.scale == "source":
            value = value / size.clamp_min(1e-9)
        return sum_items(value, counted, weight)
    both = [
        node_features(h, kept.ids, mask, nodes=options.nodes, feature=options.feature, vocab_size=number)
        for h, (kept, mask, number) in zip(weighted, pairs)
    ]
    for f, g in zip(*both):
        width = max(f.shape[-1], g.shape[-1])
        gap = widen(f, width).sort(-1, descending=True)[0] - widen(g, width).sort(-1, descending=True)[0]
        value = value + (gap.abs() if options.distance == "l1" else gap.pow(2)).sum(-1)
        size = size + (g.abs() if options.distance == "l1" else g.pow(2)).sum(-1).detach()
    if options.scale == "source":
        value = value / size.clamp_min(1e-9)
    return sum_items(value, counted, weight)


def gld_aligned_part(
    probs: Tensor,
    target_ids: Tensor,
    target_probs: Tensor,
    mask: Tensor,
    weight: Tensor | None = None,
    *,
    window: int = 0,
    relative: bool = True,
) -> Part:
    """Co-activation graphs in one vocabulary compared edge by edge: the upper end of the GW interval.

    U = ||C_s - C_t||_F^2 / ||C_t||_F^2 with C = (1/P) sum_t h_t h_t', the objective of the coupling that takes every
    token to itself.  With H the (P, V) factors, ||C_s - C_t||^2 = (||HH'||^2 - 2 ||HQ'||^2 + ||QQ'||^2) / P^2, so no
    V x V matrix appears.

    Parameters
    ----------
    probs : Tensor (B, P, V)
        Student's probabilities at matched positions.
    target_ids, target_probs : Tensor (B, P, K)
        Source's distribution in the student's vocabulary, zeros for unused channels.
    mask : Tensor (B, P) of bool
        Positions that count.
    weight : Tensor (B,), optional
        Weight of each example.
    window : int
        Positions of one graph, in order; 0 makes one graph an answer, 1 compares single positions.
    relative : bool
        Divide by ||C_t||^2.  Without, the unit is that of GW times V^2 (uniform node weights).

    Returns
    -------
    Part
        One item a position: every graph counts with its number of positions.

    Notes
    -----
    GW <= whole batch <= answers <= windows <= positions <= 4 KL (unnormalised, mean over positions): the smaller the
    window, the more this is ordinary distillation position by position.

    Cost: O(P^2 V) time and O(P V) memory an answer.
    """
    total = probs.new_zeros(())
    for b in range(len(probs)):
        p, ids, q = probs[b][mask[b]], target_ids[b][mask[b]], target_probs[b][mask[b]]
        if not len(p):
            continue
        used, column = ids.unique(return_inverse=True)
        target = p.new_zeros(len(q), len(used)).scatter_add(1, column.reshape(q.shape), q.to(p.dtype))
        step = len(p) if window <= 0 else window
        own = probs.new_zeros(())
        for start in range(0, len(p), step):
            s, t = p[start : start + step], target[start : start + step]
            cross = (s[:, used] @ t.T).pow(2).sum()
            energy = (t @ t.T).pow(2).sum()
            value = ((s @ s.T).pow(2).sum() - 2 * cross + energy) / len(s) ** 2
            if relative:
                value = value / (energy / len(s) ** 2).clamp_min(1e-6)
            own = own + value * len(s)
        total = total + (own if weight is None else own * weight[b])
    return Part(total, mask.sum().to(probs.dtype))
