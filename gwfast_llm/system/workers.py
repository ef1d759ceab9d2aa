"""A few worker processes that do named jobs and report how far they are.

Jobs are top-level functions of picklable arguments whose last parameter is ``progress(done, total)``.  Workers are
fresh interpreters with one thread each, so two of them use two cores and give the same numbers as one.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gwfast_llm.system.errors import FusionError

QUIET_ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "OMP_NUM_THREADS": "1",
}

PATIENCE = 10.0  # seconds in which a worker writes its checkpoint


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes
    ----------
    name : str
        Unique name, shown to people.
    function : callable
        Top-level function; called as ``function(*arguments, progress)``.
    arguments : tuple
        Picklable arguments.
    seconds : float
        Expected time on an ordinary core, for the estimate of the time left.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    seconds: float


class Workers:
    """Worker processes, to be used in a ``with`` block that stops them.

    Parameters
    ----------
    count : int
        Number of processes.
    """

    def __init__(self, count: int):
        context = multiprocessing.get_context("spawn")
        self._jobs = context.Queue()
        self._news = context.Queue()
        before = {name: os.environ.get(name) for name in QUIET_ENVIRONMENT}
        os.environ.update(QUIET_ENVIRONMENT)  # inherited by the new processes, then put back
        try:
            self._processes = [
                context.Process(target=_work, args=(self._jobs, self._news), daemon=True) for _ in range(count)
            ]
            for process in self._processes:
                process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def __enter__(self) -> Workers:
        """Return the workers themselves."""
        return self

    def __exit__(self, *problem: object) -> None:
        """Stop all processes: at once, or after the checkpoint of the fusion that they are at."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(PATIENCE)
            process.kill()
        for channel in (self._jobs, self._news):
            channel.cancel_join_thread()
            channel.close()

    def run(
        self, jobs: Sequence[Job], on_progress: Callable[[str, int, int], None], on_tick: Callable[[], None]
    ) -> dict[str, Any]:
        """Do all jobs, in order of their being given as workers become free.

        Parameters
        ----------
        jobs : sequence of Job
            What to do.
        on_progress : callable
            Called with (name, done, total).
        on_tick : callable
            Called several times a second.

        Returns
        -------
        dict
            Result by name.

        Raises
        ------
        FusionError
            When a job raised one, or a worker was killed.
        RuntimeError
            When a job failed otherwise, with its traceback.
        """
        for job in jobs:
            self._jobs.put((job.name, job.function, job.arguments))
        results: dict[str, Any] = {}
        while len(results) < len(jobs):
            on_tick()
            try:
                kind, name, content = self._news.get(timeout=0.2)
            except queue.Empty:
                dead = [p.exitcode for p in self._processes if not p.is_alive()]
                if dead:
                    raise FusionError(
                        f"a worker process ended with code {dead[0]}, most often because memory ran out; end what else "
                        "uses it"
                    ) from None
                continue
            if kind == "progress":
                on_progress(name, *content)
            elif kind == "result":
                results[name] = content
                on_progress(name, 1, 1)
            elif kind == "mistake":
                raise FusionError(content)
            else:
                raise RuntimeError(f"{name} failed:\n{content}")
        return results


def _end_with_parent() -> None:
    """End this process when its parent has ended, however that was: nobody would ever take what it finds."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()  # on a pipe that the system closes with the parent
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _work(jobs: Any, news: Any) -> None:
    _end_with_parent()
    for name in ("SIGINT", "SIGHUP"):  # Ctrl-C and a closed terminal are the parent's to handle
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    import torch
    import tqdm

    # the usual lock of the bars is a semaphore of the system, which a worker that is stopped would leave behind
    tqdm.tqdm.set_lock(threading.RLock())
    torch.set_num_threads(1)
    while True:
        name, function, arguments = jobs.get()

        def progress(done: int, total: int, name: str = name) -> None:
            if done == total or done % 5 == 0:
                news.put(("progress", name, (done, total)))

        try:
            news.put(("result", name, function(*arguments, progress)))
        except FusionError as mistake:
            news.put(("mistake", name, str(mistake)))
        except KeyboardInterrupt:  # the parent's SIGTERM in the midst of a fusion, whose checkpoint is written
            return
        except Exception:
            news.put(("failure", name, traceback.format_exc()))
