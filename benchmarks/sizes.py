"""What a size costs: seconds and memory of the front doors by n, and what ten seconds prove."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable

import numpy as np

import gwfast
from benchmarks import record

SIZES = (10, 30, 50, 100, 200, 500, 1000, 2000)
SECONDS = 10.0  # of the proof
REPEATS = 3


def clouds(n: int, seed: int, copy: bool) -> tuple[gwfast.PointCloud, gwfast.PointCloud]:
    """Points in R^3, and other points or the same with 10 % noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    Y = X[rng.permutation(n)] + 0.1 * rng.normal(size=X.shape) if copy else rng.random((n, 3))
    return gwfast.PointCloud(X), gwfast.PointCloud(Y)


def _seconds(call: Callable[[gwfast.PointCloud, gwfast.PointCloud], object], n: int) -> float:
    """Median CPU seconds over different inputs, after one call that compiles."""
    call(*clouds(n, 99, copy=False))
    taken = []
    for seed in range(REPEATS):
        pair = clouds(n, seed, copy=False)
        begin = time.process_time()
        call(*pair)
        taken.append(time.process_time() - begin)
    return record.median(taken)


def _epsilon(x: gwfast.PointCloud, y: gwfast.PointCloud) -> float:
    """One percent of the loss of the product coupling."""
    return 0.01 * gwfast.certify(x, y, np.full((x.n, y.n), 1 / x.n / y.n), effort="sort").upper


def measure(n: int) -> dict:
    """One row; run in a process of its own, for the memory."""
    for small in (clouds(8, 0, copy=False), clouds(8, 0, copy=True)):
        gwfast.exact_gw(*small, rtol=0.01, time_limit=1)  # compiled before anything is measured
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    row: dict = {
        "n": n,
        "sorted_s": _seconds(gwfast.sorted_gw, n),
        "rows_s": _seconds(lambda x, y: gwfast.lower_bound(x, y, effort="rows"), n),
        "exact_s": _seconds(gwfast.exact_gw, n),
        "exact_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }
    row["entropic_s"] = _seconds(lambda x, y: gwfast.entropic_gw(x, y, epsilon=_epsilon(x, y)), n)
    for name, copy in (("copy", True), ("unrelated", False)):
        found = [gwfast.exact_gw(*clouds(n, s, copy), rtol=0.01, time_limit=SECONDS) for s in range(REPEATS)]
        row[f"{name}_share"] = float(np.mean([r.lower / r.upper for r in found]))
    return row


def table() -> str:
    """The record as a Markdown table."""
    head = [
        "n",
        "`sorted_gw`, s",
        "`exact_gw`, s",
        "memory, MB",
        "`entropic_gw`, s",
        "proved, copy",
        "proved, unrelated",
    ]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for r in record.read("sizes")["rows"]:
        times = (f"{r[f'{door}_s']:.2g}" for door in ("sorted", "exact", "entropic"))
        first, exact, entropic = times
        shares = [f"{r[f'{name}_share']:.2f}" for name in ("copy", "unrelated")]
        memory = f"{max(r['exact_mb'], 1):.0f}"
        lines.append("| " + " | ".join([str(r["n"]), first, exact, memory, entropic, *shares]) + " |")
    return "\n".join(lines)


def run() -> None:
    """Measure every size and write the record."""
    rows = []
    for n in SIZES:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(measure, (n,)))
        print("sizes", rows[-1], flush=True)
    record.write("sizes", {"sizes": SIZES, "seconds": SECONDS, "repeats": REPEATS}, rows)
