"""Time of `sorted_gw` in units of the passes over memory that it cannot do without, and on a huge sparse Gram."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sp

import gwfast
from benchmarks import record
from benchmarks.record import timed

N, RUNS = 4000, 5


def run() -> None:
    """Measure and write the record."""
    rng = np.random.default_rng(0)
    C1, C2 = rng.random((N, N)), rng.random((N, N))
    C1, C2 = C1 + C1.T, C2 + C2.T
    p = np.full(N, 1 / N)
    rows = []
    for _ in range(RUNS):
        order1, order2 = rng.permutation(N), rng.permutation(N)
        ours, _ = timed(lambda: gwfast.sorted_gw(C1, C2))
        products, _ = timed(lambda: (C1 @ p, C2 @ p))
        permuted, _ = timed(lambda: ((C1[np.ix_(order1, order1)] - C2[np.ix_(order2, order2)]) ** 2).mean())
        rows.append({"case": "dense", "n": N, "gwfast_s": ours, "products_s": products, "permuted_pass_s": permuted})
    print(f"sorting dense {N}: {ratio(rows)} of the unavoidable passes", flush=True)
    for _ in range(RUNS):
        # a process of its own, so that its peak memory is that of this call
        out = subprocess.run([sys.executable, "-m", "benchmarks.sorting"], capture_output=True, text=True, check=True)
        seconds, megabytes = map(float, out.stdout.split())
        rows.append({"case": "sparse Gram", "n": 1_000_000, "gwfast_s": seconds, "peak_mb": megabytes})
    print(f"sorting sparse Gram: {record.median([r['gwfast_s'] for r in rows[RUNS:]])} s, {rows[-1]['peak_mb']} MB")
    record.write("sorting", {"runs": RUNS}, rows)


def ratio(rows: list[dict]) -> float:
    """Median of our time over that of two row-mean products and one pass over the permuted matrices."""
    return record.median(
        [r["gwfast_s"] / (r["products_s"] + r["permuted_pass_s"]) for r in rows if r["case"] == "dense"]
    )


def peak_megabytes() -> float:
    """Peak resident memory of this program alone; getrusage would count what its parent held when it was forked."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _sparse() -> None:
    rng = np.random.default_rng(0)
    n, rows, each = 1_000_000, 10_000, 10

    def factor() -> gwfast.Gram:
        columns = rng.integers(0, n, rows * each)
        return gwfast.Gram(
            sp.csr_array((rng.random(rows * each), columns, np.arange(0, rows * each + 1, each)), (rows, n))
        )

    first, second = factor(), factor()
    seconds, _ = timed(lambda: gwfast.sorted_gw(first, second))
    print(seconds, peak_megabytes())


if __name__ == "__main__":
    _sparse()
