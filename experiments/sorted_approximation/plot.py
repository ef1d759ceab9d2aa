"""Draw the record: what sorting keeps of GW, by class and in the fusion loss."""

from __future__ import annotations

from pathlib import Path

from experiments.bounds_tightness.run import CLASSES
from experiments.shared.figures import COLOURS, MARKERS
from experiments.shared.narrow import CLASS_WORDS, keep, legend_below, page, words
from experiments.shared.records import where
from experiments.shared.statistics import spread
from experiments.sorted_approximation.fusion import GRAPHS
from experiments.sorted_approximation.run import PIVOTS, POINTS, RECORD

RATIOS = {"loss_share": "loss of sorted row means", "plan_ratio": "GW of the sorted plan"}
GRAPH_WORDS = {
    "rank, logits": "ranks, raw logits",
    "rank, softmax": "ranks, probabilities",
    "vocab, softmax": "tokens, probabilities",
}
PIVOT_WORDS = {"pivot": "weak pivot", "strong": "strong pivot"}


def main() -> None:
    """Draw sorted.png: means with the least and largest of the seeds; means with standard deviations."""
    rows = RECORD.rows
    figure, (left, right) = page([4.0, 3.6])
    for k, (field, label) in enumerate(RATIOS.items()):
        for y, kind in enumerate(CLASSES):
            values = [r[field] for r in where(rows, stage="plans", kind=kind) if r[field] > 0]
            if not values:
                continue
            mean = spread(values).mean
            left.errorbar(
                mean,
                y,
                xerr=[[mean - min(values)], [max(values) - mean]],
                fmt=MARKERS[k],
                c=COLOURS[k],
                ms=5,
                elinewidth=1.2,
                label=label if y == 0 else None,
            )
    left.axvline(1, c="0.4", lw=1, ls="--", label="best plan found")
    left.set_yticks(range(len(CLASSES)), [CLASS_WORDS[kind] for kind in CLASSES])
    left.invert_yaxis()
    left.set_xscale("log")
    words(
        left, f"Sorting against the best plan, {POINTS} points", "over GW of the best plan (bars: range of five seeds)"
    )
    legend_below(left, 2, -0.16)
    for k, graph in enumerate(GRAPHS):
        for j, pivot in enumerate(PIVOTS):
            own = where(rows, stage="fusion", pivot=pivot, kind=graph)
            share, cosine = spread([r["share"] for r in own]), spread([r["gradient_cosine"] for r in own])
            right.errorbar(
                share.mean,
                cosine.mean,
                xerr=share.std,
                yerr=cosine.std,
                fmt=MARKERS[k],
                c=COLOURS[k],
                mfc=COLOURS[k] if j else "white",
                elinewidth=1.2,
                label=f"{GRAPH_WORDS[graph]}, {PIVOT_WORDS[pivot]}",
            )
    right.set(xscale="log", ylim=(-0.05, 1.05))
    words(
        right,
        "In the fusion loss: how much of GW is seen",
        "sorted loss over GW (bars: standard deviation)",
        "cosine of the gradients",
    )
    legend_below(right, 2, -0.2, 0.2)
    keep(figure, Path(__file__).parent / "sorted.png")


if __name__ == "__main__":
    main()
