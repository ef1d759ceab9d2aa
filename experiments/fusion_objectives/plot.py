"""Draw the record: excess of every method at both budgets, seed by seed."""

from __future__ import annotations

from pathlib import Path

from experiments.fusion_objectives.report import runs
from experiments.fusion_objectives.run import RECORD, STEPS
from experiments.shared.figures import COLOURS, MARKERS, canvas, save
from experiments.shared.methods import METHODS
from experiments.shared.records import where


def main() -> None:
    """Draw excess.png."""
    rows = RECORD.rows
    figure, axes = canvas(1, 1, 7.5, 4.6)
    axis = axes[0][0]
    names = [m.name for m in METHODS]
    for k, steps in enumerate(STEPS):
        for y, name in enumerate(names):
            values = [row["excess"] for row in runs(rows, name, steps)]
            label = f"{steps} steps" if y == 0 else None
            axis.plot(values, [y + 0.18 * (1 - 2 * k)] * len(values), MARKERS[k], c=COLOURS[k], ms=5, label=label)
    start = where(rows, stage="before", method="pivot")[0]["excess"]
    axis.axvline(start, c="0.5", ls=":", label="pivot before")
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set(xlabel="excess nats a word on M and N, held out (0 is perfect; a point a seed)", xlim=(0, None))
    axis.legend()
    axis.grid(axis="x", alpha=0.3)
    save(figure, Path(__file__).parent / "excess.png")


if __name__ == "__main__":
    main()
