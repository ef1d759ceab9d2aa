"""Draw the record: seconds against n, and objective against seconds."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from experiments.shared.figures import COLOURS, MARKERS
from experiments.shared.narrow import keep, legend_below, page, words
from experiments.shared.records import Row, where
from experiments.solvers.report import ratios, solved_by
from experiments.solvers.run import GROWTH, RECORD

Bars = list[list[float]]


def middle(values: list[float]) -> tuple[float, Bars]:
    """Median and the lengths of the bars to the quartiles."""
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4 - (len(ordered) % 4 == 0)]
    m = median(ordered)
    return m, [[max(0.0, m - low)], [max(0.0, high - m)]]


def times(rows: list[Row], name: str) -> list[float]:
    """Seconds of a solver on the rows that it solved."""
    return [row[f"{name} s"] for row in rows if f"{name} s" in row]


def main() -> None:
    """Draw growth.png: medians with their quartiles."""
    rows = RECORD.rows
    figure, (upper, lower) = page([3.4, 4.0])
    grown, cells = where(rows, stage="growth"), where(rows, stage="cells", n=200)
    found = ratios(cells)
    style = {name: (COLOURS[k], MARKERS[k]) for k, name in enumerate(solved_by([*grown, *cells]))}
    for name in solved_by(grown):
        sizes = [n for n in GROWTH if times(where(grown, n=n), name)]
        at = [middle(times(where(grown, n=n), name)) for n in sizes]
        bars = [[bar[side][0] for _, bar in at] for side in (0, 1)]
        colour, marker = style[name]
        upper.errorbar(
            sizes, [m for m, _ in at], yerr=bars, c=colour, marker=marker, ms=5, lw=1.5, capsize=2, label=name
        )
    upper.set(xscale="log", yscale="log")
    upper.set_xticks(GROWTH, [str(n) for n in GROWTH])
    upper.minorticks_off()
    words(upper, "Time grows with the number of points (point clouds)", "points on each side", "seconds")
    legend_below(upper, 4, -0.2)
    for name in solved_by(cells):
        pairs = [(row[f"{name} s"], own[name]) for row, own in zip(cells, found, strict=True) if name in own]
        (x, xbar), (y, ybar) = middle([s for s, _ in pairs]), middle([r for _, r in pairs])
        colour, marker = style[name]
        lower.errorbar(x, y, xerr=xbar, yerr=ybar, fmt=marker, c=colour, ms=7, elinewidth=1.2, label=name)
    lower.set(xscale="log", yscale="log")
    lower.set_yticks((1, 1.5, 2, 3, 4, 5), ["1", "1.5", "2", "3", "4", "5"])
    lower.tick_params(axis="y", which="minor", left=False, labelleft=False)
    words(
        lower,
        f"How good the plans are, {len(cells)} problems of 200 points",
        "seconds (median; bars: quartiles)",
        "objective over the least known",
    )
    legend_below(lower, 3, -0.17)
    keep(figure, Path(__file__).parent / "growth.png")


if __name__ == "__main__":
    main()
