"""What the record says about sorting."""

from __future__ import annotations

from experiments.bounds_tightness.run import CLASSES
from experiments.shared.markdown import SEEDS_VARY, cell, mean, provenance, table
from experiments.shared.records import where
from experiments.sorted_approximation.fusion import GRAPHS
from experiments.sorted_approximation.run import KINDS, PAIRS, PIVOTS, POINTS, RECORD, SMALL, STATED_MINUTES, jobs

COMMAND = "python -m experiments --only sorted_approximation"


NAMES = {
    ("rank", "logits"): "ranks of tokens, raw logits",
    ("rank", "softmax"): "ranks of tokens, probabilities",
    ("vocab", "softmax"): "tokens themselves, probabilities",
}


def front() -> str:
    """A table of what sorting keeps in the fusion loss."""
    lines = []
    for graph in GRAPHS:
        own = where(RECORD.rows, stage="fusion", pivot="pivot", kind=graph)
        words = NAMES.get(tuple(graph.split(", ")), graph)
        lines.append(
            [words, *(cell(own, k, d) for k, d in (("share", 3), ("gradient_cosine", 2), ("gradient_length", 2)))]
        )
    head = ["nodes and weights of the graph", "sorted loss / GW", "cosine of the gradients", "ratio of their lengths"]
    return table(head, lines)


def in_fusion() -> str:
    """What sorting keeps of GW in the fusion loss."""
    each = []
    for graph in GRAPHS:
        own = where(RECORD.rows, stage="fusion", pivot="pivot", kind=graph)
        each.append(
            f"{graph}: the sorted loss is {cell(own, 'share')} of GW, its gradient has cosine "
            f"{cell(own, 'gradient_cosine', 2)} with GW's and {cell(own, 'gradient_length', 2)} times its length"
        )
    return "In the fusion loss, weak pivot: " + "; ".join(each) + "."


def answer() -> str:
    """The finding."""
    rows = RECORD.rows
    plans = where(rows, stage="plans")
    ratios = {k: [r["plan_ratio"] for r in where(plans, kind=k)] for k in CLASSES}
    means = {k: sum(v) / len(v) for k, v in ratios.items() if v}
    low, high = min(means, key=lambda k: means[k]), max(means, key=lambda k: means[k])
    return (
        f"The sorted plan costs {means[low]:.1f} ({low}) to {means[high]:.0f} ({high}) times the best plan found, "
        f"n = {POINTS}. {in_fusion()} Sorting gives a lower bound; these shares say how far it is from an "
        "approximation."
    )


def brief() -> str:
    """One sentence for overviews."""
    plans = where(RECORD.rows, stage="plans")
    means = [sum(v) / len(v) for v in ([r["plan_ratio"] for r in where(plans, kind=k)] for k in CLASSES) if v]
    return (
        f"The sorted plan costs {min(means):.1f} to {max(means):.0f} times the best plan found, by class of input, "
        f"n = {POINTS}: sorting gives a lower bound, and no approximation."
    )


def readme() -> str:
    """README of the folder."""
    rows = RECORD.rows
    plans = []
    for kind in CLASSES:
        own = where(rows, stage="plans", kind=kind)
        plans.append([kind, *(cell(own, f, 2) for f in ("plan_ratio", "loss_share", "proved_share"))])
    correlations = []
    for kind in KINDS:
        for pairs in ("related", "unrelated"):
            own = where(rows, stage="correlation", pairs=pairs, kind=kind)
            correlations.append(
                [kind, pairs, *(cell(own, f, 2) for f in ("with_upper", "with_lower", "lower_with_upper"))]
            )
    fusion = []
    for graph in GRAPHS:
        for pivot in PIVOTS:
            own = where(rows, stage="fusion", pivot=pivot, kind=graph)
            fields = ("share", "proved_share", "gradient_cosine", "gradient_length")
            fusion.append([graph, pivot, mean(own, "answers", 0), *(cell(own, f) for f in fields)])
    return (
        "\n\n".join(
            [
                "# What does sorting lose?",
                answer(),
                "Question: GLD replaces GW by the distance of sorted row means. How far is that from GW, in plans, in "
                "ranking pairs, and in the value and gradient of the fusion loss?",
                f"## Sorted plan against the best plan found, n = {POINTS}",
                table(["class", "sorted plan / best", "sorted loss / best", "all sorting bounds / best"], plans),
                f"## Spearman correlation over {PAIRS} pairs, n = {SMALL}",
                table(
                    ["class", "pairs", "sorted loss, plan", "sorted loss, proved end", "proved end, plan"], correlations
                ),
                "Related pairs are relabelled copies with growing noise: any sensible number grows along. Unrelated "
                "pairs of one class are the harder question.",
                "## In the fusion loss",
                "Graphs of single held-out answers; sums over answers; mean and standard deviation over seeds. "
                + " ".join(f"*{name}*: {what}." for name, what in GRAPHS.items()),
                table(
                    ["graph", "pivot", "answers", "sorted / GW", "proved end / GW", "gradient cosine", "its length"],
                    fusion,
                ),
                "## What this does not show",
                f"{SEEDS_VARY}\n"
                "* GW is the best plan found; only the proved end is certain.\n"
                "* A gradient that differs from GW's need not be worse for fusion: fusion_ablation asks that.",
                "## How",
                provenance(
                    RECORD,
                    [j.name for j in jobs()],
                    "python -m experiments --only sorted_approximation",
                    STATED_MINUTES,
                ),
                "![sorted loss against GW](sorted.png)",
            ]
        )
        + "\n"
    )
