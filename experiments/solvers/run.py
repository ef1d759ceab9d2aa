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
from experiments.shared.records import REPOSITORY, Record, Row, where
from experiments.shared.threads import one_thread
from experiments.solvers.data import molecules, neurons
from experiments.solvers.peers import OPTIONAL, ZERO, compared, product_loss, solvers

RECORD = Record(Path(__file__).parent / "records")
SIZES, SEEDS = (50, 100, 200), 5
GROWTH, GROWTH_SEEDS = (50, 100, 200, 400, 800), 5
BATCHES, PAIRS = 10, 10  # of real pairs
QUERIES, NEIGHBOURS = 6, 5
SAME = 1e-6  # relative difference of objectives up to which two count as one
DATA = ("molecules", "neurons")
EFFORTS = ("sort", "rows", "spectral")
STATED_MINUTES = 4.5


def config(data: bool) -> Row:
    """What is run."""
    return {
        "sizes": list(SIZES),
        "kinds": list(KINDS),
        "seeds": list(range(SEEDS)),
        "growth": list(GROWTH),
        "solvers": list(solvers()),
        "missing": [name for name in OPTIONAL if name not in solvers()],
        "real_data": data,
        "pairs_a_batch": PAIRS,
        "queries": QUERIES,
        "neighbours": NEIGHBOURS,
    }


def real_pairs(spaces: Sequence[np.ndarray], batch: int) -> Row:
    """Mean objective over the best known, and mean seconds, on random pairs.

    Pairs whose best known objective is 0, such as isomorphic molecules, have no ratio: they are counted apart, with the
    number of them on which each solver finds the 0.
    """
    draw, names = np.random.default_rng(batch), solvers()
    ratios: dict[str, list[float]] = {name: [] for name in names}
    seconds, zeros, best = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    count = 0
    for _ in range(PAIRS):
        i, j = draw.choice(len(spaces), 2, replace=False)
        one = compared(spaces[i], spaces[j])
        zero = ZERO * product_loss(spaces[i], spaces[j])
        least = one["best known"]
        count += least <= zero
        for name in names:
            seconds[name] += one[f"{name} s"]
            if f"{name} value" not in one:
                continue
            if least <= zero:
                zeros[name] += one[f"{name} value"] <= zero
            else:
                ratios[name].append(one[f"{name} value"] / least)
                best[name] += one[f"{name} value"] <= least * (1 + SAME)
    found: Row = {"pairs": PAIRS, "zero pairs": int(count)}
    for name in names:
        found |= {
            f"{name} s": seconds[name] / PAIRS,
            f"{name} best": int(best[name]),
            f"{name} zeros": int(zeros[name]),
        }
        if ratios[name]:
            found[f"{name} ratio"] = float(np.mean(ratios[name]))
    return found


def pruning(spaces: Sequence[np.ndarray], seed: int, effort: str) -> Row:
    """Nearest neighbours of one space with bounds against solving every pair."""
    query = int(np.random.default_rng(100 + seed).integers(len(spaces)))
    rest = [c for i, c in enumerate(spaces) if i != query]
    begin = time.process_time()
    found = gwfast.nearest(spaces[query], rest, k=NEIGHBOURS, effort=effort)
    pruned = time.process_time() - begin
    begin = time.process_time()
    values = np.array([float(gwfast.exact_gw(spaces[query], c).value) for c in rest])
    whole = time.process_time() - begin
    best = np.sort(values)[:NEIGHBOURS]
    return {
        "solved_share": found.solved / len(rest),
        "whole_s": whole,
        "pruned_s": pruned,
        "same": bool(np.allclose(np.sort(np.asarray(found.value)), best, rtol=1e-9, atol=1e-12)),
    }


def jobs(data: Path | None) -> list[Job]:
    """Synthetic cells, cost growth, and real data where a folder is given."""
    found = []
    for seed in range(SEEDS):
        for n in SIZES:
            for kind in KINDS:
                fields = {"stage": "cells", "kind": kind, "n": n, "seed": seed}
                work = lambda k=kind, n=n, s=seed: compared(*pair(k, n, s))
                found.append(Job(f"cells {kind} {n} seed {seed}", work, fields))
    for seed in range(GROWTH_SEEDS):
        for n in GROWTH:
            fields = {"stage": "growth", "kind": "cloud", "n": n, "seed": seed}
            work = lambda n=n, s=seed: compared(*pair("cloud", n, s), entropic=False, referred=False)
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
    if RECORD.about["config"].get("real_data"):
        for name in DATA:
            found += [f"real {name} batch {b}" for b in range(BATCHES)]
            found += [f"nearest {name} {e} query {q}" for q in range(QUERIES) for e in EFFORTS]
    return found


def data_folder(given: Path | None = None) -> Path | None:
    """Folder of the real data: the one given, else `shared/data` beside the repository, else none, which is said.

    Raises
    ------
    FileNotFoundError
        When a folder is given that does not hold the data.
    """
    for folder in (given,) if given is not None else (REPOSITORY.parent / "shared" / "data",):
        if (folder / "MUTAG").is_dir() and (folder / "neurons").is_dir():
            return folder
    if given is not None:
        raise FileNotFoundError(f"no MUTAG/ and neurons/ in {given}")
    print("solvers: real data left out; give the folder that holds MUTAG/ and neurons/ with --data")
    return None


def main(given: Path | None = None) -> None:
    """Run what is not in the record yet; real data where a folder is given or found."""
    data = data_folder(given)
    RECORD.start(config(data is not None or bool(where(RECORD.rows, stage="real"))))
    run_jobs(RECORD, jobs(data))


if __name__ == "__main__":
    one_thread()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None, help="folder with MUTAG/ and neurons/")
    main(parser.parse_args().data)
