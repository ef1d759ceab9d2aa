"""Draw the record: WD and both ends of GW on single answers, and KL to the source, before and after fusion."""

from __future__ import annotations

from pathlib import Path

from experiments.fusion_ladder.run import LOOKS, METHODS, RECORD
from experiments.shared.figures import COLOURS, MARKERS
from experiments.shared.fusion_figures import in_words, panels, rows_of, save
from experiments.shared.records import where
from experiments.shared.statistics import spread

TITLES = {
    "wd": "Sorted probabilities,\nWasserstein distance",
    "gw_lower": "GW, proved\nlower end",
    "gw_upper": "GW, upper end\n(a known matching)",
}


def main() -> None:
    """Draw ladder.png: a panel a quantity, a row a loss."""
    rows = RECORD.rows
    figure, axes = panels(2, 2, [3.2, 3.6])
    start, end = LOOKS[0], LOOKS[-1]
    for k, (name, title) in enumerate(TITLES.items()):
        axis = axes.flat[k]
        for y, method in enumerate(METHODS):
            own = where(rows, method=method)
            low, middle, high = (sum(r[f"{name}_q{q}@{end}"] for r in own) / len(own) for q in ("05", "50", "95"))
            bars = [[middle - low], [high - middle]]
            axis.errorbar(middle, y, xerr=bars, fmt=MARKERS[k], color=COLOURS[k], ms=6, elinewidth=1.4)
        before = [r[f"{name}_q50@{start}"] for r in rows]
        axis.axvline(sum(before) / len(before), c="0.4", ls=":")
        axis.set_title(f"{title}\nbars: 5 to 95 % of the answers", fontsize=10)
    last = axes.flat[3]
    for y, method in enumerate(METHODS):
        found = spread([r[f"four_kl@{end}"] / 4 for r in where(rows, method=method)])
        last.errorbar(found.mean, y, xerr=found.std, fmt="o", color="k", ms=6, elinewidth=1.4)
    before = [r[f"four_kl@{start}"] / 4 for r in rows]
    last.axvline(sum(before) / len(before), c="0.4", ls=":")
    last.set_title("KL to the source, nats a token\nbars: 5 seeds", fontsize=10)
    for k, axis in enumerate(axes.flat):
        rows_of(axis, [in_words(m) if k % 2 == 0 else "" for m in METHODS])
        axis.set_xlim(0, None)
        axis.locator_params(axis="x", nbins=4)
    figure.suptitle(f"Distance to the source after {end} steps, by training loss\n(dotted: before fusion)", fontsize=11)
    figure.supxlabel("left is closer to the source", fontsize=10)
    save(figure, Path(__file__).parent / "ladder.png")


if __name__ == "__main__":
    main()
