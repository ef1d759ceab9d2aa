"""How tight every lower bound is, by class and size, and what it costs."""

from __future__ import annotations

import time
from pathlib import Path

import gwfast
from benchmarks.bounds import pair
from experiments.shared.jobs import Job, run_jobs
from experiments.shared.records import Record, Row
from experiments.shared.threads import one_thread

RECORD = Record(Path(__file__).parent / "records")
CLASSES = (
    "normal",
    "cloud",
    "squared cloud",
    "er",
    "sbm",
    "ba paths",
    "co-activation",
    "cloud, 10 % noisy copy",
    "cloud, 30 % noisy copy",
    "co-activation, 10 % noisy copy",
)
SIZES = {16: 3, 50: 3}  # points: seeds
SECONDS = {"dual": 1.5, "prove": 3.0}
LARGE, LARGE_SEEDS = 200, 3  # the cheap efforts alone
STATED_MINUTES = 7


def config() -> Row:
    """What is run."""
    return {
        "classes": list(CLASSES),
        "sizes": {str(n): s for n, s in SIZES.items()} | {str(LARGE): LARGE_SEEDS},
        "efforts": list(gwfast.EFFORTS),
        "seconds": SECONDS,
    }


def tightness(kind: str, n: int, seed: int, efforts: tuple[str, ...]) -> Row:
    """Share of the best plan's objective that each effort and each theorem proves, with seconds."""
    C1, C2 = pair(kind, n, seed)
    begin = time.perf_counter()
    upper = float(gwfast.exact_gw(C1, C2).value)
    found: Row = {"upper": upper, "plan_s": time.perf_counter() - begin}
    for effort in efforts:
        begin = time.perf_counter()
        certificate = gwfast.lower_bound(C1, C2, effort=effort, time_limit=SECONDS.get(effort))
        found[f"{effort}_s"] = time.perf_counter() - begin
        found[f"{effort}_share"] = max(0.0, float(certificate.lower)) / upper
        found |= {f"bound {b.theorem}": max(0.0, float(b.value)) / upper for b in certificate.bounds}
    return found


def jobs() -> list[Job]:
    """One job a pair."""

    def job(kind: str, n: int, seed: int, efforts: tuple[str, ...]) -> Job:
        fields = {"kind": kind, "n": n, "seed": seed}
        return Job(f"{kind} {n} seed {seed}", lambda: tightness(kind, n, seed, efforts), fields)

    cheap = ("sort", "rows", "spectral")
    sized = [(n, seed, gwfast.EFFORTS) for n, seeds in SIZES.items() for seed in range(seeds)]
    sized += [(LARGE, seed, cheap) for seed in range(LARGE_SEEDS)]
    sized.sort(key=lambda cell: cell[1])  # a run that is stopped has all sizes for the first seeds
    return [job(kind, n, seed, efforts) for n, seed, efforts in sized for kind in CLASSES]


def main() -> None:
    """Run what is not in the record yet."""
    RECORD.start(config())
    tightness("cloud", 8, 0, gwfast.EFFORTS)  # kernels are compiled before anything is timed
    run_jobs(RECORD, jobs())


if __name__ == "__main__":
    one_thread()
    main()
