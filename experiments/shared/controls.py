"""What the graph is compared with: the same loss on edges without co-activation, and on another example's source.

Shapes: B batch, L tokens, K kept logits, P matched positions, V vocabulary.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gwfast_llm import Batch, ObjectiveConfig, Part, Student, register_term
from gwfast_llm.models.logits import TopK
from gwfast_llm.teachers.desk import Item, SourceDesk
from gwfast_llm.teachers.path import Targets
from gwfast_llm.terms.gld import Gld, SourceLogits
from gwfast_llm.terms.gld_aligned import GldAligned
from gwfast_llm.terms.graph import node_weights
from gwfast_llm.terms.kept import at_positions
from gwfast_llm.terms.part import sum_items

Edges = Literal["coactivation", "constant", "independent", "null", "none"]
Teacher = Literal["own", "shuffled", "shuffled in task"]


def control_features(h: Tensor, mask: Tensor, edges: Edges, feature: str) -> list[Tensor]:
    """Node features of a graph on ranks whose edges carry no co-activation.

    Parameters
    ----------
    h : Tensor (B, L, K)
        Node weights, zero outside the mask.
    mask : Tensor (B, L) of bool
        Answer positions.
    edges : {"constant", "independent", "null", "none"}
        `constant`: every edge is the mean edge of the graph.  `independent`: C_ij = m_i m_j with m the mean weights.
        `null`: C_ij = s_i s_j / sum(s) with the node strengths s of the graph itself.  `none`: no edges, the mean
        weights m are the feature.
    feature : {"mean", "mean_std"}
        As in `gwfast_llm.terms.graph.node_features`.

    Returns
    -------
    list of Tensor (B, K)
    """
    count, nodes = mask.sum(1).clamp_min(1)[:, None].to(h.dtype), h.shape[-1]
    m = h.sum(1) / count
    if edges == "none":
        return [m]
    strength = (h.sum(-1, keepdim=True) * h).sum(1) / count
    total = strength.sum(-1, keepdim=True)
    if edges == "constant":
        rows = (total / nodes**2).expand(-1, nodes)
        return [rows] if feature == "mean" else [rows, torch.zeros_like(rows)]
    first, second = (m, m) if edges == "independent" else (strength / total, strength)
    features = [first * second.sum(-1, keepdim=True) / nodes]
    if feature == "mean_std":
        features.append(first.abs() * second.std(-1, correction=0, keepdim=True) * nodes**0.5)
    return features


@dataclass(frozen=True)
class SortedControl(Gld):
    """GLD on ranks with other edges: sum_i |f_(i) - g_(i)|, one item an example."""

    edges: ClassVar[Edges]

    def part(self, student: Student, batch: Batch, slot: int) -> Part:
        """Compare the sorted features of the control graphs."""
        own, own_mask = at_positions(student.kept(self.kept), batch.answers.index), batch.answers.mask
        its: SourceLogits = self.own(batch)
        other, its_mask = TopK(its.values[:, slot], its.ids[:, slot], its.logsumexp[:, slot]), its.mask[:, slot]
        both = [
            control_features(node_weights(kept, mask, self.options.weights), mask, self.edges, self.options.feature)
            for kept, mask in ((own, own_mask), (other, its_mask))
        ]
        value = other.values.new_zeros(len(other.values))
        for f, g in zip(*both, strict=True):
            width = max(f.shape[-1], g.shape[-1])
            f, g = (F.pad(x, (0, width - x.shape[-1])).sort(-1, descending=True)[0] for x in (f, g))
            value = value + (f - g).abs().sum(-1)
        return sum_items(value, own_mask.any(1) & its_mask.any(1), None)


@register_term
@dataclass(frozen=True)
class ConstantEdges(SortedControl):
    """GLD where every edge is the mean edge of its graph."""

    name: ClassVar[str] = "gld_constant"
    edges: ClassVar[Edges] = "constant"


@register_term
@dataclass(frozen=True)
class IndependentEdges(SortedControl):
    """GLD where the edges are products of mean weights."""

    name: ClassVar[str] = "gld_independent"
    edges: ClassVar[Edges] = "independent"


@register_term
@dataclass(frozen=True)
class NullEdges(SortedControl):
    """GLD where the edges are those of the null model with the node strengths of the graph."""

    name: ClassVar[str] = "gld_null"
    edges: ClassVar[Edges] = "null"


@register_term
@dataclass(frozen=True)
class NoEdges(SortedControl):
    """Sorted mean weights, without a graph."""

    name: ClassVar[str] = "gld_none"
    edges: ClassVar[Edges] = "none"


@register_term
@dataclass(frozen=True)
class AlignedNull(GldAligned):
    """`gld_aligned` on null-model edges: C_ij = m_i m_j with m the mean distribution of an answer.

    Probabilities sum to one at every position, so these graphs have the node strengths of the co-activation graphs.
    The value is ||m m' - q q'||^2 / ||q q'||^2, one item a position.
    """

    name: ClassVar[str] = "gld_aligned_null"

    def part(self, student: Student, batch: Batch, slot: int) -> Part:
        """Compare the null-model graphs of every answer."""
        at, mask = batch.matched(slot)
        assert batch.carried is not None
        probs = student.probs_at(at)
        ids, given = batch.carried.ids[:, slot], batch.carried.probs[:, slot]
        target = torch.zeros_like(probs).scatter_add(2, ids, given.to(probs.dtype))
        count = mask.sum(1).clamp_min(1)[:, None]
        m, q = ((x * mask[..., None]).sum(1) / count for x in (probs, target))
        energy = q.pow(2).sum(-1).pow(2)
        value = m.pow(2).sum(-1).pow(2) - 2 * (m * q).sum(-1).pow(2) + energy
        value = value / energy.clamp_min(1e-6)
        return Part((value * mask.sum(1)).sum(), mask.sum().to(probs.dtype))


def with_edges(objective: ObjectiveConfig, edges: Edges) -> ObjectiveConfig:
    """The objective with the weight of its graph term on the control of these edges; itself for co-activation."""
    if edges == "coactivation":
        return objective
    if objective.gld_aligned:
        assert edges == "null", "other edges of probability graphs carry nothing"
        return replace(objective, gld_aligned=0.0, terms={AlignedNull.name: objective.gld_aligned})
    return replace(objective, gld=0.0, terms={f"{Gld.name}_{edges}": objective.gld})


class ShuffledDesk(SourceDesk):
    """A desk that answers for every example with what the sources said about another one.

    Parameters
    ----------
    desk : SourceDesk
        The desk whose answers are exchanged.
    tasks : sequence of str
        Task of every training example.
    within : bool
        Exchange inside a task, so that the answer is at least about the same kind of problem.
    seed : int
        Seed of the exchange.
    """

    def __init__(self, desk: SourceDesk, tasks: Sequence[str], within: bool, seed: int):
        self.pivot_rows = desk.pivot_rows
        self.sources = desk.sources
        self._desk = desk
        draw = random.Random(seed)
        groups = [[i for i, t in enumerate(tasks) if t == task] for task in sorted(set(tasks))]
        self._other: dict[int, int] = {}
        for group in groups if within else [list(range(len(tasks)))]:
            order = group[:]
            draw.shuffle(order)
            self._other.update(zip(order, order[1:] + order[:1], strict=True))  # nobody keeps his own

    @property
    def slots(self) -> int:
        return self._desk.slots

    def items(self, indices: Sequence[int], carry: bool = True) -> list[list[Item]]:
        """Items of other examples, laid on the matched positions of these."""
        own = self._desk.items(indices, carry)
        other = self._desk.items([self._other[i] for i in indices], carry)
        return [[_laid(a, b) for a, b in zip(x, y, strict=True)] for x, y in zip(own, other, strict=True)]


def _laid(own: Item, other: Item) -> Item:
    """The other's answer on this example's positions, cut or repeated to their number."""
    to = own.targets.pivot_index
    at = torch.arange(len(to)) % max(1, len(other.targets.pivot_index))
    t = other.targets
    return Item(
        other.signal, Targets(to, t.source_index[at], t.ids[at], t.probs[at], t.tail[at]), other.shared, own.weight
    )
