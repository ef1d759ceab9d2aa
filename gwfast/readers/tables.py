"""A table of cells as edges, a matrix or points: by its header, by its shape, and as the caller says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gwfast.errors import InputError
from gwfast.readers.cells import Cells, cells_of
from gwfast.readers.content import Content, Source
from gwfast.readers.edges import edges
from gwfast.readers.header import Header, axes_of, coordinates, header_of, number, without_index
from gwfast.readers.numbers import alike, matrix_content, points_content


def read_table(source: Source) -> Content:
    """Read a text file of edges, coordinates or costs.

    A header that names nodes makes edges, one that names coordinates makes points.  Otherwise square tables of numbers
    are matrices (of two or three rows only with a constant diagonal, since edges and points may be square too); four or
    more columns of numbers, fractions, and negative numbers are coordinates; everything else is a list of edges.

    Parameters
    ----------
    source : Source

    Returns
    -------
    Content
        `said` tells how the file was read and which flag reads it otherwise.

    Raises
    ------
    InputError
        The file is no text, or a line is neither a row nor an edge.

    Notes
    -----
    Time and memory are those of the file's size.
    """
    cells = without_index(cells_of(source))
    if not cells.rows:
        raise InputError(f"{source.path}: found no edges and no numbers; the file is empty or has comments only")
    labelled = _labelled(cells.rows)
    if labelled is not None and source.kind in (None, "matrix", "adjacency"):
        labels, rows = labelled
        return matrix_content(source, _numbers(source, rows, cells.lines[1:]), cells.said, labels)
    header = header_of(cells.rows)
    body = cells.rows[1:] if header else cells.rows
    kind = source.kind or _guess(header, body)
    if kind == "edges":
        return edges(source, cells, header, "" if source.kind else _otherwise(header, body))
    lines = cells.lines[1:] if header else cells.lines
    if kind == "points":
        return _points(source, cells, header, body, lines)
    names = header.names if header and len(header.names) == len(body) else None
    return matrix_content(source, _numbers(source, body, lines), cells.said, names)


def _guess(header: Header | None, body: list[list[str]]) -> str:
    """The kind of a table that the caller does not name."""
    if header is not None and header.tells is not None:
        return header.tells
    width, found = max(map(len, body), default=0), [[number(cell) for cell in row] for row in body]
    numbers = sum(x is not None for row in found for x in row)
    if width >= 4 and 2 * numbers > sum(map(len, body)) and header is None and numbers < len(body) * width:
        return "matrix" if len(body) == width else "points"  # the reader names the cell that is no number
    if {len(row) for row in body} != {width}:
        return "edges"
    numeric = numbers == len(body) * width
    if numeric and len(body) == width:
        table = np.array(found, dtype=float)
        if width not in (2, 3) or alike(table):
            return "matrix"
    beside = width >= 3 and all(x is not None for row in found for x in row[1:])
    if (numeric and width >= 4) or (beside and header is not None and not header.names[0]):
        return "points"
    if numeric and width in (2, 3):
        return "edges" if all(_is_node(cell) for row in body for cell in row[:2]) else "points"
    names = [row[0] for row in body]
    return "points" if beside and len(set(names)) == len(names) and _apart(body) else "edges"


def _is_node(cell: str) -> bool:
    """Whether a number is written as nodes are: whole, without point and sign."""
    return cell.isdecimal()


def _apart(body: list[list[str]]) -> bool:
    """Whether a column of names stands beside coordinates: four columns, or a second column of other than nodes."""
    return len(body[0]) >= 4 or not all(_is_node(row[1]) for row in body)


def _otherwise(header: Header | None, body: list[list[str]]) -> str:
    """Which flag reads a list of edges in another way, where its cells are numbers."""
    if any(number(cell) is None for row in body for cell in row) or {len(row) for row in body} - {2, 3}:
        return ""
    return "" if header is not None and header.tells == "edges" else "--points reads coordinates"


def _labelled(rows: list[list[str]]) -> tuple[list[str], list[list[str]]] | None:
    """Labels and numbers of a matrix that has the same names along both sides."""
    if len(rows) < 2 or len({len(row) for row in rows}) != 1:
        return None
    names = [row[0] for row in rows[1:]]
    if rows[0][1:] != names:
        return None
    inside = [row[1:] for row in rows[1:]]
    words = len(names) > 1 and all(number(name) is None for name in names)
    known = not rows[0][0] or (words and all(number(cell) is not None for row in inside for cell in row))
    return (names, inside) if known else None


def _numbers(source: Source, rows: list[list[str]], lines: list[int]) -> np.ndarray:
    """The numbers of a table, or an error that names the first cell that is none."""
    width = len(rows[0]) if rows else 0
    for line, row in zip(lines, rows, strict=True):
        if len(row) != width:
            raise InputError(f"{source.path}, line {line}: expected {width} columns, found {len(row)}")
        for j, cell in enumerate(row):
            if number(cell) is None:
                what = f"{cell!r}" if cell else "an empty cell"
                raise InputError(f"{source.path}, line {line}, column {j + 1}: expected a number, found {what}")
    return np.array([[float(cell) for cell in row] for row in rows]).reshape(len(rows), width)


def _points(source: Source, cells: Cells, header: Header | None, body: list[list[str]], lines: list[int]) -> Content:
    """Coordinates, with names in the first column where it holds no numbers or has no name of its own."""
    if not body:
        raise InputError(f"{source.path}: expected coordinates, found a header only")
    width = len(header.names if header else body[0])
    for line, row in zip(lines, body, strict=True):
        if len(row) != width:
            raise InputError(f"{source.path}, line {line}: expected {width} columns, found {len(row)}")
    said, labels = cells.said, None
    axes = axes_of(header.names) if header else []
    beside = any(number(row[0]) is None for row in body) or (header is not None and not header.names[0])
    if header is not None and header.tells == "points" and not axes:
        beside |= not coordinates(header.names[:1])
    if header is not None and header.tells == "points":
        source = replace(source, kind="points")  # the header says so: no flag is needed
    if (beside or (axes and 0 not in axes)) and len(body[0]) > 1:
        labels = [row[0] for row in body]
    chosen = axes or list(range(1 if labels else 0, len(body[0])))
    if axes and header is not None:
        left = [name for j, name in enumerate(header.names) if j not in axes and j]
        said += (f"columns {', '.join(header.names[j] for j in axes)} as coordinates",)
        said += (f"left out: {', '.join(left[:6])}",) if left else ()
    elif labels:
        said += ("the first column as names",)
    return points_content(source, _numbers(source, [[row[j] for j in chosen] for row in body], lines), said, labels)
