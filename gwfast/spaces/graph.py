"""Graphs as spaces: adjacency or shortest-path cost from a matrix or a networkx graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import shortest_path

from gwfast import checks
from gwfast.arrays import Array, is_array, to_numpy
from gwfast.errors import InputError, warn
from gwfast.spaces.dense import Dense


@dataclass(frozen=True, eq=False, init=False)
class Graph(Dense):
    """A space given by a graph.

    Parameters
    ----------
    graph : networkx graph, array (n, n), scipy.sparse matrix (n, n) or pandas DataFrame (n, n)
        The graph or its adjacency matrix; an entry that is not zero is an edge, whether a sparse matrix stores zeros
        or not, and repeated entries of a sparse matrix are added up, as scipy does.  Directed graphs give asymmetric
        costs.  Of the parallel edges of a networkx multigraph the one with the least `weight` counts.  A DataFrame
        whose rows and columns have the same names in another order is put into the order of its rows.
    cost : {"shortest_path", "adjacency"}
        Cost between nodes: length of a shortest path, or the adjacency matrix itself.
    weight : str, bool or None
        networkx edge attribute used as edge length (as entry, for "adjacency"); edges without it count 1.  For a
        matrix, True uses its entries.  None counts every edge as 1.
    unreachable : float, optional
        Distance given to pairs that no path joins.  Without it such a graph is refused.
    weights : array (n,), optional
        Mass of each node, summing to 1.

    Raises
    ------
    InputError
        The input is no graph, or it has pairs that no path joins and `unreachable` is not given.

    Warns
    -----
    UserWarning
        A matrix has as many entries in every row and is not symmetric: a directed graph of nearest neighbours.

    Notes
    -----
    O(n (n + edges) log n) time for shortest paths, O(n^2) memory; `GraphRows` takes O(n + edges).

    Examples
    --------
    >>> import gwfast, networkx as nx
    >>> gwfast.Graph(nx.path_graph(3)).cost
    array([[0., 1., 2.],
           [1., 0., 1.],
           [2., 1., 0.]])
    """

    def __init__(
        self,
        graph: Any,
        cost: str = "shortest_path",
        *,
        weight: str | bool | None = None,
        unreachable: float | None = None,
        weights: Array | None = None,
    ) -> None:
        checks.choice(cost, ("shortest_path", "adjacency"), "cost")
        adjacency = adjacency_of(graph, weight)
        if cost == "shortest_path":
            matrix = _shortest_paths(adjacency, unreachable)
        else:
            matrix = adjacency.toarray()
        Dense.__init__(self, matrix, weights, "graph")
        object.__setattr__(self, "labels", checks.names(graph))


def adjacency_of(graph: Any, weight: str | bool | None) -> sp.csr_array:
    """Adjacency matrix of a graph in any form, checked; ones where edges have no lengths."""
    if hasattr(graph, "nodes") and hasattr(graph, "edges"):
        import networkx as nx

        if len(graph) == 0:
            raise InputError("graph: expected at least one node, found none")
        if weight is True:
            raise InputError("weight: True is for a matrix; name the edge attribute of the networkx graph")
        if weight and graph.number_of_edges() and not nx.get_edge_attributes(graph, weight):
            raise InputError(f"weight: no edge has the attribute {weight!r}; leave it out to count every edge as 1")
        try:
            simple = _simple(graph, weight or None)
            return sp.csr_array(nx.to_scipy_sparse_array(simple, weight=weight or None, dtype=float))  # pyright: ignore
        except (TypeError, ValueError) as error:
            raise InputError(f"weight: expected numbers in the edge attribute {weight!r} ({error})") from None
    if isinstance(weight, str):
        raise InputError(f"weight: the edge attribute {weight!r} needs a networkx graph; for a matrix pass True")
    graph = checks.table(graph, "graph")
    if sp.issparse(graph):
        if graph.ndim != 2 or "complex" in str(graph.dtype):
            found = f"shape {graph.shape}" if graph.ndim != 2 else f"dtype {graph.dtype}"
            raise InputError(f"graph: expected a real matrix (n, n), found a sparse array of {found}")
        matrix = sp.csr_array(graph, dtype=np.float64, copy=True)
        matrix.sum_duplicates()
        if not np.isfinite(matrix.data).all():
            bad = int((~np.isfinite(matrix.data)).sum())
            raise InputError(f"graph: {bad} of {matrix.nnz} stored entries are NaN or infinite; remove them")
        matrix.eliminate_zeros()
    elif is_array(graph) or isinstance(graph, list | tuple):
        matrix = sp.csr_array(to_numpy(checks.cost_matrix(graph, "graph")[0]))
    else:
        raise InputError(f"graph: expected a networkx graph or an adjacency matrix, found {type(graph).__name__}")
    shape = tuple(matrix.shape)  # pyright: ignore[reportArgumentType]
    if shape[0] != shape[1] or shape[0] == 0:
        raise InputError(f"graph: expected a square adjacency matrix, found shape {shape}")
    _warn_of_directions(matrix)
    if not weight:
        matrix.data = np.ones_like(matrix.data)
    return matrix


def _warn_of_directions(matrix: sp.csr_array) -> None:
    """Say that a graph of nearest neighbours has directions: every row has as many entries, columns have not."""
    out = np.diff(matrix.indptr)
    if out[0] >= 2 and (out == out[0]).all() and (matrix.astype(bool) != matrix.astype(bool).T).nnz:
        warn(
            f"graph: every node has edges to {out[0]} others, but not back, as in a graph of nearest neighbours, so "
            "the cost is asymmetric; for an undirected graph pass A.maximum(A.T), numpy.maximum(A, A.T) of an array"
        )


def _simple(graph: Any, weight: str | None) -> Any:
    """The graph with one edge, the shortest, for each set of parallel ones."""
    import networkx as nx

    if not graph.is_multigraph():
        return graph
    simple = nx.DiGraph() if graph.is_directed() else nx.Graph()
    simple.add_nodes_from(graph)
    name = weight or "weight"
    for u, v, data in graph.edges(data=True):
        length = data.get(weight, 1) if weight else 1
        if isinstance(length, float) and length != length:
            raise InputError(f"graph: the edge {u!r}, {v!r} has the length nan; remove it")
        if not simple.has_edge(u, v) or length < simple.edges[u, v][name]:
            simple.add_edge(u, v, **{name: length})
    return simple


def _shortest_paths(adjacency: sp.csr_array, unreachable: float | None) -> np.ndarray:
    if adjacency.nnz and not adjacency.data.min() >= 0:  # NaN too
        raise InputError(f"graph: edge lengths must be >= 0, found {adjacency.data.min():.3g}")
    distance = shortest_path(adjacency, directed=True)
    missing = ~np.isfinite(distance)
    if missing.any():
        if unreachable is None:
            far = distance[~missing].max() + 1
            directed = (adjacency != adjacency.T).nnz > 0
            fix = "make it undirected, A.maximum(A.T) or graph.to_undirected(), " if directed else ""
            raise InputError(
                f"graph: {int(missing.sum())} of {missing.size} ordered pairs of nodes are joined by no path; "
                f"{fix}keep one connected component or pass unreachable={far:g} (longest path + 1)"
            )
        distance[missing] = checks.number(unreachable, "unreachable")
    return distance
