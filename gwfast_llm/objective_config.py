"""The objective of a configuration: presets, and the weight and the options of every term."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from gwfast_llm.system.errors import require
from gwfast_llm.system.values import check_fields

CROSS_ENTROPY = "sft"
Preset = Literal["path", "infigfusion", "sft", "custom"]
Routing = Literal["mince", "all", "mean"]


def _weight(default: float = 0.0) -> Any:
    """Field that holds the weight of a term of its name."""
    return field(default=default, metadata={"weight": True})


# In units of the source's graph GLD is of the size of the other parts; on raw logits its gradient is 10 to 1000 times
# as long as the cross-entropy's: hence the small weight there.
RAW_GLD = 0.01
PRESETS: dict[str, dict[str, float]] = {
    "path": {"sft": 1.0, "path": 3.0},
    "infigfusion": {"sft": 1.0, "uld": 0.1, "gld": 1.0},
    "sft": {"sft": 1.0},
}


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights of the parts of the loss: sft CE + sum over parts of weight x part.

    Attributes
    ----------
    preset : {"path", "infigfusion", "sft", "custom"}
        `path` (recommended: CE + 3 path-KL, best on held-out text of our small benchmark), `infigfusion` (CE + ULD +
        GLD; with gld_raw as published), `sft` (no distillation), `custom` (the weights below).  A preset fixes the
        weights; give `custom` to choose them.
    sft, kl, path, uld, gld, gld_aligned, hellinger, hybrid : float
        Weights of the parts for `custom`: cross-entropy; KL between equal vocabularies; KL after carrying the source
        into the pivot's vocabulary, by counts on at most about a million answer tokens drawn with a fixed seed; sorted
        probabilities; sorted graph features; graphs compared in one vocabulary (useful around 1, harmful at 10);
        Hellinger distance after carrying (10 is as good as path-KL 3 in our small setting); KL on shared strings with
        sorted mass on the rest.
    alm, gold, simct, xtoken_p, xtoken_h : float
        Weights of published methods for foreign tokenizers, as far as `gwfast_llm.terms` says: likelihoods of chunks,
        TRL's GOLD, SimCT, and X-Token's P-KL, which needs whole logits, and H-KL.
    gw_aligned : float
        Weight of an experiment: KL after carrying the source by a GW coupling of the two vocabularies, which knows no
        spelling and is often wrong.
    terms : dict of str to float
        Weights for `custom` of terms of your own, which `gwfast_llm.register_term` has made known.
    top_k : int
        Most logits kept for ULD, GLD and hybrid.
    top_by, top_amount : str, float
        `fixed` keeps top_k everywhere; `mass` the fewest that reach the probability top_amount; `entropy`
        top_amount * exp(entropy) of them.
    source_top_k : int
        Logits kept of a source; 0 keeps all of them (small vocabularies only).
    gld_nodes, gld_weights, gld_feature, gld_distance : str
        See `gwfast_llm.gld_loss`.
    gld_scale : {"source", "published"}
        `source` divides GLD by the size of the source's graph; `published` does not.
    gld_pull : float
        Most that GLD may pull: on the first batches its weight is lowered until the length of its weighted gradient is
        at most so many times the cross-entropy's, said, kept with the run and restored when it goes on.  0 keeps the
        weight as given.
    gld_raw : bool
        The paper's letter: GLD on raw logits, without unit, at the weight as given.  It changes with a constant that is
        added to every logit, and on real logits its gradient drowns the cross-entropy's.
    gld_window : int
        Positions of one graph of gld_aligned; 0 for whole answers.
    tail : {"bucket", "renormalise"}
        What kl, path and gw_aligned do with the mass outside the kept tokens: one cell of its own, or left out, the
        kept ones normalised.
    divergence : {"forward", "reverse"}
        KL from the source to the pivot, or back, in kl, path and gw_aligned.  Reverse is for answers that the pivot
        writes itself (train.on_policy).
    alm_temperature : float
        Temperature of alm; 0 for the limit that its authors use.
    gold_beta : float
        0 for KL in gold, 1 for reverse KL, between them the generalised Jensen-Shannon divergence.
    simct_divergence : {"forward", "reverse"}
        The same for simct, which is published as reverse.
    routing : {"mince", "all", "mean"}
        `mince`: every example learns from the source with the lower loss on its answer (on the text that all sources
        read, where data.max_length cuts).  `all`: from every source, whose losses add up.  `mean`: from every source,
        their weights divided by the sum of them.
    combine : {"together", "merge"}
        `together`: one run with all sources.  `merge`: one run for each source, whose models are then merged; needs at
        least two.
    merge : {"linear", "task_arithmetic", "ties"}
        How the models are merged: their mean; the pivot plus the mean of what they changed; the same of the largest
        changes of each, of those that agree in sign.
    merge_scale, merge_density : float
        Factor on the merged change, of the last two; share of the entries of a change that ties keeps.
    merge_temperature : float
        Weights of the models are proportional to exp(-loss / this), with their nats a byte on data.validation; 0, or no
        held-out examples, gives all the same weight.
    """

    preset: Preset = "path"
    sft: float = _weight(1.0)
    kl: float = _weight()
    path: float = _weight()
    uld: float = _weight()
    gld: float = _weight()
    gld_aligned: float = _weight()
    hellinger: float = _weight()
    hybrid: float = _weight()
    alm: float = _weight()
    gold: float = _weight()
    simct: float = _weight()
    xtoken_p: float = _weight()
    xtoken_h: float = _weight()
    gw_aligned: float = _weight()
    terms: dict[str, float] = field(default_factory=dict)
    top_k: int = 10
    top_by: Literal["fixed", "mass", "entropy"] = "fixed"
    top_amount: float = 1.0
    source_top_k: int = 64
    gld_nodes: Literal["rank", "vocab"] = "rank"
    gld_weights: Literal["log_probs", "logits", "softmax", "zscore"] = "log_probs"
    gld_feature: Literal["mean", "mean_std", "spectrum", "rows"] = "mean"
    gld_distance: Literal["l1", "squared"] = "l1"
    gld_scale: Literal["source", "published"] = "source"
    gld_pull: float = 1.0
    gld_raw: bool = False
    gld_window: int = 0
    tail: Literal["bucket", "renormalise"] = "bucket"
    divergence: Literal["forward", "reverse"] = "forward"
    alm_temperature: float = 0.0
    gold_beta: float = 0.5
    simct_divergence: Literal["forward", "reverse"] = "reverse"
    routing: Routing = "mince"
    combine: Literal["together", "merge"] = "together"
    merge: Literal["linear", "task_arithmetic", "ties"] = "linear"
    merge_scale: float = 1.0
    merge_density: float = 0.2
    merge_temperature: float = 0.1

    def __post_init__(self) -> None:
        check_fields(self, "objective")
        for name, value in {**{name: getattr(self, name) for name in WEIGHTS}, **self.terms}.items():
            require(value >= 0, f"objective.{name} is {value}; expected 0 or more")
        for name in self.terms:
            require(name not in WEIGHTS, f"objective.terms: {name} has a field of its own; give objective.{name}")
        require(self.top_k >= 1, f"objective.top_k is {self.top_k}; expected at least 1")
        require(self.source_top_k >= 0, f"objective.source_top_k is {self.source_top_k}; expected 0 or more")
        require(self.gld_pull >= 0, f"objective.gld_pull is {self.gld_pull}; expected 0 or more")
        given = [n for n, usual in (("gld_weights", "log_probs"), ("gld_scale", "source")) if getattr(self, n) != usual]
        require(
            not (self.gld_raw and given),
            f"objective.gld_raw chooses raw logits without unit, but {' and '.join(given)} is given too; leave one out",
        )
        require(self.alm_temperature >= 0, f"objective.alm_temperature is {self.alm_temperature}; expected 0 or more")
        require(0 <= self.gold_beta <= 1, f"objective.gold_beta is {self.gold_beta}; expected 0 to 1")
        require(self.merge_scale > 0, f"objective.merge_scale is {self.merge_scale}; expected a positive number")
        require(
            0 < self.merge_density <= 1,
            f"objective.merge_density is {self.merge_density}; expected a share above 0, at most 1",
        )
        require(
            self.merge_temperature >= 0,
            f"objective.merge_temperature is {self.merge_temperature}; expected 0 or more",
        )
        require(self.gld_window >= 0, f"objective.gld_window is {self.gld_window}; expected 0 or more")
        require(self.top_amount > 0, f"objective.top_amount is {self.top_amount}; expected a positive number")
        require(
            self.top_by != "mass" or self.top_amount <= 1,
            f"objective.top_amount is {self.top_amount}; a probability mass is at most 1",
        )
        parts = self.weights
        require(any(parts.values()), "objective: every weight is 0; give at least one part a positive weight")
        if self.preset != "custom":
            given = [n for n in DISTILS if getattr(self, n) not in (0.0, parts[n])]
            given += [name for name, weight in self.terms.items() if weight]
            require(
                not given,
                f"objective.preset is {self.preset!r}, which fixes the weights, but {', '.join(given)} is given too; "
                "use --objective.preset custom to choose weights",
            )

    @property
    def weights(self) -> dict[str, float]:
        """Weight of every term, the preset's where there is one."""
        if self.preset == "custom":
            return {**{name: getattr(self, name) for name in WEIGHTS}, **self.terms}
        found = {name: PRESETS[self.preset].get(name, 0.0) for name in WEIGHTS}
        return {**found, "gld": RAW_GLD} if self.gld_raw and found["gld"] else found

    @property
    def distils(self) -> bool:
        """Whether there is more than the cross-entropy."""
        return any(weight for name, weight in self.weights.items() if name != CROSS_ENTROPY)


WEIGHTS = tuple(f.name for f in dataclasses.fields(ObjectiveConfig) if f.metadata.get("weight"))  # terms with a field
DISTILS = tuple(name for name in WEIGHTS if name != CROSS_ENTROPY)  # those that need sources
