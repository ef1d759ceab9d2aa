"""Pictures of the fusion experiments: losses in words, one column, letters of 9 points or more on 6 inches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from experiments.shared.figures import COLOURS, MARKERS

WIDE, SIZE = 6.0, 10
NAMES = {
    "sft_short": "short fine-tuning",
    "sft": "fine-tuning alone",
    "uld": "sorted probabilities",
    "gld": "sorted graphs",
    "infigfusion": "InfiGFusion",
    "gld_ms": "sorted graphs + spreads",
    "gld_aligned": "graphs, one vocabulary",
    "hybrid": "KL on shared strings",
    "hellinger": "Hellinger distance",
    "path": "KL along the text",
    "path+gld": "KL + sorted graphs",
    "path+gld_ms": "KL + graphs + spreads",
    "path+gld_aligned": "KL + graphs, one voc.",
    "oracle": "same tokenizer (ceiling)",
    "kl": "same tokenizer (ceiling)",
}
CONTROLS = {
    "constant": "all edges equal",
    "independent": "edges of the mean logits",
    "mean logits": "mean logits, no edges",
    "null": "edges of the node strengths",
    "shuffled": "sources of other examples",
    "shuffled in task": "others of the same task",
}


def in_words(name: str) -> str:
    """A loss, or what its control changes."""
    base, _, control = name.partition(" ")
    return CONTROLS[control] if control else NAMES[base]


def column(heights: Sequence[float]) -> tuple[Any, Any]:
    """A figure of panels below one another, of these heights in inches."""
    return panels(len(heights), 1, heights)


def panels(rows: int, columns: int, heights: Sequence[float]) -> tuple[Any, Any]:
    """A figure of panels (rows, columns), 6 inches wide."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": SIZE, "axes.titlesize": SIZE + 1, "xtick.labelsize": 9, "ytick.labelsize": 9})
    size = (WIDE, sum(heights))
    return plt.subplots(rows, columns, figsize=size, height_ratios=heights, squeeze=False, layout="constrained")


def dots(axis: Any, values: Sequence[Sequence[float]], at: Sequence[float], k: int, label: str | None = None) -> None:
    """Mean and standard deviation over seeds, a row each."""
    axis.errorbar(
        [fmean(v) for v in values],
        at,
        xerr=[pstdev(v) for v in values],
        fmt=MARKERS[k],
        color=COLOURS[k],
        ms=6,
        elinewidth=1.4,
        label=label,
    )


def rows_of(axis: Any, labels: Sequence[str]) -> None:
    """Name the rows, first on top."""
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.grid(axis="x", alpha=0.3)


def legend_below(figure: Any, axis: Any, columns: int, title: str = "") -> None:
    """The legend of an axis below the figure."""
    lines, labels = axis.get_legend_handles_labels()
    figure.legend(
        lines, labels, loc="outside lower center", ncols=columns, fontsize=9, frameon=False, title=title or None
    )


def save(figure: Any, path: Path) -> None:
    """Write a PNG of less than 100 kB, in 256 colours, and close the figure."""
    import matplotlib.pyplot as plt
    from PIL import Image

    figure.savefig(path, dpi=100)
    plt.close(figure)
    with Image.open(path) as whole:
        few = whole.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
