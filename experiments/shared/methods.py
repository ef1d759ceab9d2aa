"""The objectives that are compared, each with the grid of weights from which one is chosen."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from experiments.shared.controls import Edges, Teacher
from gwfast_llm.config import DISTILS, ObjectiveConfig

RAW = ObjectiveConfig(gld_raw=True)  # the paper's letter, under which these records were made
SPREADS = ObjectiveConfig(gld_raw=True, gld_feature="mean_std")
SORTED_GRID = (
    0.001,
    0.003,
    0.01,
    0.03,
    0.1,
)  # raw-logit graphs have gradients 10 to 20 times those of the cross-entropy
UNIT_GRID = (0.1, 0.3, 1.0, 3.0)
WIDE_GRID = (1.0, 3.0, 10.0, 30.0)


@dataclass(frozen=True)
class Method:
    """One objective: cross-entropy plus w times a sum of parts.

    Attributes
    ----------
    name, what : str
        Short name, and what it is.
    parts : tuple of (str, float)
        Parts with their shares; the chosen weight w multiplies all of them.
    grid : tuple of float
        Weights w to choose from; none where nothing is weighted.
    options : ObjectiveConfig
        Everything but the weights.
    on_path : bool
        Add path-KL at the weight chosen for it alone.
    edges, teacher : str
        See `experiments.shared.controls`.
    sources : tuple of str
        Names of the sources.
    short : bool
        A quarter of the steps at half the learning rate.
    """

    name: str
    what: str
    parts: tuple[tuple[str, float], ...] = ()
    grid: tuple[float, ...] = ()
    options: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    on_path: bool = False
    edges: Edges = "coactivation"
    teacher: Teacher = "own"
    sources: tuple[str, ...] = ("A", "B")
    short: bool = False

    def objective(self, weight: float, path_weight: float) -> ObjectiveConfig:
        """The configuration at a weight; `path_weight` counts only where the method stands on path-KL."""
        values = {part: share * weight for part, share in self.parts}
        parts = {name: values.get(name, 0.0) for name in DISTILS}
        if self.on_path:
            parts["path"] = path_weight
        return dataclasses.replace(self.options, preset="custom", source_top_k=0, **parts)


BOTH = (("uld", 0.1), ("gld", 0.01))
METHODS = (
    Method("sft_short", "SFT, a quarter of the steps at half the learning rate", short=True),
    Method("sft", "SFT on the examples alone"),
    Method("uld", "SFT + ULD", (("uld", 1.0),), (0.03, 0.1, 0.3, 1.0)),
    Method("gld", "SFT + GLD as published (rank nodes, raw logits, row means)", (("gld", 1.0),), SORTED_GRID, RAW),
    Method("infigfusion", "SFT + ULD + GLD as published", BOTH, UNIT_GRID, RAW),
    Method("gld_ms", "SFT + GLD with row means and row spreads", (("gld", 1.0),), SORTED_GRID, SPREADS),
    Method("gld_aligned", "SFT + graphs compared in one vocabulary", (("gld_aligned", 1.0),), (0.3, 1.0, 3.0, 10.0)),
    Method("hybrid", "SFT + KL on shared strings, sorted mass on the rest", (("hybrid", 1.0),), UNIT_GRID),
    Method("hellinger", "SFT + Hellinger distance after carrying, no graph", (("hellinger", 1.0),), WIDE_GRID),
    Method("path", "SFT + path-KL", (("path", 1.0),), WIDE_GRID),
    Method("path+gld", "path + GLD as published", (("gld", 1.0),), SORTED_GRID, RAW, on_path=True),
    Method("path+gld_ms", "path + GLD with row spreads", (("gld", 1.0),), SORTED_GRID, SPREADS, on_path=True),
    Method("path+gld_aligned", "path + aligned graphs", (("gld_aligned", 1.0),), UNIT_GRID, on_path=True),
    Method(
        "oracle",
        "SFT + KL, sources with the pivot's tokenizer (ceiling)",
        (("kl", 1.0),),
        WIDE_GRID,
        sources=("Ap", "Bp"),
    ),
)


def variant(base: str, name: str, what: str, edges: Edges = "coactivation", teacher: Teacher = "own") -> Method:
    """A method with other edges or with another example's source."""
    own = next(m for m in METHODS if m.name == base)
    return dataclasses.replace(own, name=name, what=what, edges=edges, teacher=teacher)


CONTROLS = (
    variant("gld", "gld constant", "every edge is the mean edge of its graph", "constant"),
    variant("gld", "gld independent", "edges m_i m_j of the mean logits", "independent"),
    dataclasses.replace(
        variant("gld", "gld mean logits", "mean sorted top-k logits, no edges", "none"),
        grid=(0.01, 0.03, 0.1, 0.3, 1.0),  # a smaller loss: the mean logits are not multiplied by their sum
    ),
    variant("gld", "gld shuffled", "source outputs of other examples", teacher="shuffled"),
    variant("infigfusion", "infigfusion constant", "ULD + GLD with every edge the mean edge", "constant"),
    variant("infigfusion", "infigfusion shuffled", "source outputs of other examples", teacher="shuffled"),
    variant("gld_ms", "gld_ms null", "edges s_i s_j / sum(s) with the graph's node strengths", "null"),
    variant("gld_ms", "gld_ms shuffled", "source outputs of other examples", teacher="shuffled"),
    variant("gld_aligned", "gld_aligned null", "edges m_i m_j: same node strengths, no co-activation", "null"),
    variant("gld_aligned", "gld_aligned shuffled", "source outputs of other examples", teacher="shuffled"),
    variant(
        "gld_aligned",
        "gld_aligned shuffled in task",
        "source outputs of other examples of the task",
        teacher="shuffled in task",
    ),
    variant("path", "path shuffled", "source outputs of other examples", teacher="shuffled"),
)


def by_name(name: str) -> Method:
    """The method or control of this name."""
    return next(m for m in (*METHODS, *CONTROLS) if m.name == name)
