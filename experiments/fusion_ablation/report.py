"""What the record says about the graph."""

from __future__ import annotations

from experiments.fusion_ablation.run import RECORD, STATED_MINUTES, STEPS, jobs
from experiments.fusion_objectives.run import RECORD as OBJECTIVES
from experiments.shared.markdown import cell, common, comparison_table, mean, provenance, table
from experiments.shared.methods import by_name
from experiments.shared.records import Row, where
from experiments.shared.statistics import Paired, paired_tests

# full loss, its control, and whether the control has no co-activation (else: the teacher of another example)
PAIRS = (
    ("gld", "gld constant", True),
    ("gld", "gld independent", True),
    ("gld", "gld no graph", True),
    ("gld", "gld shuffled", False),
    ("gld_ms", "gld_ms null", True),
    ("gld_ms", "gld_ms shuffled", False),
    ("infigfusion", "uld", True),
    ("gld_aligned", "gld_aligned null", True),
    ("gld_aligned", "hellinger", True),
    ("gld_aligned", "gld_aligned shuffled", False),
    ("gld_aligned", "gld_aligned shuffled in task", False),
    ("path", "path shuffled", False),
)


def runs(name: str, steps: int) -> list[Row]:
    """Test runs of a loss or control, from whichever record has it."""
    return where(OBJECTIVES.rows, stage="test", method=name, steps=steps) or where(
        RECORD.rows, stage="test", method=name, steps=steps
    )


def comparisons(steps: int, name: str) -> list[Paired]:
    """Full loss less control, corrected within the budget."""
    found = []
    for full, control, _ in PAIRS:
        a, b = common(runs(full, steps), runs(control, steps), name)
        if len(a) > 1:
            found.append((f"{full} less {control}", a, b))
    return paired_tests(found)


def graph_wins(steps: int) -> tuple[list[str], list[str]]:
    """Comparisons in which the graph is told apart as better, and as worse, than its control without a graph."""
    graph = {f"{a} less {b}" for a, b, without in PAIRS if without}
    told = [t for t in comparisons(steps, "excess") if t.name in graph and t.p_corrected < 0.05]
    return [t.name for t in told if t.mean < 0], [t.name for t in told if t.mean > 0]


def answer() -> str:
    """First line of the README."""
    parts, better_anywhere = [], False
    for steps in STEPS:
        if not runs("gld_aligned null", steps):
            continue
        better, worse = graph_wins(steps)
        better_anywhere |= bool(better)
        text = f"at {steps} steps it is told apart as better than its control in " + (", ".join(better) or "none")
        parts.append(text + " and as worse in " + (", ".join(worse) or "none"))
    count = sum(without for *_, without in PAIRS)
    lead = (
        "Not everywhere: some losses on co-activation graphs are told apart from some controls"
        if better_anywhere
        else "No: no loss on co-activation graphs is told apart as better than the same loss without the graph"
    )
    return f"**{lead}** ({count} comparisons a budget, text excess, paired over 5 seeds, Holm-corrected: " + (
        "; ".join(parts) + ")."
    )


def teacher() -> str:
    """Whether the sources' outputs matter at all."""
    found = []
    for steps in STEPS:
        own = {f"{a} less {b}" for a, b, without in PAIRS if not without}
        for t in comparisons(steps, "excess"):
            if t.name in own:
                found.append(f"{t.name} {t.mean:+.3f}" + (" (told apart)" if t.p_corrected < 0.05 else ""))
        found[-1] += f" at {steps} steps"
    return (
        "Source outputs shuffled over the examples, full less shuffled: " + "; ".join(found) + ". Where this is "
        "negative the sources' outputs carry information, first order at least, whether or not the graph does."
    )


def scores_table(steps: int) -> str:
    """Losses and controls side by side."""
    lines, seen = [], set()
    for full, control, _ in PAIRS:
        for name in (full, control):
            if name in seen:
                continue
            seen.add(name)
            own = runs(name, steps)
            weight = f"{own[0]['weight']:g}" if own else "–"
            grid = by_name(name).grid
            if own and own[0]["weight"] in (grid[0], grid[-1]):
                weight += " (edge)"
            lines.append([name, weight, cell(own, "excess"), cell(own, "exact"), mean(own, "O")])
    return table(["loss", "w", "excess M, N", "exact match", "O"], lines)


def readme() -> str:
    """README of the folder."""
    blocks = [
        "# Does the graph matter?",
        answer(),
        "Question: does the co-activation graph in GLD help fusion, or would the same loss without it do as well?",
        teacher(),
    ]
    for steps in STEPS:
        blocks += [
            f"## {steps} steps",
            scores_table(steps),
            "Excess, full less control:",
            comparison_table(comparisons(steps, "excess")),
            "Exact match, full less control:",
            comparison_table(comparisons(steps, "exact")),
        ]
    controls = RECORD.about["config"]["controls"]
    blocks += [
        "## The controls",
        table(["control", "what"], [[n, c["what"]] for n, c in controls.items()]),
        "Each control's weight was chosen like that of the full loss, from the same grid on the same pool. Two "
        "controls need no run: the row means of a graph and of its null model s_i s_j / sum(s) with the same node "
        "strengths s are *equal*, so GLD as published is identical to its own null model; and constant edges make "
        "the aligned loss identically zero, because edges of probability graphs always sum to one. `uld` is "
        "InfiGFusion without the GW term on the top-k; `hellinger` is the aligned comparison position by position.",
        "## What this does not show",
        "* That graphs cannot help elsewhere: one small benchmark, a weak pivot, one teacher an example.\n"
        "* With 5 seeds differences below about twice the spread of a method go unseen; *not told apart* does not "
        "mean equal.",
        "## How",
        provenance(RECORD, [j.name for j in jobs()], "python -m experiments --only fusion_ablation", STATED_MINUTES),
        "![full loss against controls](controls.png)",
    ]
    return "\n\n".join(blocks) + "\n"
