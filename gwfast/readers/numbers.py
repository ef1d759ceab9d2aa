"""Arrays of numbers as matrices, graphs or points."""

from __future__ import annotations

import networkx as nx
import numpy as np
import scipy.sparse as sp

from gwfast.errors import InputError
from gwfast.readers.content import Content, Source


def alike(table: np.ndarray) -> bool:
    """Whether a square table looks like costs: a diagonal of zeros, or of one number in a symmetric table."""
    diagonal = np.diag(table)
    return bool((diagonal == 0).all() or ((diagonal == diagonal[0]).all() and (table == table.T).all()))


def _sparse(table: np.ndarray) -> bool:
    """Whether a square table may be an adjacency: zeros and ones, or a zero between different points."""
    return bool(np.isin(table, (0, 1)).all() or (table == 0).sum() > len(table))


def matrix_content(
    source: Source, table: np.ndarray, said: tuple[str, ...] = (), labels: list[str] | None = None
) -> Content:
    """A square table as costs, or as the adjacency of a graph where the caller says so."""
    n = len(table)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or n == 0:
        raise InputError(
            f"{source.path}: expected a square matrix, found shape {table.shape}; pass --points for coordinates"
        )
    if source.kind == "adjacency":
        return adjacency_content(source, sp.csr_array(table), said, labels)
    flags = "" if source.kind or labels else "; --points reads coordinates"
    if not source.kind and _sparse(table):
        flags = "; --adjacency reads edges"
    return Content(table, "matrix", "; ".join([f"a {n} x {n} matrix of costs{flags}", *said]), labels)


def adjacency_content(
    source: Source, table: sp.csr_array, said: tuple[str, ...] = (), labels: list[str] | None = None
) -> Content:
    """A square table, dense or sparse, as a graph with an edge for every entry that is not zero."""
    shape = tuple(table.shape)  # pyright: ignore[reportArgumentType]
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise InputError(f"{source.path}: expected a square adjacency matrix, found shape {shape}")
    if "complex" in str(table.dtype):
        raise InputError(f"{source.path}: expected real numbers, found complex ones; keep their modulus")
    if not np.isfinite(table.data).all():
        bad = int((~np.isfinite(table.data)).sum())
        raise InputError(f"{source.path}: {bad} of {table.nnz} entries are NaN or infinite; remove them")
    table = sp.csr_array(table, dtype=float)
    table.eliminate_zeros()
    directed = (table != table.T).nnz > 0
    graph = nx.from_scipy_sparse_array(table, create_using=nx.DiGraph() if directed else nx.Graph())  # pyright: ignore
    text = f"{'directed ' * directed}adjacency of {len(graph)} nodes and {graph.number_of_edges()} edges"
    offer = "--weight weight takes the entries as lengths" if table.nnz and not (table.data == 1).all() else ""
    return Content(graph, "graph", "; ".join([text, *said]), labels, offer=offer)


def points_content(
    source: Source, table: np.ndarray, said: tuple[str, ...] = (), labels: list[str] | None = None
) -> Content:
    """Rows as coordinates."""
    if table.ndim != 2 or 0 in table.shape:
        raise InputError(f"{source.path}: expected coordinates of shape (n, d), found shape {table.shape}")
    if not np.isfinite(table).all():
        bad = int((~np.isfinite(table)).sum())
        raise InputError(f"{source.path}: {bad} of {table.size} coordinates are NaN or infinite; remove these points")
    n, d = table.shape
    flag = "" if source.kind else ("; --edges reads edges" if d <= 3 else "")
    flag = "; --matrix reads costs" if n == d and not source.kind else flag
    return Content(table, "points", "; ".join([f"{n} points in {d} dimensions{flag}", *said]), labels)
