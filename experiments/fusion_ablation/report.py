"""What the record says about the graph."""

from __future__ import annotations

from experiments.fusion_ablation.run import EQUAL, EQUAL_STEPS, RECORD, STATED_MINUTES, STEPS, jobs
from experiments.fusion_objectives.run import RECORD as OBJECTIVES
from experiments.shared.benchmark import SEEDS
from experiments.shared.markdown import (
    LEVEL,
    SEEDS_VARY,
    cell,
    common,
    comparison_table,
    grid_table,
    provenance,
    table,
)
from experiments.shared.methods import CONTROLS, by_name
from experiments.shared.records import Row, where
from experiments.shared.statistics import Paired, paired_tests
from gwfast_llm.tiny.tasks import EXACT_TASKS

# full loss, its control, and what the control lacks: co-activation in its edges, any graph, or the right source output
PAIRS = (
    ("gld", "gld constant", "edges"),
    ("gld", "gld independent", "edges"),
    ("infigfusion", "infigfusion constant", "edges"),
    ("gld_ms", "gld_ms null", "edges"),
    ("gld_aligned", "gld_aligned null", "edges"),
    ("gld", "gld mean logits", "graph"),
    ("infigfusion", "uld", "graph"),
    ("gld_aligned", "hellinger", "graph"),
    ("gld", "gld shuffled", "source"),
    ("infigfusion", "infigfusion shuffled", "source"),
    ("gld_ms", "gld_ms shuffled", "source"),
    ("gld_aligned", "gld_aligned shuffled", "source"),
    ("gld_aligned", "gld_aligned shuffled in task", "source"),
    ("path", "path shuffled", "source"),
)

TASKS = ("O", *EXACT_TASKS)
KINDS = {
    "edges": "Edges without co-activation",
    "graph": "No graph",
    "source": "Source outputs of other examples",
}
# a control shares its full loss's unit of weight; other methods, such as uld, have their own
CONTROL_NAMES = tuple(m.name for m in CONTROLS)


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


def told(steps: int, lacks: str) -> tuple[list[str], list[str]]:
    """Comparisons of a kind in which the full loss is significantly better, and worse, with their differences."""
    own = {f"{a} less {b}" for a, b, kind in PAIRS if kind == lacks}
    found = [t for t in comparisons(steps, "excess") if t.name in own and t.p_corrected < LEVEL]
    return [f"{t.name} {t.mean:+.3f}" for t in found if t.mean < 0], [
        f"{t.name} {t.mean:+.3f}" for t in found if t.mean > 0
    ]


def at_weight(name: str, weight: float) -> list[Row]:
    """Runs of a loss or control at a weight and the budget of the comparison at equal weights."""
    rows = OBJECTIVES.rows + RECORD.rows
    return [r for r in where(rows, method=name, steps=EQUAL_STEPS, weight=weight) if r["stage"] in ("test", "equal")]


def equal_tests(name: str, lacks: str) -> list[Paired]:
    """Full loss less controls of a kind, both at one weight; a family of its own for every kind."""
    cells = [(full, control, w, v) for full, control, kind, pairs in EQUAL if kind == lacks for w, v in pairs]
    for full, control, kind in PAIRS:
        own, other = runs(full, EQUAL_STEPS), runs(control, EQUAL_STEPS)
        if kind == lacks and control in CONTROL_NAMES and own and other and own[0]["weight"] == other[0]["weight"]:
            cells.append((full, control, own[0]["weight"], own[0]["weight"]))
    found = []
    for full, control, w, v in dict.fromkeys(cells):
        a, b = common(at_weight(full, w), at_weight(control, v), name)
        if len(a) > 1:
            found.append((f"{full} less {control}, w = {w:g}" + ("" if v == w else f" and {v:g}"), a, b))
    return paired_tests(found)


def budgets() -> list[int]:
    """Budgets at which every loss and control has all its seeds."""
    return [steps for steps in STEPS if all(len(runs(n, steps)) == SEEDS for pair in PAIRS for n in pair[:2])]


def listed(lacks: str) -> str:
    """Findings of a kind at every budget."""
    parts = []
    for steps in budgets():
        better, worse = told(steps, lacks)
        parts.append(f"at {steps} steps better: {', '.join(better) or 'none'}; worse: {', '.join(worse) or 'none'}")
    return "; ".join(parts)


def told_equal(lacks: str) -> str:
    """Findings of a kind at equal weights, in words."""
    found = equal_tests("excess", lacks)
    told = [t for t in found if t.p_corrected < LEVEL]
    better = ", ".join(f"{t.name} {t.mean:+.3f}" for t in told if t.mean < 0)
    worse = ", ".join(f"{t.name} {t.mean:+.3f}" for t in told if t.mean > 0)
    apart = ", ".join(f"{t.name} {t.mean:+.3f}" for t in found if t.p_corrected >= LEVEL)
    return f"better: {better or 'none'}; worse: {worse or 'none'}; not significant: {apart or 'none'}"


def lead() -> str:
    """The finding at equal weights, in one sentence."""
    equal = [t for t in equal_tests("excess", "edges") if t.p_corrected < LEVEL]
    better, worse = ([t for t in equal if t.mean * side > 0] for side in (-1, 1))
    count = len(equal_tests("excess", "edges"))
    return (
        f"{'Not consistently' if better and worse else 'Partly' if better else 'No'}: at equal weights co-activation "
        f"edges are significantly better in {len(better)} and worse in {len(worse)} of {count} comparisons with edges "
        "without co-activation"
    )


def answer() -> str:
    """First lines of the README: the graph against the same loss on edges without co-activation."""
    pairs = sum(kind == "edges" for *_, kind in PAIRS)
    lines = [
        f"Edges without co-activation, equal weights, {EQUAL_STEPS} steps: {told_equal('edges')}.",
        f"The same, the weight chosen for each, {pairs} comparisons a budget: {listed('edges')}.",
        f"No graph, the weight chosen for each: {listed('graph')}.",
        f"No graph, equal weights: {told_equal('graph')}.",
    ]
    return (
        f"**{lead()}.** Text excess, full loss less control, paired over {SEEDS} seeds, Holm-corrected:\n\n"
        + "\n".join(f"* {line}" for line in lines)
    )


def brief() -> str:
    """The finding in a few sentences, in words."""
    counts = []
    for steps in budgets():
        better, worse = told(steps, "edges")
        counts.append(f"{len(better)} better and {len(worse)} worse at {steps} steps")
    pairs = sum(kind == "edges" for *_, kind in PAIRS)
    return (
        f"{lead()}. With a weight chosen for each loss: {', '.join(counts)}, of {pairs}. Measured is the excess on "
        f"held-out text, {SEEDS} seeds, Holm-corrected."
    )


def source() -> str:
    """Whether the sources' outputs matter at all."""
    equal = told_equal("source")
    return (
        "Against the same loss fed with the source outputs of other examples (full less shuffled), weights chosen for "
        f"each: {listed('source')}. At equal weights, {EQUAL_STEPS} steps: {equal}. Where the full loss "
        "is better the sources' outputs carry information, first order at least, whether or not the graph does."
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
            lines.append([name, weight, cell(own, "excess"), cell(own, "exact"), *(cell(own, t, 2) for t in TASKS)])
    return table(["loss", "w", "excess M, N", "exact match", *TASKS], lines)


def readme() -> str:
    """README of the folder."""
    blocks = [
        "# Does the graph matter?",
        answer(),
        "Question: does the co-activation graph in GLD help fusion, or would the same loss without it do as well?",
        source(),
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
    blocks += [
        f"## Equal weights, {EQUAL_STEPS} steps",
        "A larger weight also keeps the pivot from overfitting the examples, so weights chosen apart at 200 steps do "
        "not compare graphs at 400. Here both sides have one weight; InfiGFusion at w holds ULD at 0.1 w.",
    ]
    for lacks, what in KINDS.items():
        blocks += [
            f"{what}; excess, then exact match:",
            comparison_table(equal_tests("excess", lacks)),
            comparison_table(equal_tests("exact", lacks)),
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
        "## Weights",
        "On the selection pool, 200 steps, one seed; chosen: largest exact match less excess.",
        grid_table(RECORD.rows, list(controls)),
        "## What this does not show",
        "* That graphs cannot help elsewhere: one small benchmark, a weak pivot, one teacher an example.\n"
        f"{SEEDS_VARY}\n"
        "* Equal weights are not equal pull: the gradient of a loss changes its length with its edges.\n"
        "* With 5 seeds differences below about twice the spread of a method go unseen; *not significant* does not "
        "mean equal.",
        "## How",
        provenance(RECORD, [j.name for j in jobs()], "python -m experiments --only fusion_ablation", STATED_MINUTES),
        "![full loss against controls](controls.png)",
    ]
    return "\n\n".join(blocks) + "\n"
