"""``gld``: graph-on-logits distillation, the distance of sorted node features of two co-activation graphs.

Shapes: B batch, S source slots, L tokens, T source answer tokens, V vocabulary, K kept logits, N graph nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.models.logits import Selection, TopK, largest
from gwfast_llm.system.errors import FusionError
from gwfast_llm.terms.batch import Batch, stacked
from gwfast_llm.terms.graph import NodeFeature, Nodes, Weights, node_features, node_weights
from gwfast_llm.terms.graph_rows import Distance, edges_of, rows_distance
from gwfast_llm.terms.kept import answers_only, check_pair
from gwfast_llm.terms.part import Part, sum_items, widen
from gwfast_llm.terms.term import Answer, Needs, Student, Term, kept_by
from gwfast_llm.text.tensors import Tensors

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
    check_pair(student_logits, teacher_logits, student_mask, teacher_mask)
    options = GraphOptions(nodes, weights, feature, distance)
    s, s_real = answers_only(_without_sum(student_logits, top_k), student_mask)
    t, t_real = answers_only(_without_sum(teacher_logits, top_k), teacher_mask)
    sizes = (student_logits.shape[-1], teacher_logits.shape[-1])
    return gld_part(s, t, s_real, t_real, sizes, options).mean


def _without_sum(logits: Tensor, k: int) -> TopK:
    """Kept logits without their log-sum-exp, which graphs do not use and which costs as much as the selection."""
    size = logits.shape[-1]
    _, ids = largest(logits.detach().flatten(0, 1), size if k <= 0 else min(k, size))
    ids = ids.unflatten(0, logits.shape[:2])
    return TopK(logits.gather(-1, ids), ids, logits.detach()[..., 0])


@dataclass(frozen=True)
class SourceLogits(Tensors):
    """Kept logits of the sources on whole answers.

    Attributes
    ----------
    values, ids : Tensor (B, S, T, K)
        Logits, minus infinity for dropped channels, and their tokens.
    mask : Tensor (B, S, T) of bool
        Which positions are real.
    """

    values: Tensor
    ids: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Gld(Term):
    """Sorted node features of the graphs of pivot and source.

    Attributes
    ----------
    options : GraphOptions
        Nodes, weights, feature, distance, scale.
    kept : Selection
        Logits kept of a position.
    """

    options: GraphOptions = field(default_factory=GraphOptions)
    kept: Selection = field(default_factory=Selection)

    name: ClassVar[str] = "gld"
    needs: ClassVar[Needs] = Needs(kept=True)
    reference: ClassVar[str] = "InfiGFusion, arXiv 2505.13893"
    remedy: ClassVar[str] = "use --objective.gld_scale source"

    @classmethod
    def of(cls, objective: ObjectiveConfig) -> Self:
        """Make the term of a configuration."""
        options = GraphOptions(
            objective.gld_nodes,
            objective.gld_weights,
            objective.gld_feature,
            objective.gld_distance,
            objective.gld_scale,
        )
        return cls(options, kept_by(objective))

    @property
    def scaled(self) -> bool:
        """Whether the distance is in units of the source's features."""
        return self.options.scale == "source"

    def collate(self, answers: Sequence[Sequence[Answer]]) -> SourceLogits:
        """Stack the source's kept logits of whole answers."""
        return SourceLogits(
            stacked([[a.kept.values for a in row] for row in answers], fill=-torch.inf),
            stacked([[a.kept.ids for a in row] for row in answers]),
            stacked([[torch.ones(len(a.item.signal.gold), dtype=torch.bool) for a in row] for row in answers]),
        )

    def count(self, batch: Batch, slot: int) -> Tensor:
        """Count the answers."""
        return self.own(batch).mask[:, slot].any(1).sum()

    def part(self, student: Student, batch: Batch, slot: int) -> Part:
        """Compare the graphs of every answer."""
        own, own_mask = answers_only(student.kept(self.kept), batch.predicts)
        its: SourceLogits = self.own(batch)
        values, ids = its.values[:, slot], its.ids[:, slot]
        source = TopK(values, ids, values.new_zeros(values.shape[:2]))
        # vocabulary nodes without mass have feature 0 in either model, so the largest id in use is enough
        sizes = (int(own.ids.max()) + 1, int(ids.max()) + 1)
        if self.options.feature == "rows":
            # a node of weight 0 may be the best match of another; more of them match one another and add 0
            sizes = (sum(sizes), sum(sizes))
        return gld_part(own, source, own_mask, its.mask[:, slot], sizes, self.options, batch.weight(slot))
