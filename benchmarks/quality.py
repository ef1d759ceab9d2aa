"""Quality of the un-regularised solver: value over the best value known, against POT's default."""

from __future__ import annotations

import numpy as np
import ot

import gwfast
from benchmarks import record
from benchmarks.inputs import KINDS, pair
from gwfast.heuristics.annealing import Schedule
from gwfast.heuristics.descent import Descent, best_descent
from gwfast.presolve import presolve
from gwfast.problem import Problem

SIZES, SEEDS = (50, 100, 200), 10
# long runs that only serve to know a good value
REFERENCES = (
    Schedule(hot=0.3, cold=0.02, steps=150, scalings=50),
    Schedule(hot=0.3, cold=0.003, steps=60, scalings=50),
    Schedule(hot=0.1, cold=0.005, steps=80, scalings=30),
    Schedule(hot=0.6, cold=0.03, steps=120, scalings=30),
)


def run() -> None:
    """Measure the nine cells and write the record."""
    rows = []
    for n in SIZES:
        for kind in KINDS:
            for seed in range(SEEDS):
                C1, C2 = pair(kind, n, seed)
                u = np.full(n, 1 / n)
                problem = presolve(Problem.of(C1, C2)).problem
                known = [
                    gwfast.certify(C1, C2, best_descent(problem, Descent(s)).plan, effort="sort").upper
                    for s in REFERENCES
                ]
                ours = gwfast.exact_gw(C1, C2).value
                plan = ot.gromov.gromov_wasserstein(C1, C2, u, u, numItermaxEmd=10**7)
                theirs = gwfast.certify(C1, C2, plan, effort="sort").upper
                best = min(ours, theirs, *known)
                rows.append({"n": n, "kind": kind, "seed": seed, "gwfast": ours, "pot": theirs, "best_known": best})
            cell = [r for r in rows if r["n"] == n and r["kind"] == kind]
            print(
                f"quality {kind} {n}: {mean_ratio(cell, 'gwfast'):.3f}, POT {mean_ratio(cell, 'pot'):.3f}", flush=True
            )
    record.write("quality", {"sizes": SIZES, "seeds": SEEDS, "references": len(REFERENCES)}, rows)


def mean_ratio(cell: list[dict], method: str) -> float:
    """Mean of value / best known over a cell."""
    return float(np.mean([r[method] / r["best_known"] for r in cell]))
