"""Cosines of every loss's gradient with the held-out cross-entropy's, for pivots of different strength."""

from __future__ import annotations

import copy
import functools
from typing import Any

from experiments.shared.benchmark import HELD_OUT, opened, pool, table
from experiments.shared.methods import by_name
from experiments.shared.records import Row
from experiments.shared.training import Run, train
from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.terms.collate import FusionCollator
from gwfast_llm.terms.objective import Objective
from gwfast_llm.training.diagnosis import diagnose

PIVOTS = {
    "pivot": "weak pivot (200 steps)",
    "middle": "150 steps more on fresh problems",
    "strong": "500 steps more on fresh problems",
    "sft": "weak pivot after 400 steps of SFT (overfit)",
    "path": "weak pivot after 400 steps of path",
}
PATH_WEIGHT = 3.0
EACH, BATCH = 1, 16
OWN = ObjectiveConfig(
    preset="custom", uld=1, gld=1, gld_aligned=1, hellinger=1, hybrid=1, path=1, source_top_k=0, gld_raw=True
)
SPREADS = ObjectiveConfig(preset="custom", gld=1, gld_feature="mean_std", source_top_k=0, gld_raw=True)
ORACLE = ObjectiveConfig(preset="custom", kl=1, source_top_k=0)


@functools.cache
def _pivot(name: str, seed: int) -> Any:
    if name in ("sft", "path"):
        return train(Run(by_name(name), PATH_WEIGHT, 0.0, 400, seed))
    return copy.deepcopy(opened(name)[0])


def cosines(name: str, seed: int) -> Row:
    """Cosines over all held-out tokens and over those where the source is unsure, and relative gradient lengths."""
    model = _pivot(name, seed)
    found: Row = {}
    for objective, sources, label in ((OWN, ("A", "B"), ""), (SPREADS, ("A", "B"), "_ms"), (ORACLE, ("Ap", "Bp"), "")):
        laid = table(seed, sources)
        size = len(pool(seed))
        pad = opened("pivot")[1].pad_token_id
        collator = FusionCollator(laid.rows, pad, objective, laid.desk)
        carried = FusionCollator(laid.rows, pad, ObjectiveConfig(preset="path"), laid.desk)

        def batches(numbers: range, make: FusionCollator) -> list:
            return [make(list(numbers[k : k + BATCH])) for k in range(0, len(numbers), BATCH)]

        held = batches(range(size, size + 7 * HELD_OUT), carried)
        for one in diagnose(
            model, batches(range(0, size, EACH), collator), held, Objective.of(objective, laid.desk.slots)
        ):
            part = one.part if one.part == "sft" else one.part + label
            found |= {f"{part} cosine": one.cosine, f"{part} text": one.cosine_text, f"{part} size": one.size}
    return found
