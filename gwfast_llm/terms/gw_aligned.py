"""``gw_aligned``: KL after carrying the source by a GW coupling of the two vocabularies; experimental."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from gwfast_llm.terms.batch import Batch, CarriedTargets, stacked
from gwfast_llm.terms.carried import DivergenceTerm
from gwfast_llm.terms.term import Answer, Needs, Preparation, SourceTexts
from gwfast_llm.terms.vocabulary_coupling import couple


@dataclass(frozen=True)
class GwAligned(DivergenceTerm):
    """KL from the source's distribution, sent where a coupling of the vocabularies sends each token."""

    name: ClassVar[str] = "gw_aligned"
    needs: ClassVar[Needs] = Needs(pairs=True)
    group: ClassVar[str] = "coupled"

    def prepare(self, pivot_rows: Sequence[Sequence[int]], sources: Sequence[SourceTexts]) -> Preparation:
        """Couple the vocabulary of each source with the pivot's."""
        couplings = [couple(source.rows, pivot_rows) for source in sources]
        notes = [
            coupling.sentence(source.name, source.path.shared)
            for coupling, source in zip(couplings, sources, strict=True)
        ]
        return Preparation(couplings, notes)

    def collate(self, answers: Sequence[Sequence[Answer]]) -> CarriedTargets:
        """Stack the targets that the couplings carry."""
        rows = [[answer.item.carried_by[self.name] for answer in row] for row in answers]
        return CarriedTargets(
            stacked([[own.ids for own in row] for row in rows]),
            stacked([[own.probs for own in row] for row in rows]),
            stacked([[own.tail for own in row] for row in rows]),
        )

    def targets(self, batch: Batch) -> CarriedTargets:
        """Targets that the couplings carry."""
        return self.own(batch)
