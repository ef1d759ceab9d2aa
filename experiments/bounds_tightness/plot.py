"""Draw the record: proved share against seconds, by class."""

from __future__ import annotations

from pathlib import Path

import gwfast
from experiments.bounds_tightness.run import RECORD, SIZES
from experiments.shared.figures import COLOURS, MARKERS, canvas, save
from experiments.shared.records import where

SHOWN = ("cloud", "squared cloud", "sbm", "ba paths", "co-activation", "cloud, 10 % noisy copy")


def main() -> None:
    """Draw ladder.png."""
    figure, axes = canvas(1, len(SIZES), 5.0, 3.8)
    for axis, n in zip(axes[0], SIZES, strict=True):
        for k, kind in enumerate(SHOWN):
            rows = where(RECORD.rows, n=n, kind=kind)
            points = [
                [sum(r[f"{effort}_{what}"] for r in rows) / len(rows) for what in ("s", "share")]
                for effort in gwfast.EFFORTS
            ]
            axis.plot(
                [max(x, 1e-4) for x, _ in points], [y for _, y in points], c=COLOURS[k], marker=MARKERS[k], label=kind
            )
        axis.set(xscale="log", ylim=(0, 1.02), xlabel="seconds", title=f"{n} points: sort, rows, spectral, dual, prove")
    axes[0][0].set_ylabel("proved share of the best plan")
    axes[0][0].legend(fontsize=7)
    save(figure, Path(__file__).parent / "ladder.png")


if __name__ == "__main__":
    main()
