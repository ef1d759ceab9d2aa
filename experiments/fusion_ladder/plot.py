"""Draw the record: WD and both ends of GW on single answers, before, during and after fusion."""

from __future__ import annotations

from pathlib import Path

from experiments.fusion_ladder.run import LOOKS, METHODS, RECORD
from experiments.shared.figures import COLOURS, MARKERS, canvas, save
from experiments.shared.records import where

TITLES = {"wd": "WD of sorted probabilities", "gw_lower": "GW, proved lower end", "gw_upper": "GW, known coupling"}


def main() -> None:
    """Draw ladder.png: medians with 5 to 95 % over answers, mean over seeds."""
    rows = RECORD.rows
    figure, axes = canvas(1, len(TITLES) + 1, 3.6, 3.4)
    for axis, (name, title) in zip(axes[0], TITLES.items(), strict=False):
        for k, method in enumerate(METHODS):
            own = where(rows, method=method)
            low, middle, high = (
                [sum(r[f"{name}_q{q}@{step}"] for r in own) / len(own) for step in LOOKS] for q in ("05", "50", "95")
            )
            at = [step + 3 * (k - len(METHODS) / 2) for step in LOOKS]
            spread = [[m - a for m, a in zip(middle, low)], [b - m for m, b in zip(middle, high)]]
            axis.errorbar(at, middle, yerr=spread, c=COLOURS[k], marker=MARKERS[k], ms=4, lw=1, elinewidth=0.7)
        axis.set(title=title, xlabel="step", ylim=(0, None))
    last = axes[0][-1]
    for k, method in enumerate(METHODS):
        own = where(rows, method=method)
        values = [sum(r[f"four_kl@{step}"] for r in own) / len(own) / 4 for step in LOOKS]
        last.plot(LOOKS, values, c=COLOURS[k], marker=MARKERS[k], ms=4, lw=1, label=method)
    last.set(title="KL to the source, nats", xlabel="step", ylim=(0, None))
    last.legend(fontsize=7)
    axes[0][0].set_ylabel("median over answers (5 to 95 %)")
    save(figure, Path(__file__).parent / "ladder.png")


if __name__ == "__main__":
    main()
