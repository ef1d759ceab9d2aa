"""Small jobs, one after another on one core: what is finished is kept, and a second start goes on from there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.shared.records import Record, Row, commit


@dataclass(frozen=True)
class Job:
    """One piece of work of at most half a minute.

    Attributes
    ----------
    name : str
        Unique in its experiment.
    work : callable
        Called without arguments when its turn comes; returns the fields of its row.
    fields : dict
        Fields known before, such as method, seed and steps.
    """

    name: str
    work: Callable[[], Row]
    fields: dict[str, Any]


def run_jobs(record: Record, jobs: Sequence[Job], say: Callable[[str], None] = print) -> None:
    """Do the jobs that are not in the record yet, showing how far they are."""
    done = record.done()
    left = [job for job in jobs if job.name not in done]
    if not left:
        return
    head, here, started = commit(), record.here(), time.perf_counter()
    for number, job in enumerate(left, 1):
        # CPU time: on one thread it is what the job takes on an idle core, whatever else runs on the machine
        begin = time.process_time()
        found = job.work()
        seconds = time.process_time() - begin
        made = {"seconds": seconds, "commit": head, "environment": here}
        record.append({"job": job.name, **job.fields, **found, **made})
        rest = (time.perf_counter() - started) / number * (len(left) - number)
        say(f"[{len(done) + number}/{len(jobs)}] {job.name}: {seconds:.1f} s, about {rest / 60:.0f} min left")
