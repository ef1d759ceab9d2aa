"""Where blocks of pairs run: threads that share memory, processes, or any executor on any machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from gwfast.errors import InputError, MissingPackageError, WorkerError
from gwfast.many.blocks import Answer, Asked, answer
from gwfast.many.dataset import DataSet
from gwfast.workers import in_order, process_pool

NAMES = ("threads", "processes", "dask", "mpi")


@dataclass(frozen=True, eq=False)
class Block:
    """A task: its number, and its pairs."""

    number: int
    i: np.ndarray
    j: np.ndarray


def run(
    data: DataSet, blocks: Iterable[Block], asked: Asked, executor: Executor | str | None
) -> Generator[tuple[Block, Answer], None, None]:
    """Yield every block with its answer, in order; some are under way at a time.

    Threads and our own processes get the data set once; to other executors every task takes its few spaces along.  A
    cluster or pool that is started here ends with the last block.

    Raises
    ------
    WorkerError
        A process of the executor died.
    """
    with ExitStack() as stack:
        start, submit, own = _how(data, asked, executor, stack)
        try:
            yield from in_order(blocks, start, submit, own=own, name=lambda block: f"block {block.number}")
        except _gave_up() as error:  # dask tries a task on several workers
            raise WorkerError(
                f"dask: a worker process died at every try of a block ({str(error).splitlines()[0]}); it may be out of "
                "memory: give workers more of it, or use fewer of them"
            ) from None


def _gave_up() -> tuple[type[Exception], ...]:
    """What dask raises where workers die on a task again and again."""
    if "distributed" not in sys.modules:
        return ()
    from distributed import KilledWorker

    return (KilledWorker,)


def _how(
    data: DataSet, asked: Asked, executor: Executor | str | None, stack: ExitStack
) -> tuple[Callable[[], Executor], Callable[[Executor, Block], Future[Any]], bool]:
    """How an executor is made, how a block is handed to it, and whether it is ours."""
    if executor is None or executor == "threads":
        return _threads, lambda pool, block: pool.submit(answer, data, block.i, block.j, asked), True
    if executor == "processes":
        return lambda: process_pool(_keep, data, asked), lambda pool, block: pool.submit(_kept, block.i, block.j), True
    if isinstance(executor, ThreadPoolExecutor):
        return lambda: executor, lambda pool, block: pool.submit(answer, data, block.i, block.j, asked), False
    made = _named(executor, stack) if isinstance(executor, str) else executor
    return lambda: made, lambda pool, block: pool.submit(answer, *_travelling(data, block), asked), False


def check_executor(executor: Any) -> None:
    """Refuse what is no executor, before anything is written for it."""
    if executor is None or hasattr(executor, "submit") or (isinstance(executor, str) and executor in NAMES):
        return
    found = repr(executor) if isinstance(executor, str) else type(executor).__name__
    raise InputError(f"executor: expected one of {', '.join(NAMES)} or a concurrent.futures.Executor, found {found}")


def _threads() -> Executor:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ThreadPoolExecutor(count, thread_name_prefix="gwfast")


def _named(name: str, stack: ExitStack) -> Any:
    """The executor of a name that needs another package; what is started for it ends with `stack`."""
    if name == "dask":
        try:
            from distributed import Client, LocalCluster, get_client
        except ImportError:
            raise MissingPackageError('executor="dask" needs distributed: pip install "gwfast-ot[cluster]"') from None
        try:
            client = get_client()
        except ValueError:
            no_page: Any = None  # of the dashboard: its port may be taken
            cluster = stack.enter_context(LocalCluster(threads_per_worker=1, dashboard_address=no_page))
            client = stack.enter_context(Client(cluster))
        return client.get_executor(pure=False)
    if name == "mpi":
        try:
            from mpi4py.futures import MPIPoolExecutor  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise MissingPackageError('executor="mpi" needs mpi4py: pip install mpi4py') from None
        return stack.enter_context(MPIPoolExecutor())
    raise InputError(f"executor: expected one of {', '.join(NAMES)} or an Executor, found {name!r}")


def _travelling(data: DataSet, block: Block) -> tuple[DataSet, np.ndarray, np.ndarray]:
    """The few spaces of a block, and its pairs among them."""
    index, places = np.unique(np.concatenate([block.i, block.j]), return_inverse=True)
    return data.subset(index), places[: len(block.i)], places[len(block.i) :]


_state: list[Any] = []


def _keep(data: DataSet, asked: Asked) -> None:
    """Keep the data set in a worker process, so that it travels there once."""
    _state[:] = [data, asked]


def _kept(i: np.ndarray, j: np.ndarray) -> Answer:
    data, asked = _state
    return answer(data, i, j, asked)
