"""Progress for people: bars on a terminal, a line now and then elsewhere, and how long is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO

from gwfast_llm.system.workers import Job

BAR = 24
TERMINAL_EVERY = 0.2  # seconds between redraws
PLAIN_EVERY = 10.0  # seconds between lines where the output is not a terminal


def spell_time(seconds: float) -> str:
    """Write a duration for people.

    Examples
    --------
    >>> spell_time(7), spell_time(100), spell_time(3725)
    ('7 s', '1 min 40 s', '1 h 02 min')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@dataclass
class Stage:
    """Jobs that may run side by side; the next stage starts when all are done."""

    title: str
    jobs: Sequence[Job]
    done: dict[str, float] = field(default_factory=dict)

    def remaining(self, lanes: int) -> float:
        """Expected seconds left with `lanes` workers, at the expected speed."""
        left = [job.seconds * (1 - self.done.get(job.name, 0.0)) for job in self.jobs]
        return max(sum(left) / lanes, max(left, default=0.0))

    def spent(self) -> float:
        """Expected seconds of the work already done."""
        return sum(job.seconds * self.done.get(job.name, 0.0) for job in self.jobs)


class Board:
    """Shows what is being done and how long is left.

    Parameters
    ----------
    stages : sequence of Stage
        The whole plan.
    lanes : int
        Number of workers.
    stream : TextIO, optional
        Where to write; standard error by default.
    """

    def __init__(self, stages: Sequence[Stage], lanes: int, stream: TextIO | None = None):
        self._stages = stages
        self._lanes = lanes
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._started = time.monotonic()
        self._shown = 0.0
        self._drawn = 0
        self._stage: Stage | None = None
        self._plan = self._remaining()

    def start(self, stage: Stage) -> None:
        """Enter a stage."""
        self._stage = stage
        self.say(f"{stage.title}: {len(stage.jobs)} jobs, about {self._left()} left in all")

    def progress(self, name: str, done: int, total: int) -> None:
        """Note how far a job of the current stage is."""
        if self._stage is not None:
            self._stage.done[name] = max(self._stage.done.get(name, 0.0), done / max(total, 1))

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._clear()
        self._stream.write(text + "\n")
        self._stream.flush()

    def tick(self) -> None:
        """Redraw when it is time."""
        now = time.monotonic()
        if self._stage is None or now - self._shown < (TERMINAL_EVERY if self._terminal else PLAIN_EVERY):
            return
        self._shown = now
        running = [(job.name, self._stage.done.get(job.name, 0.0)) for job in self._stage.jobs]
        finished = sum(share >= 1 for _, share in running)
        running = [(name, share) for name, share in running if 0 < share < 1]
        head = (
            f"{self._stage.title}: {finished} of {len(self._stage.jobs)} done, "
            f"{spell_time(now - self._started)} gone, about {self._left()} left"
        )
        if not self._terminal:
            tail = ", ".join(f"{name} {share:.0%}" for name, share in running)
            self.say(head + (f" ({tail})" if tail else ""))
            return
        self._clear()
        lines = [f"  {_bar(share)} {share:4.0%}  {name}" for name, share in running] + [head]
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()
        self._drawn = len(lines)

    def _clear(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _remaining(self) -> float:
        return sum(stage.remaining(self._lanes) for stage in self._stages)

    def _left(self) -> str:
        """Time left: the plan's remainder, scaled by how fast the plan has gone so far."""
        left = self._remaining()
        gone = self._plan - left
        pace = 1.0
        if gone > 10:
            pace = (time.monotonic() - self._started) / gone
        return spell_time(left * min(max(pace, 0.2), 10.0))


def _bar(share: float) -> str:
    filled = round(BAR * share)
    return "[" + "#" * filled + "." * (BAR - filled) + "]"
