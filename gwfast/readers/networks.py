"""Networks in the formats that networkx reads: GraphML, GML, GEXF, Pajek and its lists of edges."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import networkx as nx

from gwfast.errors import InputError
from gwfast.readers.cells import text_of
from gwfast.readers.content import Content, Source, one_line
from gwfast.readers.tables import read_table

_READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    ".graphml": ("GraphML", nx.read_graphml),
    ".gml": ("GML", nx.read_gml),
    ".gexf": ("GEXF", nx.read_gexf),
    ".net": ("Pajek", lambda file: nx.parse_pajek(line.decode("utf-8") for line in file)),
}


def read_network(source: Source) -> Content:
    """Read a network file through networkx."""
    name, reader = _READERS[source.suffix]
    data = source.read()
    if not data.strip():
        raise InputError(f"{source.path}: expected {name}, found an empty file")
    try:
        with warnings.catch_warnings(action="ignore"):
            graph = _parsed(source.suffix, reader, data)
    except Exception as error:  # the parsers raise many kinds; each means that the file is not of its format
        raise InputError(f"{source.path}: expected {name} ({one_line(error)})") from None
    if len(graph) == 0:
        raise InputError(f"{source.path}: expected {name} with at least one node, found none")
    labels = [str(data.get("label", v)) for v, data in graph.nodes(data=True)]
    kind = f"{'directed ' if graph.is_directed() else ''}{name}"
    return Content(graph, "graph", _counts(graph, kind), labels, offer=_attributes(graph))


def _parsed(suffix: str, reader: Callable[[Any], Any], data: bytes) -> Any:
    if suffix != ".gml":
        return reader(io.BytesIO(data))
    text = data.decode("latin-1" if _not_utf8(data) else "utf-8-sig").encode("ascii", "xmlcharrefreplace")
    try:
        return nx.read_gml(io.BytesIO(text))
    except nx.NetworkXError as error:
        # files without labels or with the same label twice name their nodes by id
        if "label" not in str(error):
            raise
        return nx.read_gml(io.BytesIO(text), label="id")


def _not_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def _counts(graph: Any, kind: str) -> str:
    return f"{kind}, {len(graph)} nodes and {graph.number_of_edges()} edges"


def _attributes(graph: Any) -> str:
    """Which flag makes a length of the attributes of edges."""
    found = sorted({str(name) for *_, data in graph.edges(data=True) for name in data if name not in ("id", "key")})
    return f"edges with {', '.join(found[:8])}: --weight NAME takes one as length" if found else ""


def read_edgelist(source: Source) -> Content:
    """Read a list of edges, in networkx's way where lines end in a dict of attributes, as a table otherwise."""
    text, said = text_of(source)
    if "{" not in text or source.kind not in (None, "edges"):
        return read_table(source)
    make: Any = nx.DiGraph if source.directed else nx.Graph
    try:
        graph = nx.parse_edgelist(text.splitlines(), create_using=make(), nodetype=str)
    except (TypeError, ValueError, SyntaxError, nx.NetworkXError, RecursionError, MemoryError) as error:
        raise InputError(f"{source.path}: expected a list of edges ({one_line(error)})") from None
    if graph.number_of_edges() == 0:
        raise InputError(f"{source.path}: found no edges")
    return Content(graph, "graph", "; ".join([_counts(graph, "a list of edges"), *said]), offer=_attributes(graph))
