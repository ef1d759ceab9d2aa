"""Large graphs as spaces: lengths of shortest paths, computed from some nodes at a time."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Executor
from threading import Lock
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from gwfast.arrays import Array
from gwfast.arrays.precision import EPS
from gwfast.errors import InputError
from gwfast.kernels.auction.kd_tree import blocks_of
from gwfast.kernels.rows.paths import LANES, near_paths, paths
from gwfast.kernels.rows.threads import on_threads
from gwfast.spaces.graph import adjacency_of
from gwfast.spaces.on_demand import Rows

_LANDMARKS = 4  # nodes whose distances tell which nodes are near each other
_WIDTH = 4.0  # step of the threshold, in mean edge lengths
_KEPT = 1 << 21  # numbers in rows that are kept: 16 MB
_NEAR = 4 * LANES  # nodes in order that a group may span


class Paths:
    """Rows of the shortest paths of an undirected connected graph; the latest ones are kept.

    Nodes are numbered anew on the inside, near nodes by near numbers, so that what a search touches lies together.
    """

    def __init__(self, adjacency: sp.csr_array) -> None:
        n = len(adjacency.indptr) - 1
        self.n, self._lock = n, Lock()
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._number(adjacency, np.arange(n))
        far = [0]
        nearest = np.full(n, np.inf)
        places = []
        for _ in range(min(n, _LANDMARKS)):
            places.append(self._computed(np.array(far[-1:]))[0])
            nearest = np.minimum(nearest, places[-1])
            far.append(int(nearest.argmax()))
        order = blocks_of(np.ascontiguousarray(np.column_stack(places)), max(1, n // LANES))[0]
        self._number(adjacency, order)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": OrderedDict(), "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock())

    def _number(self, adjacency: sp.csr_array, order: np.ndarray) -> None:
        self.order, self.rank = order, np.empty(self.n, np.int64)
        self.rank[order] = np.arange(self.n)
        inner = sp.csr_array(adjacency[order][:, order])
        self._graph = inner.indptr.astype(np.int64), inner.indices.astype(np.int64), inner.data
        self._width = _WIDTH * float(inner.data.mean()) if inner.nnz else 1.0

    def __call__(self, nodes: np.ndarray) -> np.ndarray:
        """Lengths (r, n) of the shortest paths from nodes (r,)."""
        if len(nodes) * self.n > _KEPT:  # a pass over all rows: none will be asked for again soon
            return self._computed(nodes)
        with self._lock:
            found = {i: self._kept[i] for i in nodes.tolist() if i in self._kept}
        missing = np.array([i for i in dict.fromkeys(nodes.tolist()) if i not in found], np.int64)
        for i, row in zip(missing.tolist(), self._computed(missing) if len(missing) else ()):
            found[i] = row
        with self._lock:
            for i in nodes.tolist():
                self._kept[i] = found[i]
                self._kept.move_to_end(i)
            while len(self._kept) * self.n > _KEPT:
                self._kept.popitem(last=False)
        return np.stack([found[i] for i in nodes.tolist()]) if len(nodes) else np.empty((0, self.n))

    def _computed(self, nodes: np.ndarray) -> np.ndarray:
        inner = self.rank[nodes]
        turn = np.argsort(inner)
        sources = inner[turn]
        out = np.empty((len(nodes), self.n))
        ends = sources[LANES - 1 :: LANES]
        near = len(ends) > 0 and np.median(ends - sources[::LANES][: len(ends)]) < _NEAR
        kernel = near_paths if near else paths
        on_threads(out.size, lambda first, step: kernel(*self._graph, sources, self._width, first, step, out))
        rows = np.empty_like(out)
        for at, row in zip(turn, out):
            rows[at] = row[self.rank]
        return rows


class GraphRows(Rows):
    """The space of shortest paths of a large undirected graph, whose matrix of costs is never stored.

    Parameters
    ----------
    graph : networkx graph, scipy.sparse matrix (n, n), array (n, n) or pandas DataFrame (n, n)
        As for `Graph`; connected and undirected.
    weight : str, bool or None
        As for `Graph`.
    weights : array (n,), optional
        Mass of each node, summing to 1.
    executor : concurrent.futures.Executor, optional
        As for `Rows`.

    Raises
    ------
    InputError
        The input is no graph, has directions, or has pairs that no path joins.

    Notes
    -----
    A row takes O(edges) time in practice; O(n + edges) memory, 16 MB of rows that were computed last, and a few blocks
    of rows.

    Examples
    --------
    >>> import gwfast, networkx as nx
    >>> gwfast.GraphRows(nx.path_graph(3)).dense()
    array([[0., 1., 2.],
           [1., 0., 1.],
           [2., 1., 0.]])
    """

    def __init__(
        self,
        graph: Any,
        *,
        weight: str | bool | None = None,
        weights: Array | None = None,
        executor: Executor | None = None,
    ) -> None:
        adjacency = adjacency_of(graph, weight)
        if adjacency.nnz and not adjacency.data.min() >= 0:  # NaN too
            raise InputError(f"graph: edge lengths must be >= 0, found {adjacency.data.min():.3g}")
        if (adjacency != adjacency.T).nnz:
            raise InputError(
                "graph: found edges with directions, expected an undirected graph; make it undirected, A.maximum(A.T) "
                "or graph.to_undirected()"
            )
        n = len(adjacency.indptr) - 1
        parts, label = connected_components(adjacency, directed=False)
        if parts > 1:
            missing = n * n - int((np.bincount(label).astype(np.int64) ** 2).sum())
            raise InputError(
                f"graph: {missing} of {n * n} ordered pairs of nodes are joined by no path; "
                "keep one connected component"
            )
        # a length of k edges is rounded k times, by half a unit each
        super().__init__(n, Paths(adjacency), weights, rounding=n * EPS, executor=executor)

    @property
    def order(self) -> np.ndarray:
        function: Any = self.function
        return np.argsort(getattr(function, "function", function).rank[self.index])
