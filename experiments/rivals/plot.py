"""Draw the record: excess of path-KL and its rivals at both budgets."""

from __future__ import annotations

from pathlib import Path

from experiments.rivals.methods import METHODS
from experiments.rivals.report import runs
from experiments.rivals.run import STEPS
from experiments.shared.fusion_figures import column, dots, legend_below, rows_of, save


def main() -> None:
    """Draw excess.png: mean and standard deviation over seeds."""
    figure, axes = column([4.2])
    axis = axes[0][0]
    names = [m.name for m in METHODS if runs(m.name, STEPS[0])]
    for k, steps in enumerate(s for s in STEPS if all(runs(name, s) for name in names)):
        values = [[row["excess"] for row in runs(name, steps)] for name in names]
        dots(axis, values, [y + 0.18 * (2 * k - 1) for y in range(len(names))], k, f"{steps} steps")
    rows_of(axis, list(names))
    axis.set(
        title="Held-out text after fusion, by objective\n(bars: standard deviation over seeds)",
        xlabel="nats a word above the true entropy (0 is perfect)",
        xlim=(0, None),
    )
    legend_below(figure, axis, 2)
    save(figure, Path(__file__).parent / "excess.png")


if __name__ == "__main__":
    main()
