"""The table of methods as a table of the docs, read from `gwfast.methods` so that it cannot go stale."""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from gwfast.methods import METHODS

HEAD = ("method", "effort", "theorems", "asks for", "proved again by ``verify``")


def asks_for(method):
    domain = method.domain
    parts = [f"{' or '.join(domain.marginals)} plans", f"{' or '.join(domain.losses)} loss"]
    parts += ["symmetric costs"] if domain.symmetric else []
    parts += ["n = m, equal weights"] if domain.permutations else []
    return ", ".join(parts)


def rows():
    """Cells of the table as reStructuredText."""
    for m in METHODS:
        theorems = ", ".join(f":ref:`{t} <{t}>`" for t in m.theorems)
        again = "computing it" if m.once else "its dual" if m.duals else "no"
        yield m.name, f'``"{m.effort}"``', theorems, asks_for(m), again


class Methods(SphinxDirective):
    """``methods``: the table."""

    def run(self):
        lines = [".. list-table::", "   :header-rows: 1", ""]
        for row in (HEAD, *rows()):
            lines += [f"   {'* -' if k == 0 else '  -'} {cell}" for k, cell in enumerate(row)]
        parent = nodes.Element()
        self.state.nested_parse(StringList(lines, "methods"), self.content_offset, parent)
        return parent.children


def setup(app):
    app.add_directive("methods", Methods)
    return {"parallel_read_safe": True}
