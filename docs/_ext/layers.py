"""The layers of gwfast as a drawing, read from the import-linter contract so that it cannot go stale."""

import tomllib
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parent.parent.parent


def layers():
    """Rows of module names, front doors first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    rows = next(c["layers"] for c in contracts if c["name"] == "gwfast runs one way")
    return [[name.strip().removeprefix("gwfast.") for name in row.split("|")] for row in rows]


def drawing(rows):
    """One box a layer, and an arrow along which imports run."""
    step, height = 34, 27
    total = step * (len(rows) + 1) + 14
    parts = [
        f'<figure class="diagram" role="group"><svg viewBox="0 0 400 {total}" role="img" aria-labelledby="layers-t" '
        'xmlns="http://www.w3.org/2000/svg"><title id="layers-t">Layers of gwfast, front doors first; imports run '
        "downwards only</title>",
        '<defs><marker id="head-layers" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path class="d-head" d="M0 0 L8 4 L0 8 z"/></marker></defs>',
    ]
    for k, row in enumerate([["gwfast_llm: the public names only"], *rows]):
        y = 8 + step * k
        kind = "d-key" if k == 0 else "d-box"
        parts.append(f'<rect class="{kind}" x="10" y="{y}" width="340" height="{height}" rx="5"/>')
        text = ", ".join(row)
        parts.append(f'<text class="d-text d-small" x="180" y="{y + 18}" text-anchor="middle">{text}</text>')
    parts.append(f'<path class="d-line" d="M370 10 L370 {total - 12}" marker-end="url(#head-layers)"/>')
    parts.append(f'<text class="d-note" transform="translate(388 {total / 2:.0f}) rotate(90)" text-anchor="middle">')
    parts.append("imports</text></svg></figure>")
    return "".join(parts)


class Layers(SphinxDirective):
    """``layers``: the drawing."""

    def run(self):
        self.env.note_dependency(str(ROOT / "pyproject.toml"))
        return [nodes.raw("", drawing(layers()), format="html")]


def setup(app):
    app.add_directive("layers", Layers)
    return {"parallel_read_safe": True}
