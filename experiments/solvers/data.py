"""Real data from a folder given by the user: molecule graphs (MUTAG) and neurons.

MUTAG: the TUDataset text files ``MUTAG/MUTAG_A.txt`` (edges) and ``MUTAG/MUTAG_graph_indicator.txt``.
Neurons: ``neurons/icdm_geodesic.csv`` of CAJAL's repository, condensed geodesic distances, a line a neuron.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import shortest_path
from scipy.spatial.distance import squareform


def molecules(folder: Path) -> list[np.ndarray]:
    """Shortest-path costs of the molecule graphs."""
    edges = np.loadtxt(folder / "MUTAG" / "MUTAG_A.txt", delimiter=",", dtype=int) - 1
    owner = np.loadtxt(folder / "MUTAG" / "MUTAG_graph_indicator.txt", dtype=int) - 1
    whole = sp.csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(owner), len(owner)))
    return [
        shortest_path(whole[nodes][:, nodes], unweighted=True, directed=False)
        for nodes in (np.flatnonzero(owner == g) for g in range(owner.max() + 1))
    ]


def neurons(folder: Path) -> list[np.ndarray]:
    """Geodesic distances between the sampled points of each neuron, divided by their overall mean."""
    lines = (folder / "neurons" / "icdm_geodesic.csv").read_text().splitlines()[1:]
    costs = [squareform(np.array(line.split(",")[1:], dtype=float)) for line in lines if line]
    scale = float(np.mean([c.mean() for c in costs]))
    return [c / scale for c in costs]
