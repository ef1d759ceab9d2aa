"""Draw the record: excess of every method at both budgets."""

from __future__ import annotations

from pathlib import Path

from experiments.fusion_objectives.report import runs
from experiments.fusion_objectives.run import RECORD, STEPS
from experiments.shared.fusion_figures import column, dots, in_words, legend_below, rows_of, save
from experiments.shared.methods import METHODS
from experiments.shared.records import where


def main() -> None:
    """Draw excess.png: mean and standard deviation over seeds."""
    rows = RECORD.rows
    figure, axes = column([6.2])
    axis = axes[0][0]
    names = [m.name for m in METHODS if runs(rows, m.name, STEPS[0])]
    start = where(rows, stage="before", method="pivot")[0]["excess"]
    axis.axvline(start, c="0.4", ls=":", label="pivot before")
    for k, steps in enumerate(STEPS):
        values = [[row["excess"] for row in runs(rows, name, steps)] for name in names]
        dots(axis, values, [y + 0.18 * (2 * k - 1) for y in range(len(names))], k, f"{steps} steps")
    rows_of(axis, [in_words(name) for name in names])
    axis.set(
        title="Held-out text after fusion, by training loss\n(bars: standard deviation over 5 seeds)",
        xlabel="nats a word above the true entropy (0 is perfect)",
        xlim=(0, None),
    )
    legend_below(figure, axis, 3)
    save(figure, Path(__file__).parent / "excess.png")


if __name__ == "__main__":
    main()
