"""Formulas without the network: one file of MathJax, taken from an installed package, is copied beside the pages."""

from importlib.metadata import distribution
from pathlib import Path
from shutil import copyfile

FILE = "tex-svg.js"


def source() -> Path:
    """MathJax with its fonts as one file, as the package sphinx-mathjax-offline ships it."""
    found = [f for f in distribution("sphinx-mathjax-offline").files or () if f.name == FILE]
    return Path(str(found[0].locate()))


def copy(app, error):
    if error is None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / FILE
        if not target.exists():
            copyfile(source(), target)


def setup(app):
    app.config.mathjax_path = FILE
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True}
