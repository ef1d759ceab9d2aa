"""Draw the record: where the gradient of every loss points, by pivot."""

from __future__ import annotations

from pathlib import Path

from experiments.fusion_sweeps.gradients import PIVOTS
from experiments.fusion_sweeps.report import PARTS
from experiments.fusion_sweeps.run import RECORD
from experiments.shared.fusion_figures import column, dots, in_words, legend_below, rows_of, save
from experiments.shared.records import where

TITLES = {
    "cosine": "Where the gradient of each loss points:\nall answer tokens",
    "text": "Only tokens of which the source is unsure",
}
LEGEND = {
    "pivot": "weak pivot",
    "middle": "middle pivot",
    "strong": "strong pivot",
    "sft": "after fine-tuning",
    "path": "after KL along the text",
}


def main() -> None:
    """Draw cosines.png: mean and standard deviation over seeds."""
    rows = RECORD.rows
    figure, axes = column([4.6, 4.9])
    for axis, (kind, title) in zip(axes[:, 0], TITLES.items(), strict=True):
        for k, pivot in enumerate(PIVOTS):
            own = where(rows, stage="gradients", method=pivot)
            at = [y + 0.15 * (k - 2) for y in range(len(PARTS))]
            dots(axis, [[row[f"{part} {kind}"] for row in own] for part in PARTS], at, k, LEGEND[pivot])
        for y in range(1, len(PARTS)):
            axis.axhline(y - 0.5, c="0.88", lw=0.8)
        axis.axvline(0, c="0.4", lw=0.8)
        rows_of(axis, [in_words(part) for part in PARTS])
        axis.set(title=title, xlim=(-0.75, 1))
    axes[1][0].set_xlabel("cosine with the held-out cross-entropy\n(right of 0: a step lowers the held-out loss)")
    legend_below(figure, axes[0][0], 3, "bars: standard deviation over seeds")
    save(figure, Path(__file__).parent / "cosines.png")


if __name__ == "__main__":
    main()
