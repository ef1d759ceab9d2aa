"""Runs calls on an executor in order, a bounded number at a time, and survives the death of a process."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from gwfast.errors import WorkerError
from gwfast.policy import POLICY

Task = TypeVar("Task")


def in_order(
    tasks: Iterable[Task],
    start: Callable[[], Executor],
    submit: Callable[[Executor, Task], Future[Any]],
    *,
    own: bool,
    name: Callable[[Task], str],
) -> Generator[tuple[Task, Any], None, None]:
    """Yield each task with its answer, in the order of the tasks, a bounded number of them under way.

    Parameters
    ----------
    tasks : iterable
    start : callable
        Makes the executor; called again where a process of our own pool died.
    submit : callable
        Hands one task to the executor.
    own : bool
        Whether the executor is ours: to restart, and to shut down in the end.
    name : callable
        What a message calls a task.

    Raises
    ------
    WorkerError
        Processes died, of a foreign executor once, of our own pool three times in a row.
    """
    executor, todo, deaths = start(), iter(tasks), 0
    window = POLICY.window * (getattr(executor, "_max_workers", None) or os.cpu_count() or 1)
    waiting: deque[tuple[Task, Future[Any]]] = deque()
    try:
        while True:
            while len(waiting) < window and (task := next(todo, None)) is not None:
                waiting.append((task, _submitted(submit, executor, task)))
            if not waiting:
                return
            task, future = waiting[0]
            try:
                answer = future.result()
            except BrokenExecutor as error:
                deaths += 1
                if not own or deaths == POLICY.deaths:
                    raise WorkerError(
                        f"a worker process died at {name(task)} or one of the {len(waiting) - 1} calls after it "
                        f"({error}); it may be out of memory: use fewer processes, or smaller inputs"
                    ) from None
                print(f"gwfast: a worker process died near {name(task)}; starting anew", file=sys.stderr, flush=True)
                executor.shutdown(wait=False, cancel_futures=True)
                executor = start()
                waiting = deque((t, f if _answered(f) else _submitted(submit, executor, t)) for t, f in waiting)
                continue
            deaths = 0
            waiting.popleft()
            yield task, answer
    finally:
        for _, future in waiting:
            future.cancel()
        if own:
            executor.shutdown(cancel_futures=True)


def _submitted(submit: Callable[[Executor, Task], Future[Any]], executor: Executor, task: Task) -> Future[Any]:
    """The future of a task; that of an executor which broke before fails."""
    try:
        with _without_main():
            return submit(executor, task)
    except BrokenExecutor as error:
        failed: Future[Any] = Future()
        failed.set_exception(error)
        return failed


def _answered(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def process_pool(prepare: Callable[..., None], *arguments: Any) -> ProcessPoolExecutor:
    """Return a pool of one process a processor, each of which calls ``prepare(*arguments)`` first."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ProcessPoolExecutor(count, initializer=_begin, initargs=(prepare, arguments))


def _begin(prepare: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare(*arguments)


def _end_with_parent() -> None:
    """End this process once its parent is gone, killed perhaps: nobody waits for its answers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _without_main() -> Iterator[None]:
    """Start processes that do not run the caller's script again, which has no main guard perhaps."""
    main: Any = sys.modules.get("__main__")
    if main is None or multiprocessing.get_start_method() == "fork":
        yield
        return
    kept = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    try:
        for name in kept:
            setattr(main, name, None)
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)
