"""Draw the record: what sorting keeps of GW, by class and in the fusion loss."""

from __future__ import annotations

from pathlib import Path

from experiments.bounds_tightness.run import CLASSES
from experiments.shared.figures import COLOURS, MARKERS, canvas, save
from experiments.shared.records import where
from experiments.sorted_approximation.fusion import GRAPHS
from experiments.sorted_approximation.run import PIVOTS, RECORD


def main() -> None:
    """Draw sorted.png."""
    rows = RECORD.rows
    figure, axes = canvas(1, 2, 5.6, 4.2)
    left, right = axes[0]
    for k, (field, label) in enumerate(
        (("loss_share", "sorted loss / best plan"), ("plan_ratio", "sorted plan / best plan"))
    ):
        for y, kind in enumerate(CLASSES):
            values = [r[field] for r in where(rows, stage="plans", kind=kind)]
            left.plot(values, [y] * len(values), MARKERS[k], c=COLOURS[k], ms=4, label=label if y == 0 else None)
    left.axvline(1, c="0.5", lw=0.8)
    left.set_yticks(range(len(CLASSES)), CLASSES, fontsize=8)
    left.set(xscale="log", xlabel="over the best plan's objective")
    left.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.4, -0.16), ncols=2)
    for k, graph in enumerate(GRAPHS):
        for j, pivot in enumerate(PIVOTS):
            own = where(rows, stage="fusion", pivot=pivot, kind=graph)
            share, cosine = [r["share"] for r in own], [r["gradient_cosine"] for r in own]
            filled = COLOURS[k] if j else "none"
            right.plot(share, cosine, MARKERS[k], c=COLOURS[k], mfc=filled, label=f"{graph}, {pivot}")
    right.set(xscale="log", xlabel="sorted loss / GW", ylabel="cosine of the gradients", ylim=(-0.1, 1.05))
    right.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    save(figure, Path(__file__).parent / "sorted.png")


if __name__ == "__main__":
    main()
