"""On what a measurement was made."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import transformers


def surroundings(device: str) -> dict[str, Any]:
    """Date, machine, versions and commit."""
    head, dirty = commit()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "trl": installed("trl"),
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "commit": head,
        "dirty": dirty,
    }


def commit() -> tuple[str, bool]:
    """Commit of the working tree, and whether the code that is measured was changed since."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "gwfast_llm", "experiments/gpu_fusion/*.py")
    return git("rev-parse", "--short", "HEAD"), bool(changed)


def processor() -> str:
    """Model name of the processor, the architecture where it is not told."""
    listing = Path("/proc/cpuinfo")
    said = listing.read_text().splitlines() if listing.exists() else []
    return next((line.partition(":")[2].strip() for line in said if line.startswith("model name")), platform.machine())


def installed(package: str) -> str | None:
    """Version of a package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
