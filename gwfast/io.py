"""Spaces from files and built-in names, for the command line: what a file holds, and what the flags ask of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from gwfast.errors import InputError
from gwfast.memory import available
from gwfast.readers.content import Content
from gwfast.readers.formats import read_file
from gwfast.spaces.dense import Dense
from gwfast.spaces.graph import Graph
from gwfast.spaces.point_cloud import PointCloud
from gwfast.spaces.space import Space

BUILT_IN = {
    "karate": nx.karate_club_graph,
    "les_miserables": nx.les_miserables_graph,
    "florentine": nx.florentine_families_graph,
}


@dataclass(frozen=True)
class Reading:
    """How a source becomes a space; each field is the flag of its name.

    Attributes
    ----------
    kind : str or None
        "edges", "matrix", "adjacency" or "points"; None lets header and shape decide.
    cost : {"shortest_path", "adjacency"}
        Cost between the nodes of a graph.
    weight : str or None
        Edge attribute used as length; None counts every edge as 1, but takes the third column of a table of edges.
    unweighted : bool
        Count every edge as 1.
    directed, undirected : bool
        Give directions to lists of edges; take them from directed graphs.
    largest_component : bool
        Keep the largest (strongly) connected component.
    unreachable : float or None
        Distance of nodes that no path joins.
    """

    kind: str | None = None
    cost: str = "shortest_path"
    weight: str | None = None
    unweighted: bool = False
    directed: bool = False
    undirected: bool = False
    largest_component: bool = False
    unreachable: float | None = None


@dataclass(frozen=True, eq=False)
class Loaded:
    """What was read: a space, its name, a label for each point, the graph where it was one, and how a file was read."""

    space: Space
    name: str
    labels: list[str]
    graph: Any = None
    said: str = ""
    named: bool = False


def load(source: str, reading: Reading = Reading()) -> Loaded:
    """Read a space from a built-in name or a file.

    Parameters
    ----------
    source : str
        One of `BUILT_IN`, or a path whose ending `gwfast.readers.formats.READERS` knows.
    reading : Reading
        What the flags of the command line say.

    Returns
    -------
    Loaded

    Raises
    ------
    InputError
        The name or file is not known, not there, or not of the kind that its ending says; the message names the flag
        that helps.
    MissingPackageError
        The file needs a package that is not installed.

    Examples
    --------
    >>> from gwfast.io import load
    >>> load("karate").space.n
    34
    """
    if reading.unweighted and reading.weight is not None:
        raise InputError(f"--unweighted: found --weight {reading.weight} as well; pass one of them")
    if reading.undirected and reading.directed:
        raise InputError("--undirected: found --directed as well; pass one of them")
    if source in BUILT_IN:
        return _from_graph(Content(BUILT_IN[source](), "graph", ""), source, reading)
    content = read_file(source, reading.kind, reading.directed)
    name = Path(source).name or source
    if content.kind == "graph":
        return _from_graph(content, name, reading)
    _check_room(name, len(content.value), 1)
    labels = content.labels or [str(i) for i in range(len(content.value))]
    make = PointCloud if content.kind == "points" else _dense
    try:
        space = make(content.value)
    except InputError as error:
        told = str(error).removeprefix("C: ").removeprefix("points: ")
        raise InputError(f"{name}: {told}") from None
    return Loaded(space, name, labels, said=content.said, named=content.labels is not None)


def _dense(matrix: np.ndarray) -> Space:
    return Dense(matrix)


def _check_room(name: str, n: int, arrays: int) -> None:
    room, needed = available(), 8 * arrays * n * n
    if room is not None and needed > room:
        raise InputError(
            f"{name}: {n} points take {needed / 1e9:.3g} GB of costs, {room / 1e9:.3g} GB are available; keep at most "
            f"{int((room / (8 * arrays)) ** 0.5)} points"
        )


def _from_graph(content: Content, name: str, reading: Reading) -> Loaded:
    graph, said = content.value, [content.said] if content.said else []
    labels = dict(zip(graph, content.labels)) if content.labels else {v: str(v) for v in graph}
    if graph.is_directed() and reading.undirected:
        graph = _undirected(graph)
        said.append("directions ignored")
    elif graph.is_directed():
        said.append("directed, so the cost is asymmetric: --undirected ignores directions")
    if reading.largest_component:
        parts = _components(graph)
        if len(parts) > 1:
            graph = graph.subgraph([v for v in graph if v in parts[0]]).copy()
            said.append(f"the largest of {len(parts)} components, {len(graph)} of {len(labels)} nodes")
    weight = None if reading.unweighted else reading.weight or content.length
    _check_weight(name, graph, weight)
    said += _lengths(content, reading, weight)
    _check_room(name, len(graph), 3)
    if reading.cost == "shortest_path" and reading.unreachable is None:
        _check_connected(name, graph, weight, "--points" in content.said)
    try:
        space = Graph(graph, reading.cost, weight=weight, unreachable=reading.unreachable)
    except InputError as error:
        told = str(error).replace("weight: ", "--weight: ").replace("unreachable: ", "--unreachable: ")
        raise InputError(f"{name}: {told.removeprefix('graph: ')}") from None
    shown = [labels[v] for v in graph]
    return Loaded(space, name, shown, graph, "; ".join(said), named=not all(x.isdecimal() for x in shown))


def _lengths(content: Content, reading: Reading, weight: str | None) -> list[str]:
    """What counts as the length of an edge, where there is a choice."""
    what = "lengths" if reading.cost == "shortest_path" else "entries"
    if reading.weight is not None:
        return [f"{weight} as {what}"]
    if weight is not None:
        return [f"the third column as {what}; --unweighted counts every edge as 1"]
    if reading.unweighted:
        return ["every edge counts as 1"] if content.said else []
    return [content.offer] if content.offer else []


def _undirected(graph: Any) -> Any:
    """The graph without directions; both edges of a pair stay, so that the shorter one counts."""
    both = nx.MultiGraph()
    both.add_nodes_from(graph.nodes(data=True))
    both.add_edges_from(graph.edges(data=True))
    return both


def _components(graph: Any) -> list[set[Any]]:
    """Components in which every node reaches every other, the largest first."""
    parts = nx.strongly_connected_components(graph) if graph.is_directed() else nx.connected_components(graph)
    return sorted(parts, key=len, reverse=True)


def _check_weight(name: str, graph: Any, weight: str | None) -> None:
    if weight is None or not graph.number_of_edges():
        return
    found = sorted({str(key) for *_, data in graph.edges(data=True) for key in data})
    if weight not in found:
        said = f"found {', '.join(found[:8])}" if found else "they have none"
        raise InputError(f"{name}: --weight: no edge has the attribute {weight!r}; {said}; A,B names one of each file")


def _check_connected(name: str, graph: Any, weight: str | None, numbers: bool) -> None:
    parts = _components(graph)
    if len(parts) < 2:
        return
    if graph.is_directed():
        flags = "pass --undirected to ignore directions, "
        kind = "directed, with pairs of nodes that no path joins"
    else:
        flags = "pass "
        kind = "not connected"
    kind += ", read as edges: pass --points if its numbers are coordinates" if numbers else ""
    keep = f"--largest-component to keep {len(parts[0])} of {len(graph)} nodes, or "
    largest = keep if len(parts[0]) > 1 else "or " * graph.is_directed()
    try:
        far = f"{Graph(graph, weight=weight, unreachable=-1.0).cost.max() + 1:g}"
    except InputError:
        far = "VALUE"
    raise InputError(
        f"{name}: {kind}; it has {len(parts)} components: {flags}{largest}--unreachable {far} as "
        "distance of such pairs (longest path + 1)"
    )
