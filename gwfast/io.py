"""Spaces from files and built-in names, for the command line."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from gwfast.errors import InputError
from gwfast.graph import Graph
from gwfast.space import Dense, Space

BUILT_IN = {
    "karate": nx.karate_club_graph,
    "les_miserables": nx.les_miserables_graph,
    "florentine": nx.florentine_families_graph,
}


@dataclass(frozen=True, eq=False)
class Loaded:
    """What was read: a space, its name, a label for each point, and the graph where it was one."""

    space: Space
    name: str
    labels: list[str]
    graph: Any = None


def load(source: str, cost: str = "shortest_path", weight: str | None = None) -> Loaded:
    """Read a space from a built-in name, an .npy matrix, a .csv edge list or a .graphml file.

    Parameters
    ----------
    source : str
        One of `BUILT_IN`, or a path.  A .csv edge list has two or three columns, source, target and
        optionally a length; a first line of such names, or whose third column is no number, is a header.
    cost : {"shortest_path", "adjacency"}
        Cost between the nodes of a graph.
    weight : str or None
        Edge attribute used as length; None counts every edge as 1.  The third column of a .csv is "weight".

    Returns
    -------
    Loaded

    Raises
    ------
    InputError
        The name or file is not known, not there, or not of the kind that its ending says.
    """
    if source in BUILT_IN:
        return _from_graph(BUILT_IN[source](), source, cost, weight)
    path = Path(source)
    readers = {".npy": _read_npy, ".csv": _read_csv, ".graphml": _read_graphml}
    if path.suffix not in readers:
        known = f"a built-in name ({', '.join(BUILT_IN)}) or a file ending in {', '.join(readers)}"
        raise InputError(f"{source}: expected {known}")
    if not path.is_file():
        raise InputError(f"{source}: no such file; check the path")
    content = readers[path.suffix](path)
    if isinstance(content, np.ndarray):
        return Loaded(Dense(content, name=source), path.stem, [str(i) for i in range(len(content))])
    return _from_graph(content, path.stem, cost, weight)


def _from_graph(graph: Any, name: str, cost: str, weight: str | None) -> Loaded:
    try:
        space = Graph(graph, cost, weight=weight)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return Loaded(space, name, [str(v) for v in graph], graph)


def _read_npy(path: Path) -> np.ndarray:
    try:
        matrix = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: expected a matrix written by numpy.save ({error})") from None
    if matrix.ndim != 2:
        raise InputError(f"{path}: expected a square matrix, found shape {matrix.shape}")
    return matrix


def _read_graphml(path: Path) -> Any:
    try:
        return nx.read_graphml(path)
    except Exception as error:  # the parser raises many kinds; each means that the file is not GraphML
        raise InputError(f"{path}: expected GraphML ({error})") from None


def _read_csv(path: Path) -> Any:
    graph = nx.Graph()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a text file of edges ({error})") from None
    for number, row in enumerate(lines, 1):
        if len(row) not in (2, 3):
            raise InputError(f"{path}, line {number}: expected source,target[,length], found {len(row)} columns")
        ends = [cell.strip() for cell in row[:2]]
        if number == 1 and [e.lower() for e in ends] in (["source", "target"], ["from", "to"], ["u", "v"]):
            continue
        try:
            length = float(row[2]) if len(row) == 3 else 1.0
        except ValueError:
            if number == 1:
                continue
            raise InputError(f"{path}, line {number}: expected a number as length, found {row[2]!r}") from None
        graph.add_edge(*ends, weight=length)
    if len(graph) == 0:
        raise InputError(f"{path}: found no edges")
    return graph
