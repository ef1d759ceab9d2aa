"""Plots: one style, colours that the colour-blind can tell apart, small files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#888888")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def canvas(rows: int, columns: int, width: float = 5.0, height: float = 3.6) -> tuple[Any, Any]:
    """A figure and its axes (rows, columns), drawn without a display."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False)


def save(figure: Any, path: Path) -> None:
    """Write a PNG of less than 100 kB and close the figure."""
    import matplotlib.pyplot as plt

    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)
