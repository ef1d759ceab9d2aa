"""Kernels that take every `step`-th row from `first` on, called on all processors."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gwfast.kernels.row_blocks import processors

_FEW = 1 << 20  # numbers below which threads do not pay for their start


def on_threads(size: int, call: Callable[[int, int], Any]) -> list[Any]:
    """Answers of call(first, step) for all firsts below step; one call where there are few numbers."""
    count = processors() if size > _FEW else 1
    if count == 1:
        return [call(0, 1)]
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda first: call(first, count), range(count)))
