"""The objective of a run: its terms with their weights, one part for each source slot, and their values on a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Self

import torch
from torch import Tensor

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.models.logits import Selection
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.part import Part
from gwfast_llm.terms.sft import CrossEntropy
from gwfast_llm.terms.table import term_of
from gwfast_llm.terms.term import NOTHING, Asked, Needs, Student, Term, kept_by


@dataclass(frozen=True)
class Weighted:
    """A term and its weight."""

    term: Term
    weight: float


@dataclass(frozen=True)
class Objective:
    """Terms with a weight, in the order of the table, and the source slots of a batch.

    Attributes
    ----------
    terms : tuple of Weighted
        Those with a weight.
    slots : int
        Source slots S of a batch; terms that need sources have a part for each.
    kept : Selection
        Logits kept of a position.
    """

    terms: tuple[Weighted, ...]
    slots: int
    kept: Selection

    @classmethod
    def of(cls, config: ObjectiveConfig, slots: int) -> Self:
        """Look up the terms of a configuration.

        Raises
        ------
        FusionError
            When a name is in no table, or the options of a term exclude one another.
        """
        terms = tuple(Weighted(term_of(n).of(config), w) for n, w in config.weights.items() if w)
        return cls(terms, slots, kept_by(config))

    @classmethod
    def cross_entropy(cls) -> Self:
        """The cross-entropy alone."""
        return cls((Weighted(CrossEntropy(), 1.0),), 0, Selection())

    def only(self, term: Term) -> Objective:
        """One term alone, with weight 1."""
        return replace(self, terms=(Weighted(term, 1.0),))

    @property
    def needs(self) -> Needs:
        """What any of the terms needs."""
        return reduce(or_, (own.term.needs for own in self.terms), NOTHING)

    @property
    def parts(self) -> list[tuple[Weighted, int]]:
        """Terms with their source slots; one slot, 0, for terms that need no source."""
        return [(own, s) for own in self.terms for s in (range(self.slots) if own.term.needs.sources else [0])]

    @property
    def names(self) -> list[str]:
        """Name of the term of every part."""
        return [own.term.name for own, _ in self.parts]

    @property
    def weights(self) -> list[float]:
        """Weight of every part."""
        return [own.weight for own, _ in self.parts]

    def counts(self, batch: Batch) -> Tensor:
        """Items of every part in a batch, known before any model runs."""
        counts = torch.stack([own.term.count(batch, slot) for own, slot in self.parts]).float()
        return counts * self.counting(batch).to(counts.device) if batch.written else counts

    def counting(self, batch: Batch) -> Tensor:
        """1 for every part that counts on a batch, else 0: answers of the pivot's own teach it by the sources alone."""
        return torch.tensor([float(own.term.needs.sources or not batch.written) for own, _ in self.parts])

    def asked(self, batch: Batch) -> list[Asked]:
        """Tokens that the parts will ask the pivot for, each group once."""
        found = [asked for own, slot in self.parts if (asked := own.term.asks(batch, slot)) is not None]
        groups = {(asked.slot, asked.group): asked for asked in reversed(found)}
        return [groups[key] for key in sorted(groups)]

    def values(self, student: Student, batch: Batch) -> list[Part]:
        """Value of every part on a batch.

        Parameters
        ----------
        student : Student
            The pivot's output.
        batch : Batch
            The batch, from `gwfast_llm.terms.collate.FusionCollator`.
        """
        if self.needs.kept:
            student.kept(self.kept)  # selected once, before anything is read from it
        return [own.term.part(student, batch, slot) for own, slot in self.parts]

    def by_name(self, values: Sequence[float]) -> dict[str, float]:
        """Values of the parts by term, summed over source slots."""
        found: dict[str, float] = {}
        for name, value in zip(self.names, values, strict=True):
            found[name] = found.get(name, 0.0) + value
        return found
