"""What a call may spend: time by one clock, and memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gwfast.clock import now

MEMORY = 4 * 2**30  # bytes that a method may take by default


@dataclass(frozen=True)
class Budget:
    """Time and memory left; the only record that reads the time.

    Attributes
    ----------
    deadline : float
        Moment to stop at, in seconds of the clock; infinite without a time limit.
    memory : float
        Bytes that a method may take.
    clock : callable
        Seconds since some moment.  Tests pass a clock of their own.
    """

    deadline: float = math.inf
    memory: float = MEMORY
    clock: Callable[[], float] = field(default_factory=lambda: now, repr=False)

    def now(self) -> float:
        """The time on the clock, in seconds."""
        return self.clock()

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.deadline - self.now() if self.limited else math.inf

    @property
    def limited(self) -> bool:
        """Whether there is a deadline."""
        return self.deadline < math.inf

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self.limited and self.now() >= self.deadline

    def slice(self, share: float) -> Budget:
        """The budget that ends after a share of the time left."""
        return replace(self, deadline=self.now() + share * self.left) if self.limited else self

    def within(self, seconds: float) -> Budget:
        """The budget that ends after `seconds`, or with this one."""
        return replace(self, deadline=min(self.deadline, self.now() + seconds))

    def less(self, seconds: float) -> Budget:
        """The budget that ends `seconds` before this one."""
        return replace(self, deadline=self.deadline - seconds)

    def fits(self, seconds: float, size: float = 0.0) -> bool:
        """Whether work of so many seconds and bytes ends in time."""
        return size <= self.memory and seconds <= self.left


UNLIMITED = Budget()
