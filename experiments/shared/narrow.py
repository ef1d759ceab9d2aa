"""Pictures that stay readable at 390 pixels: under six inches wide, panels below each other, words of nine points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

WIDTH, TITLE, TEXT = 5.8, 11, 9.5  # inches; points

CLASS_WORDS = {
    "normal": "random numbers",
    "cloud": "point clouds",
    "squared cloud": "clouds, squared distances",
    "er": "random graphs",
    "sbm": "block graphs",
    "ba paths": "tree-like paths",
    "co-activation": "co-activation",
    "cloud, 10 % noisy copy": "cloud, copy with 10 % noise",
    "cloud, 30 % noisy copy": "cloud, copy with 30 % noise",
    "co-activation, 10 % noisy copy": "co-activation, 10 % noise",
}


def page(heights: Sequence[float]) -> tuple[Any, list[Any]]:
    """A figure of one panel below the other, each of so many inches, drawn without a display."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(heights),
        1,
        figsize=(WIDTH, sum(heights)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    panels = [row[0] for row in axes]
    for axis in panels:
        axis.tick_params(labelsize=TEXT)
        axis.grid(alpha=0.3)
    return figure, panels


def words(axis: Any, title: str, x: str, y: str = "") -> None:
    """What is seen, and the quantities with their units."""
    axis.set_title(title, fontsize=TITLE, loc="left")
    axis.set_xlabel(x, fontsize=TEXT)
    axis.set_ylabel(y, fontsize=TEXT)


def legend_below(axis: Any, columns: int, down: float = -0.2, across: float = 0.35) -> None:
    """The legend under a panel, so that it hides nothing."""
    axis.legend(
        loc="upper center",
        bbox_to_anchor=(across, down),
        ncols=columns,
        fontsize=TEXT,
        frameon=False,
        handletextpad=0.3,
        columnspacing=1.0,
    )


def keep(figure: Any, path: Path) -> None:
    """Write a PNG and close the figure."""
    import matplotlib.pyplot as plt

    figure.savefig(path, dpi=100)
    plt.close(figure)
