"""Draw the record: where the gradient of every loss points, by pivot."""

from __future__ import annotations

from pathlib import Path

from experiments.fusion_sweeps.gradients import PIVOTS
from experiments.fusion_sweeps.report import PARTS
from experiments.fusion_sweeps.run import RECORD
from experiments.shared.figures import COLOURS, MARKERS, canvas, save
from experiments.shared.records import where


def main() -> None:
    """Draw cosines.png."""
    rows = RECORD.rows
    figure, axes = canvas(1, 2, 5.2, 3.8)
    for axis, kind, title in zip(axes[0], ("cosine", "text"), ("all answer tokens", "where the source is unsure")):
        for k, pivot in enumerate(PIVOTS):
            own = where(rows, stage="gradients", method=pivot)
            at = [x + 0.12 * (k - 2) for x in range(len(PARTS)) for _ in own]
            values = [row[f"{part} {kind}"] for part in PARTS for row in own]
            axis.plot(at, values, MARKERS[k], c=COLOURS[k], ms=4, label=pivot)
        axis.axhline(0, c="0.5", lw=0.8)
        names = ["oracle" if p == "kl" else p for p in PARTS]
        axis.set_xticks(range(len(PARTS)), names, rotation=60, fontsize=8)
        axis.set(title=title, ylim=(-1, 1))
    axes[0][0].set_ylabel("cosine with the held-out cross-entropy")
    axes[0][1].legend(fontsize=7, title="pivot", title_fontsize=7, loc="upper left", ncols=3)
    save(figure, Path(__file__).parent / "cosines.png")


if __name__ == "__main__":
    main()
