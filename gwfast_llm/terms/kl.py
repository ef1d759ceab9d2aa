"""``kl``: Kullback-Leibler divergence between equal vocabularies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from gwfast_llm.system.errors import FusionError
from gwfast_llm.terms.carried import DivergenceTerm
from gwfast_llm.terms.path import Path
from gwfast_llm.terms.term import Preparation, SourceTexts


@dataclass(frozen=True)
class KullbackLeibler(DivergenceTerm):
    """KL from the source's distribution to the pivot's; the two have one vocabulary."""

    name: ClassVar[str] = "kl"
    reference: ClassVar[str] = "Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2015"

    def prepare(self, pivot_rows: Sequence[Sequence[int]], sources: Sequence[SourceTexts]) -> Preparation:
        """Refuse sources of another vocabulary."""
        for source in sources:
            if not source.path.same:
                raise FusionError(
                    f"objective.{self.name} needs equal vocabularies; that of source {source.name} differs from the "
                    f"pivot's: use --objective.{Path.name} instead"
                )
        return Preparation()
