"""Draw the record: WD and both ends of GW on single answers, before, during and after fusion."""

from __future__ import annotations

from pathlib import Path

from experiments.fusion_ladder.run import LOOKS, METHODS, RECORD
from experiments.shared.figures import COLOURS, MARKERS, canvas, save
from experiments.shared.records import where
from experiments.shared.statistics import spread

TITLES = {"wd": "WD, sorted\nprobabilities", "gw_lower": "GW, proved\nlower end", "gw_upper": "GW, known\ncoupling"}


def main() -> None:
    """Draw ladder.png: a row a quantity, a panel a loss; median and 5 to 95 % over answers, mean over seeds."""
    rows = RECORD.rows
    figure, axes = canvas(len(TITLES) + 1, len(METHODS), 2.0, 1.8)
    for column, method in enumerate(METHODS):
        own = where(rows, method=method)
        for line, name in enumerate(TITLES):
            axis = axes[line][column]
            low, middle, high = (
                [sum(r[f"{name}_q{q}@{step}"] for r in own) / len(own) for step in LOOKS] for q in ("05", "50", "95")
            )
            axis.fill_between(LOOKS, low, high, color=COLOURS[line], alpha=0.25, lw=0)
            axis.plot(LOOKS, middle, c=COLOURS[line], marker=MARKERS[line], ms=4, lw=1)
        found = [spread([r[f"four_kl@{step}"] / 4 for r in own]) for step in LOOKS]
        axes[-1][column].errorbar(
            LOOKS, [s.mean for s in found], yerr=[s.std for s in found], c="k", marker="o", ms=4, lw=1
        )
        axes[0][column].set_title(method, fontsize=10)
        axes[-1][column].set_xlabel("step", fontsize=9)
    for line, title in enumerate((*TITLES.values(), "KL to the source,\nnats")):
        top = max(axis.get_ylim()[1] for axis in axes[line])
        for axis in axes[line]:
            axis.set(ylim=(0, top))
            axis.set_xticks(LOOKS)
            axis.tick_params(labelsize=8)
        axes[line][0].set_ylabel(title, fontsize=9)
    save(figure, Path(__file__).parent / "ladder.png")


if __name__ == "__main__":
    main()
