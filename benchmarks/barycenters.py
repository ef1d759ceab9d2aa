"""Barycentres: values beside POT's, shares that are proved, two spaces with their middle, times."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import ot

import gwfast
from benchmarks import record
from benchmarks.record import median, timed
from gwfast.barycenters.bounds import PAIRS, SPECTRAL, VARIANCE

TRIPLES, N, POT_STARTS, LIMIT = 10, 10, 5, 12.0


def cloud(rng: np.random.Generator, n: int) -> np.ndarray:
    """Distances of a cloud in the plane."""
    x = rng.normal(size=(n, 2)) * rng.uniform(0.4, 1.6, 2)
    return np.linalg.norm(x[:, None] - x, axis=2)


def graph(rng: np.random.Generator, n: int) -> np.ndarray:
    """A random graph."""
    C = np.triu((rng.random((n, n)) < 0.4).astype(float), 1)
    return C + C.T


def mean_value(C: np.ndarray, costs: list[np.ndarray]) -> float:
    """Value of anybody's costs, by our plans."""
    return float(np.mean([gwfast.exact_gw(C, other).value for other in costs]))


def _triples(kind: str, draw: Callable[[np.random.Generator, int], np.ndarray]) -> list[dict]:
    rows = []
    for seed in range(TRIPLES):
        rng = np.random.default_rng(seed)
        costs = [draw(rng, N) for _ in range(3)]
        seconds, ours = timed(lambda costs=costs: gwfast.barycenter(costs, N))
        proving, proved = timed(lambda costs=costs: gwfast.barycenter(costs, N, effort="prove", time_limit=LIMIT))
        theirs, spent = [], []
        for k in range(POT_STARTS):
            took, C = timed(lambda costs=costs, k=k: ot.gromov.gromov_barycenters(N, costs, random_state=k))
            theirs.append(mean_value(C, costs))  # pyright: ignore[reportArgumentType]
            spent.append(took)
        assert isinstance(ours, gwfast.Barycenter)
        assert isinstance(proved, gwfast.Barycenter)
        row = {"part": "triples", "class": kind, "seed": seed, "value": ours.value, "pot": theirs[0]}
        row |= {"pot_best": min(theirs), "seconds": seconds, "pot_seconds": median(spent), "prove_seconds": proving}
        row |= {t: proved.certificate[t].value / proved.value for t in (VARIANCE, PAIRS, SPECTRAL)}
        rows.append(row | {"lower": proved.lower / proved.value})
        print(rows[-1], flush=True)
    return rows


def _middles() -> list[dict]:
    """Two clouds of which the second is a noisy copy: the plan is a permutation."""
    rows = []
    for seed in range(TRIPLES):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(N, 2))
        y = (x + 0.2 * rng.normal(size=x.shape))[rng.permutation(N)]
        spaces, w = [gwfast.PointCloud(x), gwfast.PointCloud(y)], float(rng.uniform(0.2, 0.8))
        pair = gwfast.exact_gw(*spaces, rtol=1e-7)
        found = gwfast.barycenter(spaces, N, [w, 1 - w], effort="prove")
        row = {"part": "middles", "seed": seed, "permutation": pair.plan.permutation is not None}
        rows.append(row | {"lower": found.lower / found.value})
        print(rows[-1], flush=True)
    return rows


def _sizes() -> list[dict]:
    rows = []
    for n in (30, 100, 300):
        rng = np.random.default_rng(n)
        costs = [cloud(rng, n) for _ in range(3)]
        seconds, found = timed(lambda costs=costs, n=n: gwfast.barycenter(costs, n))
        assert isinstance(found, gwfast.Barycenter)
        row = {"part": "sizes", "n": n, "seconds": seconds, "value": found.value}
        if n <= 30:
            took, C = timed(lambda costs=costs, n=n: ot.gromov.gromov_barycenters(n, costs, random_state=0))
            row |= {"pot_seconds": took, "pot": mean_value(C, costs)}  # pyright: ignore[reportArgumentType]
        rows.append(row)
        print(row, flush=True)
    return rows


def table() -> str:
    """Values and proved shares as a Markdown table."""
    rows = record.read("barycenters")["rows"]
    head = ["three spaces of 10 points", "value / POT's", "value / best of five of POT's", "proved share", "seconds"]
    head += ["seconds to prove", "POT's seconds"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for kind, name in (("cloud", "clouds in the plane"), ("graph", "random graphs")):
        cell = [r for r in rows if r.get("class") == kind]
        ratios = [f"{np.mean([r['value'] / r[k] for r in cell]):.2f}" for k in ("pot", "pot_best")]
        shares = [r["lower"] for r in cell]
        share = f"{np.mean(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})"
        times = [f"{median([r[k] for r in cell]):.2g}" for k in ("seconds", "prove_seconds", "pot_seconds")]
        lines.append(f"| {' | '.join([name, *ratios, share, *times])} |")
    return "\n".join(lines)


def run() -> None:
    """Write records/barycenters.json."""
    gwfast.barycenter([np.eye(3), np.ones((3, 3))], 3)  # loads the kernels
    rows = [*_triples("cloud", cloud), *_triples("graph", graph), *_middles(), *_sizes()]
    record.write("barycenters", {"triples": TRIPLES, "n": N, "pot_starts": POT_STARTS, "prove_s": LIMIT}, rows)
