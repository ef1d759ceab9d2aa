"""Large spaces: value, proved share, CPU seconds and peak memory of the whole process, each case in one of its own."""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

import gwfast
from benchmarks import record

SHAPES = ("ball", "mixture", "surface")
KINDS = ("copy 1 %", "copy 10 %", "resample", "unrelated")
SMALL, MIDDLE, LARGE = 2_000, 20_000, 100_000
LARGE_CASES = (("mixture", "copy 1 %"), ("surface", "unrelated"))
OTHER = 15_000  # points of the second side where the sizes differ
FEATURES = 30
SHARE = 0.05  # epsilon over the product loss
RANK = 20  # of POT's low-rank plans
PROVED, PROOF_LIMIT = 4_096, 120.0  # points, and seconds, of proofs by rotations
ROW_CASES = {"distances": ("copy 1 %", "resample", "unrelated"), "graph": ("copy 1 %", "resample")}
UNEVEN_LIMIT, ENTROPIC_LIMIT = 100.0, 120.0  # seconds of wall time of a search between two sizes, and of scalings
LIMIT = 600  # seconds of wall time after which a case is given up
ENTRIES = 1 << 16  # exponentials at a time, within a cache


def points(shape: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """A sample (n, 3) of a shape, of spread 1."""
    z = _raw(shape, n, rng)
    return z / z.std()


def _raw(shape: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Points of a solid ball, a mixture of eight normal laws, a sphere with bumps, or a box."""
    if shape == "box":
        return rng.uniform(-1, 1, size=(n, 3)) * [1.0, 0.7, 0.4]
    z = rng.normal(size=(n, 3))
    if shape == "mixture":
        centres = np.random.default_rng(8).normal(size=(8, 3)) * [1.5, 1.0, 0.6]
        return centres[rng.integers(8, size=n)] + 0.25 * z
    z /= np.linalg.norm(z, axis=1)[:, None]
    if shape == "ball":
        return z * rng.random((n, 1)) ** (1 / 3)
    bumps = np.random.default_rng(9).normal(size=(6, 3))
    bumps /= np.linalg.norm(bumps, axis=1)[:, None]
    return z * (1 + 0.8 * np.exp(12 * (z @ bumps.T - 1)).sum(axis=1))[:, None]


def samples(shape: str, kind: str, n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Points of both sides, and the true map of a copy; noise is a share of the spread."""
    rng = np.random.default_rng(n)
    x = points(shape, n, rng)
    if not kind.startswith("copy"):
        other = {"ball": "mixture", "mixture": "surface", "surface": "box"}[shape]
        return x, points(shape if kind == "resample" else other, m, rng), None
    target, y = rng.permutation(n), np.empty_like(x)
    y[target] = x + float(kind.split()[1]) / 100 * rng.normal(size=x.shape)
    return x, y, target


def spaces(x: np.ndarray, y: np.ndarray) -> tuple[gwfast.PointCloud, gwfast.PointCloud]:
    """Both as spaces, the second one turned."""
    turned = y @ np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    return gwfast.PointCloud(x, metric="sqeuclidean"), gwfast.PointCloud(turned, metric="sqeuclidean")


def peak() -> float:
    """Largest resident memory of this process so far, MB."""
    status = Path("/proc/self/status")
    if status.exists():  # the other counter begins with the memory of the parent
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cpu(call: Callable[[], gwfast.Result]) -> tuple[float, gwfast.Result]:
    """CPU seconds of all threads, and the result."""
    begin = time.process_time()
    result = call()
    return time.process_time() - begin, result


def told(seconds: float, result: gwfast.Result) -> dict:
    """What a row says of a result."""
    return {
        "cpu_s": seconds,
        "mb": peak(),
        "value": result.value,
        "proved": result.lower / result.value,
        "stop": result.stop.name,
    }


def objective(x: gwfast.PointCloud, y: gwfast.PointCloud, plan: Any) -> float:
    """Value of a plan, by the function that values our own."""
    return float(gwfast.certify(x, y, plan, effort="sort").upper)


def warm() -> None:
    """Load the compiled kernels."""
    for m in (1100, 1000):
        gwfast.exact_gw(*spaces(*samples("mixture", "resample", 1100, m)[:2]), method="multiscale")


def plain(shape: str, kind: str, n: int) -> dict:
    """One problem of n = m and equal weights, beside the true map of a copy."""
    warm()
    x, y, target = samples(shape, kind, n, n)
    first, second = spaces(x, y)
    row = told(*cpu(lambda: gwfast.exact_gw(first, second)))
    if target is not None:
        row["true_value"] = objective(first, second, gwfast.Plan.from_permutation(target, np.full(n, 1 / n)))
    return row


def beside(shape: str, kind: str) -> dict:
    """The search at n = 2000 beside the dense one and the independent coupling."""
    warm()
    x, y = spaces(*samples(shape, kind, SMALL, SMALL)[:2])
    row = told(*cpu(lambda: gwfast.exact_gw(x, y, method="multiscale")))
    dense_s, dense = cpu(lambda: gwfast.exact_gw(x, y, method="dense"))
    return row | {
        "dense_value": dense.value,
        "dense_s": dense_s,
        "dense_mb": peak(),
        "product_value": product_loss(x, y),
    }


def pot(shape: str, kind: str) -> dict:
    """POT's dense plan on the same problem."""
    from ot.gromov import gromov_wasserstein

    x, y = spaces(*samples(shape, kind, SMALL, SMALL)[:2])
    C, D = x.dense(), y.dense()
    begin = time.process_time()
    plan = gromov_wasserstein(C, D)
    return {"cpu_s": time.process_time() - begin, "mb": peak(), "value": objective(x, y, plan)}


def low_rank(shape: str, kind: str) -> dict:
    """POT's low-rank plan on the same problem; no value where it is not finite."""
    from ot.gromov import lowrank_gromov_wasserstein_samples

    x, y = spaces(*samples(shape, kind, SMALL, SMALL)[:2])
    begin = time.process_time()
    Q, R, g = (np.asarray(z) for z in lowrank_gromov_wasserstein_samples(x.points, y.points, rank=RANK))
    row = {"cpu_s": time.process_time() - begin, "mb": peak(), "value": None}
    plan = Q / g @ R.T
    if np.isfinite(plan).all() and plan.sum() > 0:
        row["value"] = objective(x, y, plan / plan.sum())
    return row


def uneven(what: str) -> dict:
    """Two sizes, with weights or with features."""
    warm()
    rng = np.random.default_rng(1)
    x, y, _ = samples("mixture", "resample", MIDDLE, OTHER)
    p, q, M = None, None, None
    if what == "weights":
        p, q = (w / w.sum() for w in (rng.uniform(0.5, 1.5, MIDDLE), rng.uniform(0.5, 1.5, OTHER)))
    if what == "features":  # smooth functions of the place, with noise
        slopes = rng.normal(size=(3, FEATURES))
        M = gwfast.FeatureCost(*(np.sin(z @ slopes) + 0.2 * rng.normal(size=(len(z), FEATURES)) for z in (x, y)))
    first, second = spaces(x, y)
    return told(*cpu(lambda: gwfast.exact_gw(first, second, p, q, M=M, time_limit=UNEVEN_LIMIT)))


def neighbours(x: np.ndarray, k: int = 8) -> sparse.csr_array:
    """Graph of the k nearest neighbours of points (n, d), in either direction, with their distances as lengths."""
    length, j = cKDTree(x).query(x, k + 1)
    i = np.repeat(np.arange(len(x)), k)
    A = sparse.csr_array((length[:, 1:].ravel(), (i, j[:, 1:].ravel())), shape=(len(x), len(x)))
    return A.maximum(A.T)


def rows(what: str, kind: str) -> dict:
    """Spaces that compute their rows: Euclidean distances, or shortest paths."""
    space = gwfast.PointCloud if what == "distances" else lambda z: gwfast.GraphRows(neighbours(z), weight=True)
    small = (space(z) for z in samples("surface", "resample", 1100, 1100)[:2])
    gwfast.exact_gw(*small)
    x, y, target = samples("surface", kind, MIDDLE, MIDDLE)
    first, second = space(x), space(y)
    row = told(*cpu(lambda: gwfast.exact_gw(first, second)))
    if target is not None:
        plan = gwfast.Plan.from_permutation(target, np.full(MIDDLE, 1 / MIDDLE))
        row["true_value"] = float(gwfast.certify(first, second, plan, effort="sort").upper)
    return row


def proof(shape: str) -> dict:
    """What rotations prove between unrelated shapes of some thousand points."""
    warm()
    x, y = spaces(*samples(shape, "unrelated", PROVED, PROVED)[:2])
    call = lambda: gwfast.exact_gw(x, y, effort="prove", time_limit=PROOF_LIMIT, memory_limit=1e8)
    return told(*cpu(call))


def product_loss(x: gwfast.PointCloud, y: gwfast.PointCloud) -> float:
    """Objective of the independent coupling, from means over pairs alone."""
    weighted = (gwfast.PointCloud(s.points, s.metric, np.full(s.n, 1 / s.n)).moments for s in (x, y))
    (first, mean), (second, other) = ((float(s.second), float(s.total)) for s in weighted)
    return first + second - 2 * mean * other


def exponentials() -> float:
    """CPU seconds of one exponential in single precision, within a cache."""
    z, out = np.linspace(-20, 0, ENTRIES, dtype=np.float32), np.empty(ENTRIES, np.float32)
    begin = time.process_time()
    for _ in range(2000):
        np.exp(z, out=out)
    return (time.process_time() - begin) / 2000 / ENTRIES


def entropic(kind: str) -> dict:
    """Entropic plan beside the floor: one exponential an entry and scaling."""
    from gwfast.large import entropic as inside

    warm()
    small = spaces(*samples("mixture", kind, 1100, 1100)[:2])
    gwfast.entropic_gw(*small, epsilon=SHARE * product_loss(*small))
    x, y = spaces(*samples("mixture", kind, MIDDLE, MIDDLE)[:2])
    with mock.patch.object(inside, "_sweep", wraps=inside._sweep) as sweep:
        epsilon = SHARE * product_loss(x, y)
        seconds, found = cpu(lambda: gwfast.entropic_gw(x, y, epsilon=epsilon, time_limit=ENTROPIC_LIMIT))
    single = sum(bool(call.args[2]) for call in sweep.call_args_list)
    floor = MIDDLE**2 * exponentials()
    row = told(seconds, found) | {"scalings": sweep.call_count, "single": single, "floor_s": floor}
    return row | {"scaling_s": seconds / sweep.call_count, "steps": found.iterations}


def cases() -> Iterator[tuple[dict, Callable[..., dict], tuple]]:
    """What is said of every row first, the function that measures it, and its arguments; the quick ones first."""
    for n in (SMALL, MIDDLE):
        for shape in SHAPES:
            for kind in KINDS:
                yield {"case": "plain", "shape": shape, "kind": kind, "n": n}, plain, (shape, kind, n)
    for what in ("sizes", "features"):
        yield {"case": what, "shape": "mixture", "kind": "resample", "n": MIDDLE, "m": OTHER}, uneven, (what,)
    for shape, kind in LARGE_CASES:
        yield {"case": "plain", "shape": shape, "kind": kind, "n": LARGE}, plain, (shape, kind, LARGE)
    named = {"shape": "mixture", "kind": "resample", "n": MIDDLE}
    yield {"case": "weights", **named, "m": OTHER}, uneven, ("weights",)
    for what, kinds in ROW_CASES.items():
        for kind in kinds:
            yield {"case": what, "shape": "surface", "kind": kind, "n": MIDDLE}, rows, (what, kind)
    for shape in SHAPES:
        yield {"case": "proof", "shape": shape, "kind": "unrelated", "n": PROVED}, proof, (shape,)
    yield {"case": "entropic", **named}, entropic, ("resample",)
    for case in (beside, low_rank, pot):
        for shape in SHAPES:
            for kind in KINDS[1:]:
                yield {"case": case.__name__, "shape": shape, "kind": kind, "n": SMALL}, case, (shape, kind)


def slopes(found: list[dict]) -> list[dict]:
    """Log-log slopes of CPU seconds between the two largest sizes."""
    out = []
    for shape, kind in LARGE_CASES:
        same = (r for r in found if (r["case"], r["shape"], r["kind"]) == ("plain", shape, kind) and "cpu_s" in r)
        cell = {r["n"]: r["cpu_s"] for r in same}
        if {MIDDLE, LARGE} <= set(cell):
            slope = math.log(cell[LARGE] / cell[MIDDLE]) / math.log(LARGE / MIDDLE)
            out.append({"case": "slope", "shape": shape, "kind": kind, "slope": slope})
    return out


def _lines(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


NAMES = {"plain": "", "sizes": "two sizes", "weights": "two sizes, weights", "features": f"{FEATURES} features"}
NAMES |= {"distances": "Euclidean distances", "graph": "graph of 8 neighbours", "proof": 'effort="prove"'}


def table() -> str:
    """The search at 20,000 points and more as a Markdown table."""
    rows = []
    for r in record.read("large")["rows"]:
        if r["case"] not in NAMES or (r["n"] < MIDDLE and r["case"] != "proof"):
            continue
        size = f"{r['n']:,}" + (f" x {r['m']:,}" if "m" in r else "")
        name = ", ".join(filter(None, (r["shape"], r["kind"], NAMES[r["case"]])))
        if "over_s" in r:
            rows.append([name, size, f"over {r['over_s']}", "", "", ""])
            continue
        true = f"{r['value'] / r['true_value']:.2f}" if "true_value" in r else ""
        limit = " (limit)" if r["stop"] == "TIME_LIMIT" else ""
        rows.append([name, size, f"{_seconds(r['cpu_s'])}{limit}", f"{r['mb']:.0f}", true, f"{r['proved']:.2f}"])
    return _lines(["points", "n", "CPU s", "MB", "value / true map's", "proved"], rows)


def table_beside() -> str:
    """Values at n = 2000 over that of the dense search, and seconds, as a Markdown table."""
    content = record.read("large")["rows"]
    rows = []
    for r in content:
        if r["case"] == "beside" and "over_s" not in r:
            dense = r["dense_value"]
            row = [f"{r['shape']}, {r['kind']}", _ratio(r, dense), f"1, {r['dense_s']:.2g} s"]
            same = (s for s in content if (s["case"], s["shape"], s["kind"]) == ("low_rank", r["shape"], r["kind"]))
            row.append(_ratio(next(same, None), dense))
            rows.append([*row, f"{r['product_value'] / dense:.3g}"])
    return _lines(["points", "multiscale", "dense", f"POT, rank {RANK}", "product coupling"], rows)


def _seconds(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _ratio(row: dict | None, dense: float) -> str:
    if row is None:
        return "-"
    if "over_s" in row:
        return f"over {row['over_s']} s"
    share = "not finite" if row["value"] is None else f"{row['value'] / dense:.3g}"
    return f"{share}, {row['cpu_s']:.2g} s"


def apart(measure: Callable[..., dict], arguments: tuple, limit: float) -> dict:
    """What a process of its own finds; the limit where it is given up."""
    try:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply_async(measure, arguments).get(limit)
    except multiprocessing.TimeoutError:
        return {"over_s": round(limit)}


def run() -> None:
    """Measure, a case a processor, and write the record after every case: a run that is stopped leaves what it has."""
    warnings.simplefilter("ignore")
    found: list[dict] = []
    config = {"features": FEATURES, "epsilon": f"{SHARE} x product loss", "rank": RANK}
    config |= {"uneven_limit_s": UNEVEN_LIMIT, "entropic_limit_s": ENTROPIC_LIMIT, "limit_s": LIMIT}
    todo = list(cases())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (named, _, _), row in zip(todo, pool.map(lambda case: apart(case[1], case[2], LIMIT), todo)):
            found.append(named | row)
            print("large", found[-1], flush=True)
            record.write("large", config, found + slopes(found))
