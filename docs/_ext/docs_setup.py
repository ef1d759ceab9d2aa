"""Names that the examples of the theory pages share."""

import networkx as nx
import numpy as np

import gwfast

__all__ = ["bounds", "cycle", "loss", "noisy", "nx", "regular_pair", "triangles"]


def bounds(C1, C2, effort="spectral", **more):
    """Every lower bound by its label, clipped at 0 and rounded to six digits."""
    certificate = gwfast.lower_bound(C1, C2, effort=effort, **more)
    return {b.theorem: round(float(b.value), 6) + 0.0 for b in certificate.bounds}


def loss(C1, C2, T):
    """GW(T) by its definition, with four loops' worth of memory."""
    gap = C1[:, None, :, None] - C2[None, :, None, :]
    return float(np.einsum("ikjl,ik,jl->", gap**2, T, T))


def cycle(n):
    """Adjacency of a cycle."""
    return nx.to_numpy_array(nx.cycle_graph(n))


def triangles(count=2):
    """Adjacency of disjoint triangles."""
    return np.kron(np.eye(count), 1 - np.eye(3))


def noisy(C, share, seed=0):
    """A noisy, shuffled copy of a symmetric cost."""
    rng = np.random.default_rng(seed)
    E, order = rng.normal(size=C.shape), rng.permutation(len(C))
    return (C + share * C.std() * (E + E.T) / 2)[np.ix_(order, order)]


def regular_pair():
    """The rook's graph on a 4 x 4 board and the Shrikhande graph: strongly regular, the same parameters."""
    rook = nx.to_numpy_array(nx.line_graph(nx.complete_bipartite_graph(4, 4)))
    i, j = np.divmod(np.arange(16), 4)
    step = {(0, 1), (0, 3), (1, 0), (3, 0), (1, 1), (3, 3)}
    moves = zip(((i[:, None] - i) % 4).ravel(), ((j[:, None] - j) % 4).ravel())
    shrikhande = np.array([float((int(a), int(b)) in step) for a, b in moves]).reshape(16, 16)
    return rook, shrikhande
