"""Quality and time of the solvers against peers, on synthetic cells and on real data, and pruning by bounds."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import gwfast
from benchmarks.inputs import KINDS, pair
from experiments.shared.jobs import Job, run_jobs
from experiments.shared.records import Record, Row, where
from experiments.shared.threads import one_thread
from experiments.solvers.data import molecules, neurons
from experiments.solvers.peers import compared, solvers

RECORD = Record(Path(__file__).parent / "records")
SIZES, SEEDS = (50, 100, 200), 5
GROWTH, GROWTH_SEEDS = (50, 100, 200, 400, 800), 3
BATCHES, PAIRS = 5, 20  # of real pairs
QUERIES, NEIGHBOURS = 6, 5
EFFORTS = ("sort", "rows", "spectral")
STATED_MINUTES = 8


def config(data: bool) -> Row:
    """What is run."""
    return {
        "sizes": list(SIZES),
        "kinds": list(KINDS),
        "seeds": list(range(SEEDS)),
        "growth": list(GROWTH),
        "solvers": list(solvers()),
        "missing": [name for name in ("CAJAL",) if name not in solvers()] + ["OTT-JAX"],
        "real_data": data,
        "pairs_a_batch": PAIRS,
        "queries": QUERIES,
        "neighbours": NEIGHBOURS,
    }


def real_pairs(spaces: Sequence[np.ndarray], batch: int) -> Row:
    """Mean objective over the best one's, and total seconds, on random pairs."""
    draw, names = np.random.default_rng(batch), solvers(entropic=False)
    ratios: dict[str, list[float]] = {name: [] for name in names}
    seconds = dict.fromkeys(names, 0.0)
    for _ in range(PAIRS):
        i, j = draw.choice(len(spaces), 2, replace=False)
        one = compared(spaces[i], spaces[j], names)
        best = min(one[f"{name} value"] for name in names)
        for name in names:
            ratios[name].append(one[f"{name} value"] / best if best > 0 else 1.0)
            seconds[name] += one[f"{name} s"]
    found: Row = {f"{name} ratio": float(np.mean(r)) for name, r in ratios.items()}
    return found | {f"{name} s": s / PAIRS for name, s in seconds.items()}


def pruning(spaces: Sequence[np.ndarray], seed: int, effort: str) -> Row:
    """Nearest neighbours of one space with bounds against solving every pair."""
    query = int(np.random.default_rng(100 + seed).integers(len(spaces)))
    rest = [c for i, c in enumerate(spaces) if i != query]
    begin = time.perf_counter()
    found = gwfast.nearest(spaces[query], rest, k=NEIGHBOURS, effort=effort)
    pruned = time.perf_counter() - begin
    begin = time.perf_counter()
    values = np.array([float(gwfast.exact_gw(spaces[query], c).value) for c in rest])
    whole = time.perf_counter() - begin
    best = np.sort(values)[:NEIGHBOURS]
    return {
        "solved_share": found.solved / len(rest),
        "whole_s": whole,
        "pruned_s": pruned,
        "same": bool(np.allclose(np.sort(np.asarray(found.value)), best, rtol=1e-9, atol=1e-12)),
    }


def jobs(data: Path | None) -> list[Job]:
    """Synthetic cells, cost growth, and real data where a folder is given."""
    every, few = solvers(), solvers(entropic=False)
    found = []
    for seed in range(SEEDS):
        for n in SIZES:
            for kind in KINDS:
                fields = {"stage": "cells", "kind": kind, "n": n, "seed": seed}
                work = lambda k=kind, n=n, s=seed: compared(*pair(k, n, s), every)
                found.append(Job(f"cells {kind} {n} seed {seed}", work, fields))
    for seed in range(GROWTH_SEEDS):
        for n in GROWTH:
            fields = {"stage": "growth", "kind": "cloud", "n": n, "seed": seed}
            work = lambda n=n, s=seed: compared(*pair("cloud", n, s), few)
            found.append(Job(f"growth {n} seed {seed}", work, fields))
    if data is None:
        return found
    for name, spaces in (("molecules", molecules(data)), ("neurons", neurons(data))):
        for batch in range(BATCHES):
            fields = {"stage": "real", "kind": name, "seed": batch}
            found.append(Job(f"real {name} batch {batch}", lambda x=spaces, b=batch: real_pairs(x, b), fields))
        for query in range(QUERIES):
            for effort in EFFORTS:
                fields = {"stage": "nearest", "kind": name, "effort": effort, "seed": query}
                work = lambda x=spaces, q=query, e=effort: pruning(x, q, e)
                found.append(Job(f"nearest {name} {effort} query {query}", work, fields))
    return found


def names() -> list[str]:
    """Names of the jobs that the last start asked for; real data are not needed to list them."""
    found = [job.name for job in jobs(None)]
    if RECORD.about["config"]["real_data"]:
        for name in ("molecules", "neurons"):
            found += [f"real {name} batch {b}" for b in range(BATCHES)]
            found += [f"nearest {name} {e} query {q}" for q in range(QUERIES) for e in EFFORTS]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not in the record yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None, help="folder with MUTAG/ and neurons/; left out without")
    options = parser.parse_args(arguments)
    RECORD.start(config(options.data is not None or bool(where(RECORD.rows, stage="real"))))
    compared(*pair("cloud", 20, 0), solvers())  # kernels are compiled before anything is timed
    run_jobs(RECORD, jobs(options.data))


if __name__ == "__main__":
    one_thread()
    main()
