"""How well time limits are kept: seconds taken beside seconds asked, by front door, size and class, when compiled."""

from __future__ import annotations

import time

import gwfast
from benchmarks import record
from benchmarks.bounds import pair

SIZES = (12, 30, 50, 100)
SECONDS = (0.05, 0.15, 0.5, 1.0, 2.0, 10.0)
CLASSES = ("squared cloud", "sbm")
DOORS = ("exact_gw, dual", "exact_gw, prove", "lower_bound", "entropic_gw")


def allowed(seconds: float) -> float:
    """Latest end that counts as kept: 5 % and ten milliseconds more."""
    return 1.05 * seconds + 0.01


def call(door: str, kind: str, n: int, seconds: float) -> None:
    """One call with a time limit."""
    C1, C2 = pair(kind, n, 0)
    if door == "lower_bound":
        gwfast.lower_bound(C1, C2, effort="prove", time_limit=seconds)
    elif door == "entropic_gw":
        gwfast.entropic_gw(C1, C2, epsilon=1e-3, tol=1e-9, max_iter=10**6, time_limit=seconds)
    else:
        gwfast.exact_gw(C1, C2, rtol=1e-7, effort=door.split()[-1], time_limit=seconds)


def run() -> None:
    """Measure every cell and write the record."""
    rows: list[dict] = []
    for door in DOORS:
        for n in SIZES:
            for kind in CLASSES:
                call(door, kind, n, 3.0)  # compiled
            for seconds in SECONDS:
                for kind in CLASSES[: 1 if seconds > 5 else None]:
                    begin = time.perf_counter()
                    call(door, kind, n, seconds)
                    taken = time.perf_counter() - begin
                    rows.append({"door": door, "class": kind, "n": n, "asked_s": seconds, "seconds": taken})
                    print("limits", door, kind, n, seconds, round(taken, 4), flush=True)
    record.write("limits", {"sizes": SIZES, "seconds": SECONDS}, rows)
