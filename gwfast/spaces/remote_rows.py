"""Rows of costs that are computed on an executor: processes, or machines."""

from __future__ import annotations

import os
import uuid
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pickle import PicklingError
from typing import Any

import numpy as np

from gwfast.errors import InputError
from gwfast.workers import in_order

_CHUNKS = 4  # that a worker gets of a block
_LEAST = 8  # rows in a chunk
_KEPT = 8  # functions that a worker keeps

Function = Callable[[np.ndarray], Any]


class RemoteRows:
    """A function that computes rows, on an executor; in another process it computes them itself.

    The function travels once to each worker, which keeps it.
    """

    def __init__(self, function: Function, executor: Executor) -> None:
        if isinstance(executor, type) or not hasattr(executor, "submit"):
            raise InputError(
                f"executor: expected a concurrent.futures.Executor, found {executor!r}; for dask pass "
                "Client().get_executor()"
            )
        self.function, self._executor, self._key = function, executor, uuid.uuid4().hex

    def __call__(self, nodes: np.ndarray) -> Any:
        """Rows (r, n) of the points (r,), in chunks on the workers."""
        executor = self._executor
        if executor is None or len(nodes) < 2 * _LEAST:
            return self.function(nodes)
        workers = getattr(executor, "_max_workers", None) or _workers(executor)
        step = max(_LEAST, -(-len(nodes) // (_CHUNKS * workers)))
        chunks = [nodes[i : i + step] for i in range(0, len(nodes), step)]
        found: list[Any] = self._answers(executor, chunks, None)
        missed = [k for k, rows in enumerate(found) if rows is None]
        for k, rows in zip(missed, self._answers(executor, [chunks[k] for k in missed], self.function)):
            found[k] = rows
        widths = {rows.shape[1] for rows in found}
        if len(widths) > 1:
            raise InputError(
                f"function: found rows of {min(widths)} and of {max(widths)} costs; return all of one length"
            )
        return np.concatenate(found)

    def _answers(self, executor: Executor, chunks: list[np.ndarray], function: Function | None) -> list[Any]:
        def submit(pool: Executor, nodes: np.ndarray) -> Future[Any]:
            return pool.submit(_rows, self._key, nodes, function)

        name: Callable[[np.ndarray], str] = lambda nodes: f"the rows of points {nodes[0]} to {nodes[-1]}"
        try:
            return [rows for _, rows in in_order(chunks, lambda: executor, submit, own=False, name=name)]
        except (AttributeError, TypeError, PicklingError) as error:
            if "pickle" not in str(error).lower():
                raise
            raise InputError(
                f"function: it cannot travel to other processes ({error}); define it at the top of a module"
            ) from None
        except RuntimeError as error:
            if "shutdown" not in str(error):
                raise
            raise InputError("executor: found one that is shut down; keep it open while the space is used") from None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_executor": None}


def _workers(executor: Any) -> int:
    """Processes of an executor that does not say how many it has, as dask's does not."""
    client: Any = getattr(executor, "_client", None)
    threads = sum(client.nthreads().values()) if client is not None else 0
    return threads or os.cpu_count() or 1


_functions: OrderedDict[str, Function] = OrderedDict()


def _rows(key: str, nodes: np.ndarray, function: Function | None) -> Any:
    """Rows of a chunk, in a worker; None where it has not got the function."""
    if function is not None:
        _functions[key] = function
        while len(_functions) > _KEPT:
            _functions.popitem(last=False)
    kept = _functions.get(key)
    if kept is None:
        return None
    rows = np.asarray(kept(nodes))
    if rows.ndim != 2 or len(rows) != len(nodes):
        raise InputError(
            f"function: for {len(nodes)} points, {nodes[0]} to {nodes[-1]}, expected as many rows, found shape "
            f"{rows.shape}"
        )
    return rows
