"""How far the deep bounds close the gap: proved lower bounds against the best plan known, by class and time."""

from __future__ import annotations

import time
from functools import cache

import networkx as nx
import numpy as np
from scipy.spatial.distance import cdist

import gwfast
from benchmarks import record
from gwfast.bounds.doubly_nonnegative import cone_bound
from gwfast.bounds.quadratic import quadratic_bound
from gwfast.bounds.rlt1 import reformulation_bound
from gwfast.bounds.spectral import eigenvalue_bounds
from gwfast.bounds.split import split_bounds
from gwfast.bounds.third_lower_bound import row_bounds
from gwfast.budget import Budget
from gwfast.presolve import presolve
from gwfast.problem import Problem
from gwfast.searches.branch_and_bound import permutation_search
from gwfast.searches.low_dimension import low_dimension_search

SEEDS = 5
# class: largest gap asked for at n = 50 within ten seconds
CLOSING = {
    "cloud, 10 % noisy copy": 0.001,
    "cloud, 30 % noisy copy": 0.005,
    "co-activation, 10 % noisy copy": 0.01,
    "co-activation": 0.07,
    "squared cloud": 0.25,
    "cloud": 0.30,
    "ba paths": 0.46,
    "sbm": 0.82,
}
QUICK, LONG, LARGE = (50, 0.15), (50, 60.0), (100, 60.0)  # points and seconds
# class: gaps asked for; at .15 and 60 seconds, and with 100 points
ANYTIME = {
    "cloud, 10 % noisy copy": {QUICK: 0.10, LONG: 1e-6, LARGE: 0.003},
    "cloud, 30 % noisy copy": {QUICK: 0.33, LONG: 1e-6, LARGE: 0.015},
    "co-activation, 10 % noisy copy": {QUICK: 0.28, LONG: 1e-6},
    "co-activation": {QUICK: 0.15, LONG: 0.01, LARGE: 0.10},
    "squared cloud": {QUICK: 0.49, LONG: 0.05},
    "cloud": {QUICK: 0.66, LONG: 0.10},
    "ba paths": {QUICK: 0.78, LONG: 0.30},
    "sbm": {QUICK: 0.91, LONG: 0.45},
}
SMALL = {"cloud": 16, "squared cloud": 16, "co-activation": 16, "ba paths": 16, "normal": 12, "er": 14, "sbm": 14}
PAIRS = 20  # of small graphs
SEARCHES = (("co-activation", 40, 2.0), ("cloud", 24, 2.0), ("squared cloud", 30, 1.0), ("normal", 14, 1.0))


def cost(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """One cost (n, n) of a class."""
    if kind in ("cloud", "squared cloud"):
        x = rng.normal(size=(n, 3))
        return cdist(x, x, "euclidean" if kind == "cloud" else "sqeuclidean")
    if kind == "normal":
        A = rng.normal(size=(n, n))
        return (A + A.T) / 2
    if kind in ("er", "sbm"):
        block = rng.integers(0, 3, n)
        chance = 0.4 if kind == "er" else np.where(block[:, None] == block[None], 0.6, 0.1)
        A = np.triu(rng.random((n, n)) < chance, 1).astype(float)
        return A + A.T
    if kind == "ba paths":
        graph = nx.barabasi_albert_graph(n, 2, seed=int(rng.integers(10**9)))
        return np.asarray(nx.floyd_warshall_numpy(graph))
    base = -np.log1p(np.arange(n))
    rng.shuffle(base)
    logits = base + 2.0 * rng.normal(size=(4 * n, n))
    top = np.argpartition(-logits, 7, axis=1)[:, :8]
    kept = np.take_along_axis(logits, top, axis=1)
    kept = np.exp(kept - kept.max(axis=1, keepdims=True))
    H = np.zeros_like(logits)
    np.put_along_axis(H, top, kept / kept.sum(axis=1, keepdims=True), axis=1)
    return H.T @ H / len(H)


def pair(kind: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two costs of a class, or one and a noisy, shuffled copy of it."""
    rng = np.random.default_rng(7919 * seed + n)
    name, _, noise = kind.partition(", ")
    first = cost(name, n, rng)
    if not noise:
        return first, cost(name, n, rng)
    E, order = rng.normal(size=(n, n)), rng.permutation(n)
    share = int(noise.split()[0]) / 100
    return first, (first + share * first.std() * (E + E.T) / 2)[np.ix_(order, order)]


def problem_of(C1: object, C2: object):
    return presolve(Problem.of(C1, C2)).problem


def _gap(upper: float, lower: float) -> float:
    return max(0.0, (upper - float(lower)) / upper)


def ladder(kind: str, n: int, seed: int, seconds: float) -> dict:
    """Gaps after the cheap rungs and after `seconds` of the reformulation, the plan's search included."""
    C1, C2 = pair(kind, n, seed)
    problem = problem_of(C1, C2)
    begin = time.perf_counter()
    upper = float(gwfast.exact_gw(C1, C2).value)
    found = time.perf_counter() - begin
    begin = time.perf_counter()
    cheap = max(float(b.value) for b in (*row_bounds(problem)[0], *eigenvalue_bounds(problem)))
    rungs = time.perf_counter() - begin
    begin = time.perf_counter()
    middle = [*split_bounds(problem, upper), quadratic_bound(problem)[0]]
    lagrangian = time.perf_counter() - begin
    result = reformulation_bound(problem, upper, gap=1e-7, budget=Budget().within(seconds - found), sweeps=10**6)
    return {
        "class": kind,
        "n": n,
        "seed": seed,
        "seconds_asked": seconds,
        "upper": upper,
        "plan_s": found,
        "cheap_gap": _gap(upper, cheap),
        "cheap_s": rungs,
        "lagrangian_gap": _gap(upper, max(cheap, *(float(b.value) for b in middle))),
        "lagrangian_s": lagrangian,
        "gap": _gap(upper, max(cheap, result.bound.value)),
        "bound_s": result.seconds,
        "sweeps": result.sweeps,
    }


def anytime(kind: str, n: int, seed: int, seconds: float, gap: float, effort: str) -> dict:
    """Gap that the front door proves within a time limit, plan included."""
    C1, C2 = pair(kind, n, seed)
    result = gwfast.exact_gw(C1, C2, rtol=gap, effort=effort, time_limit=seconds)
    return {
        "class": kind,
        "n": n,
        "seed": seed,
        "upper": float(result.value),
        "gap": result.gap,
        "theorem": result.certificate.best.theorem,
        "seconds": result.seconds,
    }


def small(kind: str, n: int, seed: int) -> dict:
    """Gap of the doubly nonnegative bound within one second against the best permutation and plan."""
    C1, C2 = pair(kind, n, seed)
    problem = problem_of(C1, C2)
    exact = permutation_search(problem, budget=Budget().within(20))
    upper = min(float(problem.objective(exact.plan)), float(gwfast.exact_gw(C1, C2).value))
    cone = cone_bound(problem, upper, gap=1e-7, budget=Budget().within(1.0), steps=10**6)
    return {
        "class": kind,
        "n": n,
        "seed": seed,
        "upper": upper,
        "gap": _gap(upper, cone.bound.value),
        "bound_s": cone.seconds,
        "coupling_gap": _gap(upper, max(cone.bound.value, exact.coupling_bound.value)),
        "search_s": exact.seconds,
    }


def searched(kind: str, n: int, seed: int) -> dict:
    """Time to prove the best permutation."""
    problem = problem_of(*pair(kind, n, seed))
    result = permutation_search(problem, budget=Budget().within(60))
    value = float(problem.objective(result.plan))
    return {
        "class": kind,
        "n": n,
        "seed": seed,
        "value": value,
        "gap": _gap(value, result.bound.value),
        "nodes": result.nodes,
        "search_s": result.seconds,
    }


def planar(n: int, dimension: int, seed: int) -> dict:
    """Time of the box search to a gap of 1e-3 between squared Euclidean clouds."""
    rng = np.random.default_rng(seed)
    x, y = (gwfast.PointCloud(rng.normal(size=(n, dimension)), "sqeuclidean") for _ in range(2))
    problem = problem_of(x, y)
    result = low_dimension_search(problem, gap=1e-3, budget=Budget().within(60))
    value = float(problem.objective(result.plan))
    return {
        "class": f"squared cloud in R^{dimension}",
        "n": n,
        "seed": seed,
        "gap": _gap(value, result.bound.value),
        "cuts": result.cuts,
        "search_s": result.seconds,
    }


def atlas(pairs: int) -> dict:
    """Total time to solve random pairs of small graphs of equal size, in permutation form."""
    rng = np.random.default_rng(0)
    _atlas()
    solved, begin = 0, time.perf_counter()
    for _ in range(pairs):
        result = permutation_search(problem_of(*atlas_pair(rng, 2)))
        solved += result.stop.name == "OPTIMAL"
    return {"class": "graph atlas", "n": 7, "pairs": pairs, "solved": solved, "search_s": time.perf_counter() - begin}


@cache
def _atlas() -> list[nx.Graph]:
    return nx.graph_atlas_g()


def atlas_pair(rng: np.random.Generator, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Adjacency of two graphs of one size, `least` to 7 nodes."""
    graphs = [g for g in _atlas() if len(g) >= least]
    first = graphs[rng.integers(len(graphs))]
    same = [g for g in graphs if len(g) == len(first)]
    return nx.to_numpy_array(first), nx.to_numpy_array(same[rng.integers(len(same))])


def couplings(seed: int, seconds: float, gap: float) -> dict:
    """Gap over couplings between two small graphs, whose costs are indefinite, and how far the cone alone gets."""
    C1, C2 = atlas_pair(np.random.default_rng(seed), 6)
    permutation = permutation_search(problem_of(C1, C2))
    result = gwfast.exact_gw(C1, C2, rtol=gap, time_limit=seconds)
    proved = {b.theorem: float(b.value) for b in result.certificate.bounds}
    best = max(value for theorem, value in proved.items() if theorem != "coupling-search")
    upper = float(result.value)
    return {
        "class": "graph atlas",
        "n": len(C1),
        "seed": seed,
        "upper": upper,
        "best_permutation": float(problem_of(C1, C2).objective(permutation.plan)),
        "gap_before": _gap(upper, best) if upper > 0 else 0.0,
        "gap": result.gap,
        "seconds": result.seconds,
    }


def cheap(kind: str, n: int, seed: int) -> dict:
    """Time of the rungs by rows and eigenvalues, the best of three."""
    problem = problem_of(*pair(kind, n, seed))
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        row_bounds(problem), eigenvalue_bounds(problem)
        times.append(time.perf_counter() - begin)
    return {"class": kind, "n": n, "seed": seed, "cheap_s": min(times)}


def _keep(rows: list[dict], row: dict) -> None:
    rows.append(row)
    print("bounds", {k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}, flush=True)


def run(seconds: float = 10.0) -> None:
    """Measure how far the gap closes at n = 50 and write the record; compiled kernels are warmed up first."""
    ladder("cloud", 12, 0, 0.5)
    rows: list[dict] = []
    for seed in range(SEEDS):
        for kind in CLOSING:
            _keep(rows, {"suite": "closing", **ladder(kind, 50, seed, seconds)})
    record.write("bounds", {"seeds": SEEDS, "seconds": seconds, "asked": CLOSING}, rows)


def run_searches() -> None:
    """Measure small problems, exact searches and the cheap rungs, and write the record."""
    small("normal", 6, 0), searched("cloud", 8, 0), planar(8, 2, 0), planar(8, 1, 0)
    rows: list[dict] = []
    for seed in range(SEEDS):
        for kind, n in SMALL.items():
            _keep(rows, {"suite": "small", **small(kind, n, seed)})
        for kind, n, asked in SEARCHES:
            _keep(rows, {"suite": "permutations", "asked_s": asked, **searched(kind, n, seed)})
        for n, dimension, asked in ((50, 2, 0.05), (300, 2, 2.0), (1000, 1, 1.0)):
            _keep(rows, {"suite": "low dimension", "asked_s": asked, **planar(n, dimension, seed)})
        for kind in ("cloud", "ba paths", "sbm", "co-activation"):
            for n, asked in ((200, 0.03), (1000, 1.0)):
                if n == 200 or seed == 0:
                    _keep(rows, {"suite": "cheap", "asked_s": asked, **cheap(kind, n, seed)})
    _keep(rows, {"suite": "permutations", "asked_s": 60.0, **atlas(300)})
    for seed in range(PAIRS):
        _keep(rows, {"suite": "couplings", **couplings(seed, 10.0, 1e-3)})
    record.write("searches", {"seeds": SEEDS}, rows)


def _front_door(name: str, cells: list[tuple], rows: list[dict]) -> None:
    """Measure the front door on these cells, seed by seed."""
    for seed in range(SEEDS):
        for kind, n, seconds, asked in cells:
            row = anytime(kind, n, seed, seconds, 1e-7, "dual" if seconds < 1 else "prove")
            _keep(rows, {"suite": name, "asked_s": seconds, "asked_gap": asked, **row})
        record.write(name, {"seeds": SEEDS}, rows)


def _cells(*sizes: tuple[int, float]) -> list[tuple]:
    return [(kind, *size, aims[size]) for kind, aims in ANYTIME.items() for size in sizes if size in aims]


def run_quick() -> None:
    """Measure the front door: n = 50 within .15 seconds."""
    anytime("cloud", 50, 0, 5.0, 0.0, "dual")  # compiled
    _front_door("quick", _cells(QUICK), [])


def run_anytime() -> None:
    """Measure the front door within 60 seconds: n = 100, then n = 50."""
    anytime("cloud", 12, 0, 5.0, 0.0, "prove")
    rows: list[dict] = []
    for size in (LARGE, LONG):
        _front_door("anytime", _cells(size), rows)


if __name__ == "__main__":
    run()
    run_searches()
    run_quick()
    run_anytime()
