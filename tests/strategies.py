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


@st.composite
def known_cases(draw, max_points=6):
    """Draw a Case of couplings and its optimum, which a formula knows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, m = draw(st.integers(1, max_points)), draw(st.integers(1, max_points))
    kind = draw(st.sampled_from(["copy", "split", "constants", "sums", "products", "one point"]))
    p, q = weights(rng, n, "spread"), weights(rng, m, "spread")
    if kind in ("copy", "split"):
        C = cost(rng, n, draw(st.sampled_from(("normal", "cloud", "graph", "gram"))), draw(st.booleans()))
        order = rng.permutation(n)
        if kind == "split":  # the first point twice, each with half its mass
            order, halves = np.append(order, 0), np.where(np.arange(n) == 0, 0.5, 1.0)
            return Case(C, C[np.ix_(order, order)], p, (p * halves)[order], None, None), 0.0
        return Case(C, C[np.ix_(order, order)], p, p[order], None, None), 0.0
    if kind == "constants":
        a, b = rng.normal(size=2)
        return Case(np.full((n, n), a), np.full((m, m), b), p, q, None, None), float((a - b) ** 2)
    if kind == "one point":
        C, b = cost(rng, n, "normal", draw(st.booleans())), float(rng.normal())
        return Case(C, np.full((1, 1), b), p, np.ones(1), None, None), float(p @ (C - b) ** 2 @ p)
    f, g = rng.normal(size=n), rng.normal(size=m)
    if kind == "sums":  # f_i + f_j: sorting is optimal
        C1, C2 = f[:, None] + f, g[:, None] + g
        orders = (1,)
    else:  # f_i f_j of numbers > 0: one of the two sorted plans is optimal, here the increasing one
        f, g = np.abs(f), np.abs(g)
        C1, C2 = np.outer(f, f), np.outer(g, g)
        orders = (1, -1)
    values = [_sorted_value(C1, C2, f, s * g, p, q) for s in orders]
    return Case(C1, C2, p, q, None, None), min(values)


def _sorted_value(C1, C2, f, g, p, q):
    """Objective of the plan that sorts two features, by the north-west corner rule."""
    i, k = np.argsort(f, kind="stable"), np.argsort(g, kind="stable")
    left, right = p[i].copy(), q[k].copy()
    T, a, b = np.zeros((len(p), len(q))), 0, 0
    while a < len(p) and b < len(q):
        mass = min(left[a], right[b])
        T[i[a], k[b]] += mass
        left[a] -= mass
        right[b] -= mass
        if left[a] <= right[b]:
            a += 1
        else:
            b += 1
    gap = C1[:, None, :, None] - C2[None, :, None, :]
    return float(np.einsum("ikjl,ik,jl->", gap**2, T, T))
