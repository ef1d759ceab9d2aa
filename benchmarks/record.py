"""One record a suite: what was run, on what, and the rows; written whole or not at all."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FOLDER = Path(__file__).parent / "records"
PACKAGES = ("numpy", "scipy", "pot", "numba", "torch", "ott-jax", "jax")


def processor() -> str:
    """Model name of the processor, the architecture where it is not told."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def environment() -> dict[str, object]:
    """Commit (marked where the tree is dirty), versions, machine and threads."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    dirty = "-dirty" if git("status", "--porcelain", "--untracked-files=no") else ""
    return {
        "commit": git("rev-parse", "--short", "HEAD") + dirty,
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", "0")) or None,
        "versions": versions,
    }


def write(name: str, config: dict, rows: list[dict]) -> Path:
    """Write the record of a suite to records/<name>.json."""
    FOLDER.mkdir(exist_ok=True)
    target = FOLDER / f"{name}.json"
    temporary = target.with_suffix(".tmp")
    content = {"suite": name, "config": config, "environment": environment(), "rows": rows}
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(target)
    return target


def read(name: str) -> dict:
    """Return the record of a suite."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def timed(call: Callable[[], object]) -> tuple[float, object]:
    """Seconds and result of one call."""
    begin = time.perf_counter()
    result = call()
    return time.perf_counter() - begin, result


def median(values: list[float]) -> float:
    """Median, rounded to what a timing is worth."""
    return float(f"{statistics.median(values):.4g}")
