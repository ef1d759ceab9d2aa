"""What the record says about the choices inside the objectives."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.fusion_objectives.run import RECORD as OBJECTIVES
from experiments.fusion_sweeps.gradients import PIVOTS
from experiments.fusion_sweeps.grid import SOURCES, by_sources, graphs, kept_logits, windows
from experiments.fusion_sweeps.run import RECORD, SEEDS, STATED_MINUTES, STEPS, STRONG, jobs
from experiments.shared.markdown import cell, common, comparison_table, mean, provenance, table
from experiments.shared.methods import Method
from experiments.shared.records import Row, where
from experiments.shared.statistics import paired_tests

PARTS = ("sft", "uld", "gld", "gld_ms", "gld_aligned", "hybrid", "hellinger", "path", "kl")


def scores_table(stage: str, names: Sequence[str], first: str) -> str:
    """Scores of one variation."""
    lines = []
    for name in names:
        own = where(RECORD.rows, stage=stage, method=name)
        weight = f"{own[0]['weight']:g}" if own else "–"
        lines.append([name, weight, cell(own, "excess"), cell(own, "exact"), mean(own, "O")])
    return table([first, "w", "excess M, N", "exact match", "O"], lines)


def gradients_table(kind: str) -> str:
    """Cosines by pivot."""
    lines = []
    for pivot, what in PIVOTS.items():
        own = where(RECORD.rows, stage="gradients", method=pivot)
        lines.append([what, *(cell(own, f"{part} {kind}", 2) for part in PARTS)])
    return table(["pivot", *("oracle" if p == "kl" else p for p in PARTS)], lines)


def reference() -> list[Row]:
    """SFT at the same budget and seeds, from the record of fusion_objectives."""
    own = where(OBJECTIVES.rows, stage="test", method="sft", steps=STEPS)
    return [row for row in own if row["seed"] < SEEDS]


def strong_tests() -> str:
    """Every objective against SFT on the strong pivot."""
    rows = RECORD.rows
    sft = where(rows, stage="strong", method="sft")
    pairs = []
    for name in STRONG[1:]:
        a, b = common(where(rows, stage="strong", method=name), sft, "excess")
        if len(a) > 1:
            pairs.append((f"{name} less sft", a, b))
    return comparison_table(paired_tests(pairs))


def best(stage: str, methods: Sequence[Method]) -> tuple[str, str]:
    """Variation of lowest mean excess, and the range of means."""
    found = {}
    for method in methods:
        own = where(RECORD.rows, stage=stage, method=method.name)
        if own:
            found[method.name] = sum(r["excess"] for r in own) / len(own)
    lowest = min(found, key=lambda n: found[n])
    return lowest, f"{min(found.values()):.3f} to {max(found.values()):.3f}"


def turning() -> str:
    """Where gradients point, in words."""
    parts = []
    for part in ("uld", "gld", "gld_aligned", "path"):
        each = [f"{cell(where(RECORD.rows, stage='gradients', method=p), f'{part} cosine', 2)} ({p})" for p in PIVOTS]
        parts.append(f"{part} " + ", ".join(each))
    return "; ".join(parts)


def answer() -> str:
    """The finding."""
    rows, parts = RECORD.rows, []
    sft = sum(r["excess"] for r in reference()) / len(reference())
    for stage, methods, what in (
        ("kept", kept_logits(), "InfiGFusion by number of kept logits"),
        ("window", windows(), "aligned graphs by window"),
        ("test", graphs(), "GLD by nodes, weights and feature"),
    ):
        if where(rows, stage=stage):
            name, span = best(stage, methods)
            parts.append(f"{what}: excess {span}, lowest with {name}")
    text = f"At {STEPS} steps (SFT {sft:.3f}): " + "; ".join(parts) + "."
    strong = where(rows, stage="before", method="strong")
    if strong and where(rows, stage="strong", method="path"):
        each = ", ".join(f"{n} {cell(where(rows, stage='strong', method=n), 'excess')}" for n in STRONG)
        text += f" A strong pivot starts at {strong[0]['excess']:.3f} and ends at {each}."
    if where(rows, stage="gradients"):
        text += f" Cosine of a loss's gradient with that of the held-out cross-entropy: {turning()}."
    return text


def headline() -> str:
    """For the README of the repository."""
    rows = RECORD.rows
    strong = where(rows, stage="before", method="strong")
    each = ", ".join(
        f"{n} {cell(where(rows, stage='strong', method=n), 'excess', 2)}" for n in ("sft", "gld", "path", "oracle")
    )
    aligned = ", ".join(f"{m.name} {cell(where(rows, stage='window', method=m.name), 'excess', 2)}" for m in windows())
    return (
        f"A strong pivot that starts at {strong[0]['excess']:.2f} nats a word ends at: {each}. Shrinking the graph "
        f"until none is left: {aligned}."
    )


def readme() -> str:
    """README of the folder."""
    before = [
        [name, *(mean(where(RECORD.rows, stage="before", method=name), f, 3) for f in ("excess", "exact", "O"))]
        for name in ("middle", "strong", "C")
    ]
    blocks = [
        "# What do the choices inside the objectives do?",
        answer(),
        f"Question: how much depends on the number of kept logits, the graph, the sources and the pivot? {SEEDS} "
        f"seeds, {STEPS} steps; mean and standard deviation.",
        "## Kept logits, InfiGFusion",
        scores_table("kept", [m.name for m in kept_logits()], "kept"),
        "## Window of the aligned graphs",
        scores_table("window", [m.name for m in windows()], "graph"),
        "One position is no graph: the loss is then distillation position by position.",
        "## Nodes, weights and feature of GLD (in units of the source's features, weights chosen for each)",
        scores_table("test", [m.name for m in graphs()], "graph"),
        f"## Sources ({', '.join('+'.join(s) for s in SOURCES.values())}; examples go to the source of least loss)",
        scores_table("sources", [m.name for m in by_sources()], "sources"),
        "## Strong pivot",
        table(["model before", "excess M, N", "exact match", "O"], before),
        scores_table("strong", STRONG, "objective"),
        strong_tests(),
        "Weights are those chosen for the weak pivot, the learning rate is lower.",
        "## Gradients: cosine with the held-out cross-entropy, all answer tokens",
        gradients_table("cosine"),
        "The same over tokens where the source is unsure:",
        gradients_table("text"),
        "## What this does not show",
        "* Three seeds: differences of a spread or two are noise.\n"
        "* All seeds share one held-out set, so the spread of the cosines is that of the pools alone; pivots after SFT "
        "and after path were trained on the very pool on which their losses are measured.\n"
        "* A good cosine at the start is not enough for a good fusion; predictable layout tokens dominate it.\n"
        "* Weights along the whole grid, one seed, are in the README of fusion_objectives.",
        "## How",
        provenance(RECORD, [j.name for j in jobs()], "python -m experiments --only fusion_sweeps", STATED_MINUTES),
        "![gradient cosines](cosines.png)",
    ]
    return "\n\n".join(blocks) + "\n"
