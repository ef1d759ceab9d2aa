"""Time of the un-regularised solver against POT's conditional gradient, both in one run, one thread."""

from __future__ import annotations

import numpy as np
import ot

import gwfast
from benchmarks import record
from benchmarks.inputs import KINDS, pair
from benchmarks.record import timed

CELLS = [(n, kind) for n in (100, 200, 500, 1000) for kind in KINDS] + [(2000, "cloud")]
SEEDS = 5


def run() -> None:
    """Measure and write the record; every seed is one run of both sides."""
    rows = []
    for n, kind in CELLS:
        u = np.full(n, 1 / n)
        gwfast.exact_gw(*pair(kind, n, 99))  # compilation and caches are not what is measured
        for seed in range(SEEDS):
            C1, C2 = pair(kind, n, seed)
            ours, result = timed(lambda: gwfast.exact_gw(C1, C2))
            theirs, value = timed(lambda: ot.gromov.gromov_wasserstein2(C1, C2, u, u, numItermaxEmd=10**7))
            rows.append(
                {
                    "n": n,
                    "kind": kind,
                    "seed": seed,
                    "gwfast_s": ours,
                    "pot_s": theirs,
                    "gwfast_value": result.value,
                    "pot_value": float(value),
                    "stop": result.stop.name,
                }
            )
        cell = [r for r in rows if r["n"] == n and r["kind"] == kind]
        print(
            f"speed {kind} {n}: {record.median([r['gwfast_s'] / r['pot_s'] for r in cell])} of POT's time", flush=True
        )
    record.write("speed", {"cells": CELLS, "seeds": SEEDS}, rows)
