"""What the record says about the choices inside the objectives."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.fusion_objectives.run import RECORD as OBJECTIVES
from experiments.fusion_sweeps.gradients import PIVOTS
from experiments.fusion_sweeps.grid import SOURCES, by_sources, graphs, kept_logits, windows
from experiments.fusion_sweeps.run import RECORD, SEEDS, STATED_MINUTES, STEPS, STRONG, jobs
from experiments.shared.markdown import LEVEL, SEEDS_VARY, cell, common, comparison_table, mean, provenance, table
from experiments.shared.methods import Method
from experiments.shared.records import Row, where
from experiments.shared.statistics import Paired, paired_tests
from gwfast_llm.tiny.tasks import EXACT_TASKS

STRENGTH = ("pivot", "middle", "strong")  # of PIVOTS, those that are trained on fresh problems, from weak to strong
TASKS = ("O", *EXACT_TASKS)
PARTS = ("sft", "uld", "gld", "gld_ms", "gld_aligned", "hybrid", "hellinger", "path", "kl")


def scores_table(stage: str, names: Sequence[str], first: str) -> str:
    """Scores of one variation."""
    lines = []
    for name in names:
        own = where(RECORD.rows, stage=stage, method=name)
        weight = f"{own[0]['weight']:g}" if own else "–"
        lines.append([name, weight, cell(own, "excess"), cell(own, "exact"), *(cell(own, t, 2) for t in TASKS)])
    return table([first, "w", "excess M, N", "exact match", *TASKS], lines)


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


# variations: stage, the methods, what they vary, the one that the others are compared with, and how the table says it
VARIED = {
    "kept": (kept_logits(), "InfiGFusion by number of kept logits", "k = 10"),
    "window": (windows(), "aligned graphs by window", "aligned, window answer"),
    "test": (graphs(), "GLD by nodes, weights and feature", "rank, logits, mean"),
}


def against(stage: str, names: Sequence[str], base: str) -> list[Paired]:
    """Excess of every variation less that of one of them, paired over the seeds that both have, corrected together."""
    rows, pairs = where(RECORD.rows, stage=stage), []
    for name in names:
        a, b = common(where(rows, method=name), where(rows, method=base), "excess")
        if name != base and len(a) > 1:
            pairs.append((f"{name} less {base}", a, b))
    return paired_tests(pairs)


def by_count() -> list[Paired]:
    """Three sources and one against two."""
    rows, pairs = where(RECORD.rows, stage="sources"), []
    for name in ("infigfusion", "path"):
        for count in SOURCES:
            a, b = common(*(where(rows, method=f"{name}, {k} sources") for k in (count, 2)), "excess")
            if count != 2 and len(a) > 1:
                pairs.append((f"{name}, {count} sources less 2", a, b))
    return paired_tests(pairs)


def in_words(tests: Sequence[Paired]) -> str:
    """What is significant, with its difference."""
    told = [f"{t.name} {t.mean:+.3f}" for t in tests if t.p_corrected < LEVEL]
    return f"significant: {', '.join(told) or 'none'} of {len(tests)}"


def span(stage: str, methods: Sequence[Method]) -> str:
    """Range of the means over variations."""
    found = []
    for method in methods:
        own = where(RECORD.rows, stage=stage, method=method.name)
        if own:
            found.append(sum(r["excess"] for r in own) / len(own))
    return f"{min(found):.3f} to {max(found):.3f}"


def sign(pivot: str, part: str, kind: str) -> str:
    """Sign of a cosine where all seeds agree on it, else ?."""
    values = [row[f"{part} {kind}"] for row in where(RECORD.rows, stage="gradients", method=pivot)]
    return "+" if min(values) > 0 else "-" if max(values) < 0 else "?"


def turning(kind: str) -> str:
    """Between which pivots the cosines change sign, from the weak to the strong one."""
    turns, stay = [], {"+": [], "-": [], "?": []}
    for part in PARTS:
        name = "oracle" if part == "kl" else part
        signs = [sign(pivot, part, kind) for pivot in STRENGTH]
        changes = [f"{a} to {b}" for a, b, x, y in zip(STRENGTH, STRENGTH[1:], signs, signs[1:]) if x != y]
        if changes:
            turns.append(f"{name} ({', '.join(signs)}: {' and '.join(changes)})")
        else:
            stay[signs[0]].append(name)
    return (
        f"turning: {'; '.join(turns) or 'none'}; positive throughout: {', '.join(stay['+']) or 'none'}; negative "
        f"throughout: {', '.join(stay['-']) or 'none'}"
        + (f"; without a sign throughout: {', '.join(stay['?'])}" if stay["?"] else "")
    )


def cosines(parts: Sequence[str], kind: str) -> str:
    """Mean cosines by pivot, in words."""
    each = []
    for part in parts:
        values = [
            f"{mean(where(RECORD.rows, stage='gradients', method=p), f'{part} {kind}', 2)} ({p})" for p in STRENGTH
        ]
        each.append(f"{part} " + ", ".join(values))
    return "; ".join(each)


def gradients_answer() -> str:
    """Where the gradient cosines turn."""
    shown = ("gld", "gld_ms", "gld_aligned", "path")
    return (
        "Cosine of a loss's gradient with that of the held-out cross-entropy, pivots from weak to strong "
        f"({', '.join(STRENGTH)}), + or - where all seeds agree. Over all answer tokens {turning('cosine')}; means "
        f"{cosines(shown, 'cosine')}. Where the source is unsure {turning('text')}; means {cosines(shown, 'text')}."
    )


GRADIENTS = {
    "gld": "sorted graphs of raw logits",
    "gld_ms": "sorted graphs, with deviations",
    "gld_aligned": "graphs in one vocabulary",
    "path": "KL along the text",
}


def gradients_front() -> str:
    """Mean cosines of four losses by pivot, over all answer tokens and where the source is unsure."""
    lines = [
        [
            words,
            *(
                " / ".join(mean(where(RECORD.rows, stage="gradients", method=p), f"{part} {kind}") for p in STRENGTH)
                for kind in ("cosine", "text")
            ),
        ]
        for part, words in GRADIENTS.items()
    ]
    head = [f"cosine, {' / '.join(STRENGTH)}", "all answer tokens", "where the source is unsure"]
    return table(head, lines)


def windows_answer() -> str:
    """What is left of the graph when it is cut into shorter windows."""
    aligned = ", ".join(
        f"{m.name} {cell(where(RECORD.rows, stage='window', method=m.name), 'excess')}" for m in windows()
    )
    tests = against("window", [m.name for m in windows()], VARIED["window"][2])
    return f"Excess nats a word at {STEPS} steps: {aligned}; {in_words(tests)}."


def below() -> str:
    """Objectives that leave a strong pivot better than it was."""
    rows = RECORD.rows
    start = where(rows, stage="before", method="strong")[0]["excess"]
    better = [n for n in STRONG if max(r["excess"] for r in where(rows, stage="strong", method=n)) < start]
    return f"below its start on every seed: {', '.join(better) or 'none'}"


def answer() -> str:
    """The finding; no difference is claimed that its paired test does not tell apart."""
    rows, parts = RECORD.rows, []
    sft = sum(r["excess"] for r in reference()) / len(reference())
    for stage, (methods, what, base) in VARIED.items():
        if where(rows, stage=stage):
            tests = against(stage, [m.name for m in methods], base)
            parts.append(f"{what}: excess {span(stage, methods)}, {in_words(tests)}")
    parts.append(f"number of sources: {in_words(by_count())}")
    text = (
        f"Excess at {STEPS} steps (SFT {sft:.3f}), every variation paired with one of its family, Holm-corrected: "
        + "; ".join(parts)
        + "."
    )
    strong = where(rows, stage="before", method="strong")
    if strong and where(rows, stage="strong", method="path"):
        each = ", ".join(f"{n} {cell(where(rows, stage='strong', method=n), 'excess')}" for n in STRONG)
        tests = in_words(against("strong", STRONG, "sft"))
        text += f" A strong pivot starts at {strong[0]['excess']:.3f} and ends at {each}; {tests}; {below()}."
    if where(rows, stage="gradients"):
        text += f"\n\n{gradients_answer()}"
    return text


def brief() -> str:
    """A few sentences for overviews."""
    rows = RECORD.rows
    strong = where(rows, stage="before", method="strong")
    names = {
        "sft": "fine-tuning",
        "gld": "sorted graphs",
        "path": "KL along the text",
        "oracle": "sources of its own tokenizer",
    }
    each = ", ".join(f"{cell(where(rows, stage='strong', method=n), 'excess', 2)} ({w})" for n, w in names.items())
    cut = ", ".join(
        f"{mean(where(rows, stage='window', method=m.name), 'excess')} ({m.name.partition(', ')[2]})" for m in windows()
    )
    return (
        f"A strong pivot starts at {strong[0]['excess']:.2f} nats a word above the true entropy and ends at {each}. "
        f"Graphs of shorter stretches of the answer do better: {cut}; a window of 1 is no graph."
    )


def compared(stage: str) -> str:
    """Paired comparisons of a family."""
    methods, _, base = VARIED[stage]
    return comparison_table(against(stage, [m.name for m in methods], base))


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
        compared("kept"),
        "## Window of the aligned graphs",
        scores_table("window", [m.name for m in windows()], "graph"),
        compared("window"),
        "One position is no graph: the loss is then distillation position by position.",
        "## Nodes, weights and feature of GLD (in units of the source's features, weights chosen for each)",
        scores_table("test", [m.name for m in graphs()], "graph"),
        compared("test"),
        f"## Sources ({', '.join('+'.join(s) for s in SOURCES.values())}; examples go to the source of least loss)",
        scores_table("sources", [m.name for m in by_sources()], "sources"),
        comparison_table(by_count()),
        "## Strong pivot",
        table(["model before", "excess M, N", "exact match", "O"], before),
        scores_table("strong", STRONG, "objective"),
        comparison_table(against("strong", STRONG, "sft")),
        "Weights are those chosen for the weak pivot, the learning rate is lower.",
        "## Gradients: cosine with the held-out cross-entropy, all answer tokens",
        gradients_table("cosine"),
        "The same over tokens where the source is unsure:",
        gradients_table("text"),
        "## What this does not show",
        f"{SEEDS_VARY}\n"
        "* All seeds share one held-out set, so the spread of the cosines is that of the pools alone; pivots after SFT "
        "and after path were trained on the very pool on which their losses are measured.\n"
        "* A good cosine at the start is not enough for a good fusion; predictable layout tokens dominate it.\n"
        "* Weights along the whole grid, one seed, are in the README of fusion_objectives.",
        "## How",
        provenance(RECORD, [j.name for j in jobs()], "python -m experiments --only fusion_sweeps", STATED_MINUTES),
        "![gradient cosines](cosines.png)",
    ]
    return "\n\n".join(blocks) + "\n"
