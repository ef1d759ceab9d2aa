"""Runs compiled kernels over blocks of rows, on threads, and stops between two blocks where a deadline passes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gwfast.budget import UNLIMITED

_THREADED = 1 << 19  # numbers in the state above which threads pay for their start
GRAIN = 1 << 20  # numbers in a block of a large state: some milliseconds, so that a deadline is seen in time


def processors() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OutOfTime(Exception):
    """The deadline passed while a kernel was under way; what it writes is incomplete."""


class RowBlocks:
    """Calls a kernel on blocks of rows, on several threads where the state is large.

    Parameters
    ----------
    n : int
        Rows.
    size : int
        Numbers that a kernel reads or writes.
    threads : int
        Most threads.
    grain : int
        Numbers in a block; slow kernels take fewer.

    Attributes
    ----------
    budget : Budget
        After its deadline no block is begun any more.
    """

    def __init__(self, n: int, size: int, threads: int, grain: int = GRAIN):
        self.budget = UNLIMITED
        self.count = max(1, min(threads, n)) if size > _THREADED else 1
        # more blocks than threads, so that a thread that was held up does not hold up the sweep
        blocks = min(n, max(1 if self.count == 1 else 4 * self.count, size // grain))
        edges = np.linspace(0, n, blocks + 1).astype(int)
        self.blocks = list(zip(edges[:-1].tolist(), edges[1:].tolist()))
        self.pool = ThreadPoolExecutor(self.count) if self.count > 1 else None

    def __enter__(self) -> RowBlocks:
        return self

    def __exit__(self, *error: object) -> None:
        if self.pool is not None:
            self.pool.shutdown()

    def run(self, kernel: Callable[..., None], *args: object) -> None:
        """Call kernel(low, high, *args) for all blocks; OutOfTime, once all threads rest, where some were left out."""

        def block(edges: tuple[int, int]) -> bool:
            if self.budget.limited and self.budget.left < 0:
                return False
            kernel(*edges, *args)
            return True

        done = map(block, self.blocks) if self.pool is None else self.pool.map(block, self.blocks)
        if not all(list(done)):
            raise OutOfTime
