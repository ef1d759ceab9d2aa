"""Time and memory that a run really took."""

from __future__ import annotations

import mmap
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None


@dataclass(frozen=True)
class Measured:
    """What the steps of a run took, in the first process.

    Attributes
    ----------
    seconds : float
        Time of the steps that this process made, with checkpoints and evaluations between them.
    steps : int
        Their number; fewer than those of the run where it went on from a checkpoint.
    peak : int
        Largest number of bytes in use: of the GPU where there is one, else of this process.
    before : int
        Bytes in use before the pivot was loaded.
    gpu : bool
        Whether memory is that of a GPU.
    """

    seconds: float
    steps: int
    peak: int
    before: int
    gpu: bool


def in_use() -> int:
    """Bytes in use now: of the GPU, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * mmap.PAGESIZE
    return most_in_use()


def most_in_use() -> int:
    """Largest number of bytes in use so far, 0 where it is not known.

    Of the GPU since the last call of `reset`, else of this process.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if resource is None:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def reset() -> None:
    """Begin to measure a peak anew where that can be done."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


class Stopwatch:
    """Seconds of a block."""

    def __init__(self):
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure the block."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began
