"""One thread for everything that is measured, and the number of threads really in force."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

ONE = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "NPROC": "1",  # of XLA, which OTT-JAX runs on
    "TOKENIZERS_PARALLELISM": "false",
}
COUNTERS = ("scipy_openblas_get_num_threads64_", "scipy_openblas_get_num_threads", "openblas_get_num_threads")


def one_thread() -> None:
    """Start the process again with one thread, where it has not been started so, and keep it to one processor.

    The deep bounds start as many threads as there are processors that they may use.  Libraries read these variables
    when they are loaded, so setting them now would come too late.  Called at the bottom of every `run.py`, so that a
    folder run alone gives what `python -m experiments` gives.
    """
    if any(os.environ.get(name) != value for name, value in ONE.items()):
        os.environ.update(ONE)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def threads_in_force() -> dict[str, int]:
    """Threads of the libraries that are loaded, as they themselves say, and the processors that may be used.

    A library that does not say is left out.
    """
    found = {name: int(sys.modules[name].get_num_threads()) for name in ("torch", "numba") if name in sys.modules}
    if hasattr(os, "sched_getaffinity"):
        found["processors"] = len(os.sched_getaffinity(0))
    maps = Path("/proc/self/maps")
    loaded = {line.split()[-1] for line in maps.read_text().splitlines() if "openblas" in line} if maps.exists() else ()
    for path in sorted(loaded):
        library = ctypes.CDLL(path)
        counts = [getattr(library, name)() for name in COUNTERS if hasattr(library, name)]
        if counts:
            found["openblas"] = max(found.get("openblas", 0), *counts)
    return found
