"""The objectives that are compared here, each with the grid of weights from which one is chosen."""

from __future__ import annotations

import dataclasses

from experiments.shared.methods import UNIT_GRID, WIDE_GRID, Method, by_name
from gwfast_llm.config import ObjectiveConfig

ALL = ObjectiveConfig(top_k=200)  # more than any vocabulary here: nothing is left out of sorted parts
FORWARD = dataclasses.replace(ALL, simct_divergence="forward")
GRID = (0.3, 1.0, 3.0, 10.0)

# X-Token's H-KL is not here: between these vocabularies its relaxed pairs are the equal spellings, so it is `hybrid`
METHODS = (
    by_name("sft"),
    by_name("path"),
    Method("hybrid", "SFT + KL on shared strings, sorted mass on the rest", (("hybrid", 1.0),), UNIT_GRID, ALL),
    Method("alm", "SFT + ALM: likelihoods of chunks", (("alm", 1.0),), (*WIDE_GRID, 100.0), ALL),
    Method("gold", "SFT + GOLD of TRL (beta 0.5)", (("gold", 1.0),), (*WIDE_GRID, 100.0), ALL),
    Method("simct", "SFT + SimCT (reverse KL)", (("simct", 1.0),), GRID, ALL),
    Method("simct_forward", "SFT + SimCT with forward KL", (("simct", 1.0),), GRID, FORWARD),
    Method("xtoken_p", "SFT + X-Token P-KL", (("xtoken_p", 1.0),), GRID, ALL),
)
TAILS = ("bucket", "renormalise")
KEPT = (5, 10, 20, 64)


def tailed(tail: str) -> Method:
    """Path-KL with this treatment of the tail."""
    options = dataclasses.replace(ObjectiveConfig(), tail=tail)
    return dataclasses.replace(by_name("path"), name=f"path {tail}", options=options)
