"""What the first line of a table says: names of columns, and whether they are those of edges or of coordinates."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from gwfast.readers.cells import Cells

_EDGES = {
    frozenset(pair)
    for pair in (
        ("source", "target"),
        ("from", "to"),
        ("u", "v"),
        ("src", "dst"),
        ("node1", "node2"),
        ("sourceid", "targetid"),
        ("fromnode", "tonode"),
        ("fromnodeid", "tonodeid"),
        ("head", "tail"),
        ("id1", "id2"),
        ("node",),
    )
}
_AXES = ("x", "y", "z")
_COORDINATE = re.compile(
    r"(x|y|z|lon|lat|lng|longitude|latitude|(x|pc|pca|dim|umap|tsne|coord|axis)[_.-]?\d+|"
    r"((array|pxl|image)_?)?(row|col)(_in_fullres)?)"
)


@dataclass(frozen=True)
class Header:
    """Names of the columns, and which kind of table they tell of, "edges", "points" or none."""

    names: list[str]
    tells: str | None = None


def coordinates(names: list[str]) -> bool:
    """Whether all names are those of coordinates."""
    return all(_COORDINATE.fullmatch(name.lower().replace(" ", "")) for name in names)


def number(cell: str) -> float | None:
    """The number in a cell, or None; underscores make no number."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def header_of(rows: list[list[str]]) -> Header | None:
    """The header of a table, or None where its first line is a line like the others.

    Names of edges or of coordinates make a header, and so does a column of numbers with a word, or nothing, at its top.
    """
    if not rows or len(rows[0]) < 2:
        return None
    first, rest = rows[0], rows[1:]
    low = [name.lower().replace(" ", "") for name in first]
    nodes = {cell for row in rest for cell in row[:2]}
    if frozenset(name.replace("_", "") for name in low[:2]) in _EDGES and not nodes & set(first[:2]):
        return Header(first, "edges")
    if _tells_points(low, rest):
        return Header(first, "points")
    if first[0] and any(number(cell) is not None for cell in first):
        return None
    for j, cell in enumerate(first):
        below = [row[j] for row in rest if j < len(row) and row[j]]
        if number(cell) is None and (cell or j == 0) and below and all(number(c) is not None for c in below):
            return Header(first)
    if len(first) == 3 and not rest and number(first[2]) is None:
        return Header(first)
    return None


def _tells_points(low: list[str], rest: list[list[str]]) -> bool:
    """Whether the names are those of coordinates, and the first row below them has numbers there."""
    places = [j for j, name in enumerate(low) if name and coordinates([name])]
    all_but_first = len(low) > 2 and coordinates(low[1:])
    if not ({"x", "y"} <= set(low) or len(places) == sum(map(bool, low)) > 0 or all_but_first):
        return False
    return not rest or all(number(rest[0][j]) is not None for j in places if j < len(rest[0]))


def without_index(cells: Cells) -> Cells:
    """The cells without a first column that has no name and stands before source and target, as pandas writes it."""
    if len({len(row) for row in cells.rows}) != 1 or len(cells.rows[0]) < 3 or cells.rows[0][0]:
        return cells
    rest = [row[1:] for row in cells.rows]
    header = header_of(rest)
    if header is None or header.tells != "edges":
        return cells
    return replace(cells, rows=rest, said=(*cells.said, "the column without a name left out"))


def axes_of(names: list[str]) -> list[int]:
    """The columns named x, y and z where there are at least x and y, in this order; otherwise none."""
    low = [name.lower() for name in names]
    found = [low.index(axis) for axis in _AXES if axis in low]
    return found if len(found) >= 2 and "x" in low and "y" in low else []
