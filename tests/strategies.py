"""Hypothesis strategies that draw a problem, some with its known answer."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st


@dataclass(frozen=True, eq=False)
class Case:
    """Arguments of a front door, in numpy."""

    C1: np.ndarray
    C2: np.ndarray
    p: np.ndarray | None
    q: np.ndarray | None
    M: np.ndarray | None
    alpha: float | None

    @property
    def weights(self):
        n, m = len(self.C1), len(self.C2)
        p = np.full(n, 1 / n) if self.p is None else self.p
        q = np.full(m, 1 / m) if self.q is None else self.q
        return p, q

    @property
    def share(self):
        return 1.0 if self.M is None else self.alpha

    @property
    def size(self):
        """The scale of rounding errors: E C1^2 + E C2^2."""
        p, q = self.weights
        return float(p @ self.C1**2 @ p + q @ self.C2**2 @ q) + 1e-300


KINDS = ("normal", "cloud", "graph", "gram", "ties", "low-rank", "scaled")


def cost(rng, n, kind, symmetric=True):
    """Draw a random cost matrix (n, n) of a kind."""
    if kind == "cloud":
        x = rng.normal(size=(n, 2))
        C = np.linalg.norm(x[:, None] - x[None], axis=2)
    elif kind == "graph":
        C = (rng.random((n, n)) < 0.4).astype(float)
        C = np.maximum(C, C.T)
        np.fill_diagonal(C, 0)
    elif kind == "gram":
        H = rng.random((3, n)) * (rng.random((3, n)) < 0.7)
        C = H.T @ H
    elif kind == "ties":
        C = rng.integers(0, 3, size=(n, n)).astype(float)
    elif kind == "low-rank":
        u = rng.normal(size=n)
        C = np.outer(u, u)
    elif kind == "scaled":
        C = rng.normal(size=(n, n)) * 10.0 ** rng.integers(-40, 40)
    else:
        C = rng.normal(size=(n, n))
    if symmetric:
        return (C + C.T) / 2
    return C + 0.5 * np.abs(C).max() * rng.normal(size=(n, n))


def weights(rng, n, kind):
    """Draw weights (n,): None (uniform), spread, or over ten orders of magnitude."""
    if kind == "uniform":
        return None
    p = rng.random(n) + 0.05 if kind == "spread" else 10.0 ** rng.uniform(-10, 0, size=n)
    return p / p.sum()


@st.composite
def cases(draw, max_points=6, equal=None, symmetric=None, weighted=None, fused=None, kinds=KINDS):
    """Draw a Case; an argument that is not None fixes that side of it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, max_points))
    m = n if (draw(st.booleans()) if equal is None else equal) else draw(st.integers(1, max_points))
    is_symmetric = draw(st.booleans()) if symmetric is None else symmetric
    first, second = draw(st.sampled_from(kinds)), draw(st.sampled_from(kinds))
    kind = draw(st.sampled_from(["uniform", "spread", "decades"]))
    if weighted is not None:
        kind = "spread" if weighted else "uniform"
    C1, C2 = cost(rng, n, first, is_symmetric), cost(rng, m, second, is_symmetric)
    if "scaled" in (first, second):
        C2 = C2 * (np.abs(C1).max() + 1e-30) / (np.abs(C2).max() + 1e-30)
    M = alpha = None
    if draw(st.booleans()) if fused is None else fused:
        M, alpha = rng.normal(size=(n, m)) * np.abs(C1).max() ** 2, draw(st.sampled_from([0.0, 0.3, 1.0]))
    return Case(C1, C2, weights(rng, n, kind), weights(rng, m, kind), M, alpha)
