"""Few eigenvalues of Euclidean distances: shares of the value beside the sorting bounds and quotients by clusters."""

from __future__ import annotations

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import cdist

import gwfast
from benchmarks import record
from benchmarks.large import cpu

N, SMALL, CLUSTERS = 6_000, 2_000, 400
PAIRS = (("mixture", "cube"), ("helix", "ball"), ("mixture", "helix"), ("ball", "cube"))


def shape(name: str, n: int, equal: bool) -> np.ndarray:
    """A sample (n, 3) of spread 1; with `equal` that of each coordinate."""
    rng = np.random.default_rng(len(name))
    z = rng.normal(size=(n, 3))
    if name == "ball":
        z *= (rng.random(n) ** (1 / 3) / np.linalg.norm(z, axis=1))[:, None]
    elif name == "cube":
        z = rng.random((n, 3))
    elif name == "helix":
        t = rng.random(n) * 4 * np.pi
        z = np.column_stack([np.cos(t), np.sin(t), t / 6]) + 0.05 * z
    else:
        z = 0.2 * z + rng.choice([-1, 1], (n, 3)) * np.array([1.0, 0.6, 0.3])
    return (z - z.mean(axis=0)) / (z.std(axis=0) if equal else z.std())


def quotient(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Costs and weights of clusters, and the distance from the space to them."""
    centres, label = kmeans2(X, CLUSTERS, minit="++", seed=1, iter=8)
    used, label = np.unique(label, return_inverse=True)
    small = cdist(centres[used], centres[used])
    apart = float(np.sqrt(((cdist(X, X) - small[np.ix_(label, label)]) ** 2).mean()))
    return small, np.bincount(label) / len(X), apart


def triangle(X: np.ndarray, Y: np.ndarray) -> float:
    """Bound of the objective by the triangle inequality over the quotients of both."""
    (C1, p, e1), (C2, q, e2) = quotient(X), quotient(Y)
    return max(gwfast.lower_bound(C1, C2, p, q, effort="spectral").lower ** 0.5 - e1 - e2, 0.0) ** 2


def run() -> None:
    """Measure and write the record."""
    rows = []
    for first, second, equal in ((*pair, equal) for equal in (False, True) for pair in PAIRS):
        x, y = (gwfast.PointCloud(shape(name, N, equal)) for name in (first, second))
        value = gwfast.exact_gw(x, y).value
        seconds, proved = cpu(lambda: gwfast.lower_bound(x, y, effort="spectral"))
        sorts = max(b.value for b in proved.bounds if b.theorem != "subspace-eigenvalues")
        row = {"first": first, "second": second, "equal": equal, "cpu_s": seconds, "sorting": sorts / value}
        row |= {"subspace": proved["subspace-eigenvalues"].value / value}
        X, Y = (shape(name, SMALL, equal) for name in (first, second))
        row["quotients"] = triangle(X, Y) / gwfast.exact_gw(gwfast.PointCloud(X), gwfast.PointCloud(Y)).value
        rows.append(row)
        print(row, flush=True)
    record.write("subspace", {"n": N, "quotient_n": SMALL, "clusters": CLUSTERS}, rows)


def table() -> str:
    """Shares of the value as a Markdown table."""
    lines = ["| shapes | sorting | few eigenvalues | CPU s | quotients |", "|---|---|---|---|---|"]
    for r in record.read("subspace")["rows"]:
        shares = f"{r['sorting']:.2f} | {r['subspace']:.2f} | {r['cpu_s']:.1f} | {r['quotients']:.2f}"
        spreads = ", equal spreads" if r["equal"] else ""
        lines.append(f"| {r['first']}, {r['second']}{spreads} | {shares} |")
    return "\n".join(lines)
