"""Deterministic inputs: pairs of shortest-path costs of random graphs, and of point clouds in R^3."""

from __future__ import annotations

import networkx as nx
import numpy as np
from scipy.sparse.csgraph import shortest_path
from scipy.spatial.distance import cdist

KINDS = ("sbm", "ba", "cloud")


def _graph(kind: str, n: int, seed: int):
    if kind == "ba":
        return nx.barabasi_albert_graph(n, 2, seed=seed)
    blocks = 4
    sizes = [n // blocks] * blocks
    sizes[-1] += n - sum(sizes)
    inside, outside = min(1.0, 12.0 / (n / blocks)), 1.5 / n
    chances = [[inside if i == j else outside for j in range(blocks)] for i in range(blocks)]
    graph = nx.Graph(nx.stochastic_block_model(sizes, chances, seed=seed))
    parts = [list(c) for c in nx.connected_components(graph)]
    for part in parts[1:]:
        graph.add_edge(parts[0][0], part[0])
    return graph


def _paths(graph) -> np.ndarray:
    return shortest_path(nx.to_scipy_sparse_array(graph, format="csr", dtype=float), unweighted=True, directed=False)


def pair(kind: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two unrelated costs (n, n) of one kind."""
    if kind == "cloud":
        rng = np.random.default_rng(1000 * seed + n)
        x, y = rng.normal(size=(n, 3)), rng.normal(size=(n, 3))
        return cdist(x, x), cdist(y, y)
    return _paths(_graph(kind, n, seed)), _paths(_graph(kind, n, seed + 5000))
