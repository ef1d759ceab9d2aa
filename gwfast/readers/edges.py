"""A table as a list of edges."""

from __future__ import annotations

from typing import Any

import networkx as nx

from gwfast.errors import InputError
from gwfast.readers.cells import Cells
from gwfast.readers.content import Content, Source
from gwfast.readers.header import Header, number


def edges(source: Source, cells: Cells, header: Header | None, otherwise: str = "") -> Content:
    """Read source, target and, in a third column, a length; with a header, further columns are attributes.

    Parameters
    ----------
    source : Source
    cells : Cells
    header : Header or None
        Of the first row.
    otherwise : str
        Which flag reads the table in another way.

    Returns
    -------
    Content
        A graph, or a directed one where the source says so; of repeated edges the one of the least length stays.

    Raises
    ------
    InputError
        A line is no edge; the message says which.
    """
    graph: Any = nx.DiGraph() if source.directed else nx.Graph()
    rows = list(zip(cells.lines, cells.rows, strict=True))[1 if header else 0 :]
    wide = header is not None and len(header.names) > 3
    text = header is not None and len(header.names) == 3 and any(_is_text(row) for _, row in rows)
    lengths, repeated = False, 0
    for line, row in rows:
        if wide or text:
            if header is None or len(row) != len(header.names):
                raise InputError(
                    f"{source.path}, line {line}: expected {len(header.names if header else [])} columns as in the "
                    f"header, found {len(row)}"
                )
            data: dict[str, Any] = dict(zip(header.names[2:], row[2:], strict=True))
        else:
            data, has = _length(source, line, row)
            lengths |= has
        u, v = row[:2]
        if not u or not v:
            raise InputError(f"{source.path}, line {line}: expected two nodes, found an empty cell; fill it")
        if graph.has_edge(u, v):
            repeated += 1
            if graph.edges[u, v].get("weight", 1.0) <= data.get("weight", 1.0):
                continue
        graph.add_edge(u, v, **{name: _value(x) for name, x in data.items()})
    if graph.number_of_edges() == 0:
        raise InputError(
            f"{source.path}: found no edges; expected lines source,target[,length], coordinates or a matrix"
        )
    count = graph.number_of_edges()
    said = [f"{count} {'directed ' * source.directed}edge{'s' * (count > 1)} between {len(graph)} nodes"]
    if repeated:
        said.append(f"of {repeated} repeated edges the {'shortest' if lengths else 'first'} counts")
    if otherwise:
        said.append(otherwise)
    if not source.directed and _says_directed(header, rows):
        said.append("its type is directed: --directed keeps directions")
    offer = ""
    if header is not None and (wide or text):
        offer = f"columns {', '.join(header.names[2:])}: --weight NAME takes one as length"
    length = "weight" if lengths else None
    return Content(graph, "graph", "; ".join([*said, *cells.said]), length=length, offer=offer)


def _says_directed(header: Header | None, rows: list[tuple[int, list[str]]]) -> bool:
    """Whether a column named type, as Gephi writes it, has a directed edge."""
    low = [name.lower() for name in header.names] if header else []
    if "type" not in low[2:]:
        return False
    place = low.index("type", 2)
    return any(len(row) > place and row[place].lower() == "directed" for _, row in rows)


def _is_text(row: list[str]) -> bool:
    return len(row) == 3 and bool(row[2]) and number(row[2]) is None


def _value(x: Any) -> Any:
    found = number(x) if isinstance(x, str) else x
    return x if found is None else found


def _length(source: Source, line: int, row: list[str]) -> tuple[dict[str, Any], bool]:
    if len(row) == 3 and not row[2]:
        row = row[:2]  # an edge without a length, among others that have one
    if len(row) not in (2, 3):
        raise InputError(
            f"{source.path}, line {line}: expected source,target[,length], found {len(row)} "
            f"column{'s' * (len(row) > 1)}; name further columns "
            "in a header, or pass --points or --matrix"
        )
    if len(row) == 2:
        return {"weight": 1.0}, False
    length = number(row[2])
    if length is None:
        raise InputError(
            f"{source.path}, line {line}: expected a number as length, found {row[2]!r}; name "
            "the columns in a header, source,target,kind, or leave the third one out"
        )
    if not 0 <= length < float("inf"):
        raise InputError(f"{source.path}, line {line}: expected a length >= 0, found {row[2]}")
    return {"weight": length}, True
