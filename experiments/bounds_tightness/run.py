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
SEEDS = 5
LIMITS = {16: {"dual": 1.5, "prove": 3.0}, 50: {"dual": 3.0, "prove": 10.0}}  # points: seconds of the deep efforts
SIZES = tuple(LIMITS)
LARGE = 200  # the cheap efforts alone
CHEAP = ("sort", "rows", "spectral")
SEARCHES = ("branch-and-bound",)  # where it proves nothing of couplings its value is no measurement
STATED_MINUTES = 9


def config() -> Row:
    """What is run."""
    return {
        "classes": list(CLASSES),
        "sizes": [*SIZES, LARGE],
        "seeds": list(range(SEEDS)),
        "efforts": list(gwfast.EFFORTS),
        "seconds": {str(n): limits for n, limits in LIMITS.items()},
    }


def tightness(kind: str, n: int, seed: int) -> Row:
    """Share of the best plan's objective that each effort and each theorem proves, with seconds.

    The cheap efforts are `lower_bound`; the deep ones are `exact_gw(effort=..., time_limit=...)`, whose bounds know the
    plan: without one the reformulation takes steps of the wrong length.  Its seconds hold the search for the plan.
    """
    C1, C2 = pair(kind, n, seed)
    begin = time.perf_counter()
    upper = float(gwfast.exact_gw(C1, C2).value)
    found: Row = {"plan_s": time.perf_counter() - begin}
    lowers: Row = {}
    proved: Row = {}
    for effort in gwfast.EFFORTS if n in LIMITS else CHEAP:
        begin = time.perf_counter()
        if effort in CHEAP:
            certificate = gwfast.lower_bound(C1, C2, effort=effort)
        else:
            result = gwfast.exact_gw(C1, C2, effort=effort, time_limit=LIMITS[n][effort])
            certificate, upper = result.certificate, min(upper, float(result.value))
        found[f"{effort}_s"] = time.perf_counter() - begin
        lowers[effort] = max(0.0, float(certificate.lower))
        values = {b.theorem: float(b.value) for b in certificate.bounds}
        proved |= {t: max(0.0, v) for t, v in values.items() if v > 0 or t not in SEARCHES}
    found["upper"] = upper
    found |= {f"{effort}_share": v / upper for effort, v in lowers.items()}
    return found | {f"bound {theorem}": v / upper for theorem, v in proved.items()}


def jobs() -> list[Job]:
    """One job a pair."""

    def job(kind: str, n: int, seed: int) -> Job:
        return Job(f"{kind} {n} seed {seed}", lambda: tightness(kind, n, seed), {"kind": kind, "n": n, "seed": seed})

    # a run that is stopped has all sizes for the first seeds
    return [job(kind, n, seed) for seed in range(SEEDS) for n in (*SIZES, LARGE) for kind in CLASSES]


def main() -> None:
    """Run what is not in the record yet."""
    RECORD.start(config())
    for n in LIMITS:
        tightness("cloud", n, 99)  # kernels are compiled before anything is timed
    run_jobs(RECORD, jobs())


if __name__ == "__main__":
    one_thread()
    main()
