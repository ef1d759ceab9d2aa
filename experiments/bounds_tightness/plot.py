"""Draw the record: proved share by class, a panel a number of points, a marker an effort."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import gwfast
from experiments.bounds_tightness.run import CLASSES, RECORD, SIZES
from experiments.shared.figures import COLOURS, MARKERS
from experiments.shared.narrow import CLASS_WORDS, keep, legend_below, page, words
from experiments.shared.records import where
from experiments.shared.statistics import spread


def time_text(seconds: float) -> str:
    """Seconds or milliseconds, to two digits."""
    return f"{seconds:.2g} s" if seconds >= 0.1 else f"{1e3 * seconds:.2g} ms"


def main() -> None:
    """Draw ladder.png: mean share with its standard deviation; what was not run or proves nothing is absent."""
    figure, axes = page([4.3] * len(SIZES))
    for axis, n in zip(axes, SIZES, strict=True):
        for k, effort in enumerate(gwfast.EFFORTS):
            rows = [r for r in where(RECORD.rows, n=n) if f"{effort}_s" in r and f"{effort}_share" in r]
            if not rows:
                continue
            label = f"{effort}, {time_text(median(r[f'{effort}_s'] for r in rows))}"
            for y, kind in enumerate(CLASSES):
                own = [r[f"{effort}_share"] for r in where(rows, kind=kind) if r[f"{effort}_share"] > 0]
                if not own:
                    continue
                at = spread(own)
                axis.errorbar(
                    at.mean,
                    y + 0.14 * (k - 2),
                    xerr=None if at.count == 1 else at.std,
                    fmt=MARKERS[k],
                    c=COLOURS[k],
                    ms=5,
                    elinewidth=1,
                    label=label,
                )
                label = None
        axis.set_yticks(range(len(CLASSES)), [CLASS_WORDS[kind] for kind in CLASSES])
        axis.set_xlim(-0.02, 1.06)
        axis.invert_yaxis()
        words(axis, f"What each effort proves, {n} points", "proved share of the best plan's objective (1: optimal)")
        legend_below(axis, 3, -0.16)
    keep(figure, Path(__file__).parent / "ladder.png")


if __name__ == "__main__":
    main()
