"""Spaces from files and built-in names, for the command line."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from gwfast.csv_file import read_csv
from gwfast.errors import InputError
from gwfast.spaces.dense import Dense
from gwfast.spaces.graph import Graph
from gwfast.spaces.space import Space

BUILT_IN = {
    "karate": nx.karate_club_graph,
    "les_miserables": nx.les_miserables_graph,
    "florentine": nx.florentine_families_graph,
}


@dataclass(frozen=True, eq=False)
class Loaded:
    """What was read: a space, its name, a label for each point, the graph where it was one, and how a file was read."""

    space: Space
    name: str
    labels: list[str]
    graph: Any = None
    said: str = ""


def load(source: str, cost: str = "shortest_path", weight: str | None = None, unweighted: bool = False) -> Loaded:
    """Read a space from a built-in name, an .npy matrix, a .csv edge list or matrix, or a .graphml file.

    Parameters
    ----------
    source : str
        One of `BUILT_IN`, or a path.  A .csv edge list has two or three columns, source, target and
        optionally a length; a first line of such names, or whose third column is no number, is a header.  Square
        tables of numbers are matrices, see `gwfast.csv_file`.
    cost : {"shortest_path", "adjacency"}
        Cost between the nodes of a graph.
    weight : str or None
        Edge attribute used as length; None counts every edge as 1, but takes the third column of a .csv, "weight".
    unweighted : bool
        Count every edge as 1, also those of a .csv with lengths.

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
    if unweighted and weight is not None:
        raise InputError(f"--unweighted: found --weight {weight} as well; pass one of them")
    readers = {".npy": _read_npy, ".csv": read_csv, ".graphml": _read_graphml}
    if path.suffix not in readers:
        known = f"a built-in name ({', '.join(BUILT_IN)}) or a file ending in {', '.join(readers)}"
        raise InputError(f"{source}: expected {known}")
    if not path.is_file():
        raise InputError(f"{source}: no such file; check the path")
    content, said = readers[path.suffix](path)
    if isinstance(content, np.ndarray):
        return Loaded(Dense(content, name=source), path.stem, [str(i) for i in range(len(content))], said=said)
    if path.suffix == ".csv":
        weight = None if unweighted or "lengths" not in said else "weight"
    return _from_graph(content, path.stem, cost, weight, said)


def _from_graph(graph: Any, name: str, cost: str, weight: str | None, said: str = "") -> Loaded:
    try:
        space = Graph(graph, cost, weight=weight)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return Loaded(space, name, [str(v) for v in graph], graph, said)


def _read_npy(path: Path) -> tuple[np.ndarray, str]:
    try:
        # mapped first: a header that claims more than the file holds is refused before any memory is taken
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if mapped.dtype.kind not in "biufc":
            raise ValueError(f"it holds {mapped.dtype}")
        matrix = np.array(mapped)
    except (ValueError, OSError, EOFError, OverflowError, MemoryError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{path}: expected a matrix written by numpy.save ({said})") from None
    if matrix.ndim != 2:
        raise InputError(f"{path}: expected a square matrix, found shape {matrix.shape}")
    return matrix, ""


def _read_graphml(path: Path) -> tuple[Any, str]:
    try:
        graph = nx.read_graphml(path)
        unused = sorted({name for *_, data in graph.edges(data=True) for name in data if name != "id"})
        return graph, f"edges with the attributes {', '.join(unused)}: --weight takes one as length" if unused else ""
    except Exception as error:  # the parser raises many kinds; each means that the file is not GraphML
        raise InputError(f"{path}: expected GraphML ({error})") from None
