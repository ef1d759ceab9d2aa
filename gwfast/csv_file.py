"""Reads a .csv file as a list of edges or as a matrix, by its shape, and says which."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from gwfast.errors import InputError

_HEADERS = (["source", "target"], ["from", "to"], ["u", "v"])


def read_csv(path: Path) -> tuple[Any, str]:
    """Read an edge list or a cost matrix.

    Square tables of numbers are a matrix; of two or three columns, which edges may have too, only where the diagonal
    is 0, or all of one number and the rest symmetric.  A labelled matrix has an empty first cell and the same names
    along both sides.  Everything else is a list of edges: source, target and, in a third column, a length.

    Parameters
    ----------
    path : Path

    Returns
    -------
    array (n, n) or networkx graph
        Edges have their length as the attribute "weight"; of repeated ones the shortest counts.
    str
        How the file was read.

    Raises
    ------
    InputError
        The file is no text, or a line is neither a row of a matrix nor an edge.

    Notes
    -----
    Time and memory are those of the file's size.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [(number, [cell.strip() for cell in row]) for number, row in enumerate(csv.reader(file), 1) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a text file of edges ({error})") from None
    matrix = _matrix([row for _, row in lines])
    if matrix is not None:
        return matrix, f"a {len(matrix)} x {len(matrix)} matrix"
    return _edges(path, lines)


def _matrix(rows: list[list[str]]) -> np.ndarray | None:
    labelled = len(rows) > 1 and not rows[0][0] and rows[0][1:] == [row[0] for row in rows[1:]]
    if labelled:
        rows = [row[1:] for row in rows[1:]]
    if not rows or any(len(row) != len(rows) for row in rows):
        return None
    try:
        matrix = np.array([[float(cell) for cell in row] for row in rows])
    except ValueError:
        return None
    diagonal = np.diag(matrix)
    alike = bool((diagonal == 0).all() or ((diagonal == diagonal[0]).all() and (matrix == matrix.T).all()))
    return matrix if labelled or len(rows) not in (2, 3) or alike else None


def _edges(path: Path, lines: list[tuple[int, list[str]]]) -> tuple[Any, str]:
    graph, lengths, repeated = nx.Graph(), False, 0
    for place, (number, row) in enumerate(lines):
        if row[0].startswith("#"):  # a comment
            continue
        if any(";" in cell for cell in row):
            raise InputError(
                f"{path}, line {number}: found semicolons between commas; separate the columns by commas, and write "
                "numbers with a point"
            )
        if len(row) == 3 and not row[2]:
            row = row[:2]  # an edge without a length, among others that have one
        if len(row) not in (2, 3):
            raise InputError(f"{path}, line {number}: expected source,target[,length], found {len(row)} columns")
        if place == 0 and [cell.lower() for cell in row[:2]] in _HEADERS:
            continue
        try:
            length = float(row[2]) if len(row) == 3 else 1.0
        except ValueError:
            if place == 0:
                continue
            raise InputError(f"{path}, line {number}: expected a number as length, found {row[2]!r}") from None
        if not length >= 0:
            raise InputError(f"{path}, line {number}: expected a length >= 0, found {row[2]}")
        lengths |= len(row) == 3
        if graph.has_edge(*row[:2]):
            repeated += 1
            length = min(length, graph.edges[row[0], row[1]]["weight"])
        graph.add_edge(*row[:2], weight=length)
    if len(graph) == 0:
        raise InputError(f"{path}: found no edges")
    said = f"{graph.number_of_edges()} edges" + (", the third column as lengths" if lengths else "")
    return graph, said + (f"; of {repeated} repeated edges the shortest counts" if repeated else "")
