"""Draw the record: seconds against n, and objective against seconds."""

from __future__ import annotations

from pathlib import Path

from experiments.shared.figures import COLOURS, MARKERS, canvas, save
from experiments.shared.records import where
from experiments.solvers.report import ratios, solved_by
from experiments.solvers.run import GROWTH, RECORD


def main() -> None:
    """Draw growth.png."""
    rows = RECORD.rows
    figure, axes = canvas(1, 2, 5.2, 3.8)
    left, right = axes[0]
    grown = where(rows, stage="growth")
    for k, name in enumerate(solved_by(grown)):
        times = [[r[f"{name} s"] for r in where(grown, n=n)] for n in GROWTH]
        left.plot(GROWTH, [sum(t) / len(t) for t in times], c=COLOURS[k], marker=MARKERS[k], label=name)
    left.set(xscale="log", yscale="log", xlabel="points", ylabel="seconds", title="clouds")
    left.set_xticks(GROWTH, [str(n) for n in GROWTH])
    left.minorticks_off()
    left.legend(fontsize=7)
    cells = where(rows, stage="cells", n=200)
    found = ratios(cells)
    for k, name in enumerate(solved_by(cells)):
        at = [(row[f"{name} s"], own[name]) for row, own in zip(cells, found, strict=True) if name in own]
        right.plot([x for x, _ in at], [y for _, y in at], MARKERS[k], c=COLOURS[k], ms=4, label=name)
    right.set(xscale="log", yscale="log", xlabel="seconds", ylabel="objective over the least known", title="200 points")
    right.set_yticks((1, 2, 3, 4, 5), list("12345"))
    right.tick_params(axis="y", which="minor", left=False, labelleft=False)
    right.legend(fontsize=7)
    save(figure, Path(__file__).parent / "growth.png")


if __name__ == "__main__":
    main()
