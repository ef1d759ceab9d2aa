"""The picture of the command: checked before the time that it takes to solve, and written in one piece."""

from __future__ import annotations

from pathlib import Path

from gwfast.errors import InputError
from gwfast.io import Loaded
from gwfast.plot import plot_matching, pyplot, save_picture
from gwfast.result import Result


def picture_file(path: str) -> Path:
    """Check where a picture goes."""
    target = Path(path)
    if target.suffix not in (".png", ".pdf", ".svg"):
        raise InputError(f"--plot: expected a file ending in .png, .pdf or .svg, found {path!r}")
    if not target.parent.is_dir():
        raise InputError(f"--plot: no folder {str(target.parent)!r}; make it first")
    pyplot()
    return target


def draw(target: Path, result: Result, first: Loaded, second: Loaded) -> None:
    """Draw the matching into a file."""
    import matplotlib

    matplotlib.use("Agg")
    figure = plot_matching(
        result,
        first.space,
        second.space,
        names=(first.name, second.name),
        graphs=(first.graph, second.graph),
        labels=(first.labels if first.named else None, second.labels if second.named else None),
    )
    save_picture(figure, target)
