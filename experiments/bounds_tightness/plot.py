"""Draw the record: proved share against seconds, a panel a class."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import gwfast
from experiments.bounds_tightness.run import CLASSES, RECORD, SIZES
from experiments.shared.figures import COLOURS, MARKERS, canvas, save
from experiments.shared.records import where
from experiments.shared.statistics import spread

COLUMNS = 5


def main() -> None:
    """Draw ladder.png: mean share with its standard deviation over seeds, median seconds with their range."""
    figure, axes = canvas(-(-len(CLASSES) // COLUMNS), COLUMNS, 2.6, 2.5)
    for axis, kind in zip(axes.flat, CLASSES, strict=True):
        for k, n in enumerate(SIZES):
            rows = where(RECORD.rows, n=n, kind=kind)
            shares = [spread([r[f"{effort}_share"] for r in rows]) for effort in gwfast.EFFORTS]
            times = [[r[f"{effort}_s"] for r in rows] for effort in gwfast.EFFORTS]
            middle = [median(t) for t in times]
            axis.errorbar(
                middle,
                [s.mean for s in shares],
                yerr=[s.std for s in shares],
                xerr=[[m - min(t) for m, t in zip(middle, times)], [max(t) - m for m, t in zip(middle, times)]],
                c=COLOURS[k],
                marker=MARKERS[k],
                ms=4,
                lw=1,
                elinewidth=0.7,
                label=f"{n} points",
            )
        axis.set(xscale="log", xlim=(1e-4, 20), ylim=(-0.03, 1.05))
        axis.set_title(kind, fontsize=9)
        axis.grid(alpha=0.3)
    for axis in axes[:, 0]:
        axis.set_ylabel("proved share")
    for axis in axes[-1]:
        axis.set_xlabel("seconds")
    axes[0][0].legend(fontsize=7, loc="upper left", title="sort, rows, spectral,\ndual, prove", title_fontsize=7)
    save(figure, Path(__file__).parent / "ladder.png")


if __name__ == "__main__":
    main()
