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
from gwfast_llm.models.logits import Selection, TopK, largest, select
from gwfast_llm.system.errors import FusionError
from gwfast_llm.terms.batch import Batch, stacked
from gwfast_llm.terms.graph import NodeFeature, Nodes, Weights, node_features, node_weights
from gwfast_llm.terms.graph_rows import Distance, edges_of, rows_distance
from gwfast_llm.terms.kept import at_positions, check_pair
from gwfast_llm.terms.part import Part, sum_items, widen
from gwfast_llm.terms.term import Answer, Needs, Student, Term, kept_by
from gwfast_llm.text.tensors import Tensors

Feature = NodeFeature | Literal["rows"]
Scale = Literal["source", "published"]


@dataclass(frozen=True)
class GraphOptions:
    """What the published description of graph-on-logits distillation leaves open, and what makes it train.

    The published loss, on raw logits, changes with a constant that is added to every logit, which changes no
    probability; on the logits of real models its gradient is hundreds of times as long as the cross-entropy's.  By
    default the constant is fixed (log-probabilities) and the unit is the size of the source's graph.
    `GraphOptions.raw` keeps the paper's letter.

    Attributes
    ----------
    nodes : {"rank", "vocab"}
        Node i is the i-th largest logit, or a vocabulary entry.
    weights : {"log_probs", "logits", "softmax", "zscore"}
        Node weights at a position; see `gwfast_llm.terms.graph.node_weights`.
    feature : {"mean", "mean_std", "spectrum", "rows"}
        Row means of the graph as published, row means and row spreads, eigenvalues, or whole rows matched by one
        linear assignment (the third lower bound of GW).
    distance : {"l1", "squared"}
        Distance of the sorted features.
    scale : {"source", "published"}
        `source`: divided by the sum of the source's own features, each to the power of the distance, so that a graph
        without edges is at 1.  `published`: as it is.

    Raises
    ------
    FusionError
        For an unknown value, and for z-scores with row means, which are identically zero.
    """

    nodes: Nodes = "rank"
    weights: Weights = "log_probs"
    feature: Feature = "mean"
    distance: Distance = "l1"
    scale: Scale = "source"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("nodes", ("vocab", "rank")),
            ("weights", ("log_probs", "logits", "softmax", "zscore")),
            ("feature", ("mean", "mean_std", "spectrum", "rows")),
            ("distance", ("l1", "squared")),
            ("scale", ("source", "published")),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise FusionError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
        if self.weights == "zscore" and self.feature == "mean":
            raise FusionError(
                "weights='zscore' with feature='mean' is identically zero with zero gradient: the z-scores of a "
                "position sum to 0, hence so does every row of the graph; use feature='mean_std' or weights='log_probs'"
            )

    @classmethod
    def raw(cls, nodes: Nodes = "rank", feature: Feature = "mean", distance: Distance = "l1") -> Self:
        """The paper's letter: raw logits, no unit."""
        return cls(nodes, "logits", feature, distance, "published")


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
        One item an example; without unit for ``scale="source"``, else in units of squared weights.
    """
    pairs = (student, student_mask, vocab_sizes[0]), (source, source_mask, vocab_sizes[1])
    weighted = [node_weights(kept, mask, options.weights) for kept, mask, _ in pairs]
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
    nodes: Nodes = "rank",
    weights: Weights = "log_probs",
    feature: Feature = "mean",
    distance: Distance = "l1",
    scale: Scale = "source",
) -> Tensor:
    """Graph-on-logits distillation: distance of sorted node features of two co-activation graphs.

    ``L = (1/B) sum_b sum_i |f_(i) - g_(i)| / sum_i |g_(i)|``, f and g the sorted row means of
    ``C = (1/L) sum_t h_t h_t'`` over the answer positions of student and teacher, h_t the log-probabilities of the
    kept tokens.  The graphs are never formed.  The defaults are those of the trainer.

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
    nodes : {"rank", "vocab"}
        A node is a rank among the kept logits, or a vocabulary entry.
    weights : {"log_probs", "logits", "softmax", "zscore"}
        Weight of a node at a position: its log-probability, the raw logit, the softmax over the kept logits, or the
        z-score among them.  Only raw logits change with a constant that is added to every logit.
    feature : {"mean", "mean_std", "spectrum", "rows"}
        Row means as published, row means and row spreads, eigenvalues of the graph, or its whole rows, sorted and
        matched by a linear assignment.  `rows` and `spectrum` with ``distance="squared"``, over the squared number of
        nodes, are lower bounds of the squared GW distance; `rows` is at least that of the row means.
    distance : {"l1", "squared"}
        L1 as published, or squared.
    scale : {"source", "published"}
        In units of the teacher's graph, or as published; the paper's letter is ``weights="logits"`` with
        ``scale="published"``.

    Returns
    -------
    Tensor ()
        Without unit; with ``scale="published"`` in units of squared weights, not bounded for raw logits.

    Raises
    ------
    FusionError
        Naming the argument whose shape, type or value does not fit; for z-scores with row means, which are zero.

    Notes
    -----
    With softmax weights every position sums to one, so the row means are the mean token probabilities and the graph
    cancels out of ``feature="mean"``; use ``feature="mean_std"`` for a loss that sees the graph.
    With ``scale="published"`` the value bounds the Gromov-Wasserstein distance of the graphs from below, it does not
    approximate it.

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
    options = GraphOptions(nodes, weights, feature, distance, scale)
    keep = _with_sum if weights == "log_probs" else _without_sum
    s, t = keep(student_logits, top_k), keep(teacher_logits, top_k)
    sizes = (student_logits.shape[-1], teacher_logits.shape[-1])
    return gld_part(s, t, student_mask, teacher_mask, sizes, options).mean


def _with_sum(logits: Tensor, k: int) -> TopK:
    return select(logits, Selection(k))


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
    logsumexp : Tensor (B, S, T)
        Log-sum-exp of all logits of a position.
    vocabulary : int
        More than the largest token in use.
    """

    values: Tensor
    ids: Tensor
    mask: Tensor
    logsumexp: Tensor
    vocabulary: int


@dataclass(frozen=True)
class Gld(Term):
    """Sorted node features of the graphs of pivot and source.

    Attributes
    ----------
    options : GraphOptions
        Nodes, weights, feature, distance, scale.
    kept : Selection
        Logits kept of a position.
    pull : float
        Most that the term may pull beside the cross-entropy; 0 keeps its weight as given.
    """

    options: GraphOptions = field(default_factory=GraphOptions)
    kept: Selection = field(default_factory=Selection)
    pull: float = 0.0

    name: ClassVar[str] = "gld"
    needs: ClassVar[Needs] = Needs(kept=True)
    reference: ClassVar[str] = "InfiGFusion, arXiv 2505.13893"
    remedy: ClassVar[str] = "leave objective.gld_raw out"

    @classmethod
    def of(cls, objective: ObjectiveConfig) -> Self:
        """Make the term of a configuration."""
        own = objective
        if own.gld_raw:
            return cls(GraphOptions.raw(own.gld_nodes, own.gld_feature, own.gld_distance), kept_by(own))
        options = GraphOptions(own.gld_nodes, own.gld_weights, own.gld_feature, own.gld_distance, own.gld_scale)
        return cls(options, kept_by(own), own.gld_pull)

    @property
    def scaled(self) -> bool:
        """Whether the distance is on log-probabilities in units of the source's graph."""
        return self.options.scale == "source" and self.options.weights != "logits"

    @property
    def on_raw_logits(self) -> bool:
        """Whether node weights are raw logits."""
        return self.options.weights == "logits"

    @property
    def most(self) -> float:
        """Most that the term may pull beside the cross-entropy."""
        return self.pull

    def collate(self, answers: Sequence[Sequence[Answer]]) -> SourceLogits:
        """Stack the source's kept logits of whole answers."""
        ids = stacked([[a.kept.ids for a in row] for row in answers])
        return SourceLogits(
            stacked([[a.kept.values for a in row] for row in answers], fill=-torch.inf),
            ids,
            stacked([[torch.ones(len(a.item.signal.gold), dtype=torch.bool) for a in row] for row in answers]),
            stacked([[a.kept.logsumexp for a in row] for row in answers]),
            int(ids.max()) + 1,
        )

    def count(self, batch: Batch, slot: int) -> Tensor:
        """Count the answers."""
        return self.own(batch).mask[:, slot].any(1).sum()

    def part(self, student: Student, batch: Batch, slot: int) -> Part:
        """Compare the graphs of every answer."""
        spots, its = batch.answers, self.own(batch)
        own = at_positions(student.kept(self.kept), spots.index)
        source = TopK(its.values[:, slot], its.ids[:, slot], its.logsumexp[:, slot])
        # vocabulary nodes without mass have feature 0 in either model
        sizes = (student.vocabulary, its.vocabulary)
        if self.options.feature == "rows":
            # a node of weight 0 may be the best match of another; more of them match one another and add 0
            sizes = (sum(sizes), sum(sizes))
        return gld_part(own, source, spots.mask, its.mask[:, slot], sizes, self.options, batch.weight(slot))
