"""The objectives that are compared on real weights, each with the weights from which one is chosen."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from gwfast_llm.config import ObjectiveConfig

KEEP = 32  # logits kept of the source, and at most as many compared by a term
SETTINGS = ObjectiveConfig(source_top_k=KEEP)
GRID = (0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Method:
    """One objective.

    Attributes
    ----------
    name, what : str
        Of the term or the preset, and what it is.
    grid : tuple of float
        Weights from which one is chosen; none for a preset.
    """

    name: str
    what: str
    grid: tuple[float, ...] = ()

    def objective(self, weight: float = 0.0) -> ObjectiveConfig:
        """The configuration: the preset without a weight, else cross-entropy and weight times the term."""
        if not weight:
            return ObjectiveConfig(preset=self.name, source_top_k=KEEP)  # type: ignore[arg-type]
        return dataclasses.replace(SETTINGS, preset="custom", top_k=KEEP, **{self.name: weight})


SFT = Method("sft", "no distillation")
PUBLISHED = (SFT, Method("infigfusion", "ULD and GLD"), Method("path", "path-KL, ours"))
# Runs of 8 steps placed the grids; X-Token H-KL was run until its figures were seen to be those of `hybrid`
RIVALS = (
    Method("infigfusion", "ULD and GLD, weights of the preset"),
    Method("path", "path-KL, ours", GRID),
    Method("hybrid", "KL on shared strings, sorted mass on the rest", (0.03, *GRID)),
    Method("alm", "ALM: likelihoods of chunks", (0.03, *GRID[:3])),
    Method("gold", "GOLD of TRL (beta 0.5)", (1.0, 3.0, 10.0, 30.0)),
    Method("simct", "SimCT (reverse KL)", (0.03, *GRID)),
    Method("xtoken_p", "X-Token P-KL", (0.03, *GRID[:3])),
)
