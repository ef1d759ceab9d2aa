"""python -m benchmarks [suite ...]: run the suites one after another and write records/ and records/TABLE.md."""

from __future__ import annotations

import os
import sys

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def main() -> int:
    """Run the suites named on the command line, or all."""
    if sys.argv[1:] not in (["bounds"], ["searches"], ["quick"], ["anytime"], ["limits"]) and any(
        os.environ.get(name) != "1" for name in THREADS
    ):
        os.environ.update(dict.fromkeys(THREADS, "1"))
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]])
    from benchmarks import (
        alignment,
        barycenters,
        bounds,
        entropic,
        large,
        large_peers,
        limits,
        many,
        quality,
        sizes,
        sorting,
        speed,
        subspace,
        table,
        validity,
        variants,
    )

    suites = {"quality": quality.run, "speed": speed.run, "entropic": entropic.run, "sorting": sorting.run}
    suites |= {
        "bounds": bounds.run,
        "searches": bounds.run_searches,
        "quick": bounds.run_quick,
        "anytime": bounds.run_anytime,
        "limits": limits.run,
        "validity": validity.run,
        "validity_points": validity.run_points,
        "sizes": sizes.run,
        "many": many.run,
        "large": large.run,
        "large_peers": large_peers.run,
        "subspace": subspace.run,
        "variants": variants.run,
        "barycenters": barycenters.run,
        "alignment": alignment.run,
    }
    names = sys.argv[1:] or list(suites)
    unknown = [n for n in names if n not in suites and n != "table"]
    if unknown:
        print(f"benchmarks: no suite {unknown[0]!r}; there are {', '.join(suites)}, table", file=sys.stderr)
        return 2
    for name in names:
        if name != "table":
            suites[name]()
    print(table.write())
    return 0


if __name__ == "__main__":
    sys.exit(main())
