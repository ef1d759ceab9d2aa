"""What the record says about the published objective as it trains."""

from __future__ import annotations

from pathlib import Path

from experiments.fusion_objectives.run import RECORD as OBJECTIVES
from experiments.shared.markdown import SEEDS_VARY, cell, common, comparison_table, provenance, table
from experiments.shared.records import Row, where
from experiments.shared.statistics import paired_tests
from experiments.usable_objective.run import METHODS, RECORD, STEPS, jobs

BESIDE = ("sft_short", "sft", "gld", "infigfusion", "path")


def runs(method: str, steps: int) -> list[Row]:
    """Test rows of a method: of this record, else of fusion_objectives."""
    record = RECORD if method in {m.name for m in METHODS} else OBJECTIVES
    return where(record.rows, stage="test", method=method, steps=steps)


def scores(steps: int) -> str:
    """Every method at one budget."""
    lines = []
    for name in (*BESIDE, *(m.name for m in METHODS)):
        own = runs(name, steps)
        weight = cell(own, "weight_gld", 3) if own and "weight_gld" in own[0] else "–"
        lines.append([name, weight, cell(own, "excess"), cell(own, "exact")])
    return table(["method", "weight of GLD used", "excess M, N", "exact match"], lines)


def comparisons(steps: int) -> str:
    """The usable forms against SFT, short SFT, and the letter."""
    pairs = []
    for method in METHODS:
        for other in ("sft", "sft_short", method.name.split(",")[0]):
            a, b = common(runs(method.name, steps), runs(other, steps), "excess")
            if len(a) > 1:
                pairs.append((f"{method.name} less {other}", a, b))
    return comparison_table(paired_tests(pairs))


def readme() -> str:
    """README of the folder."""
    parts = ["# The published objective as it trains"]
    parts.append(
        "GLD on log-probabilities, in units of the source's graph, its weight lowered on the first four batches until "
        "the length of its weighted gradient is at most that of the cross-entropy. Beside it, from the record of "
        "`fusion_objectives`: the paper's letter (raw logits; weights chosen on a pool of their own), SFT and path. "
        "The weights here are those of the preset `infigfusion`; nothing was chosen."
    )
    for steps in STEPS:
        parts += [f"## {steps} steps", scores(steps), "Excess nats a word, paired by seed:", comparisons(steps)]
    parts += ["## What this does not show", SEEDS_VARY]
    command = "python -m experiments.usable_objective.run"
    parts += ["## How", provenance(RECORD, [j.name for j in jobs()], command, 10)]
    return "\n\n".join(parts) + "\n"


def write() -> None:
    """Write the README."""
    (Path(__file__).parent / "README.md").write_text(readme())


if __name__ == "__main__":
    write()
