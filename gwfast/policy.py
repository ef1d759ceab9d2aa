"""The thresholds and shares that steer a call, each with the measurement behind it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """Sizes, seconds and shares; seconds are those of a slow machine with two busy processors.

    Attributes
    ----------
    seconds_dual, seconds_prove : float
        Default time limits of the efforts "dual" and "prove".
    first_quantum : float
        Seconds of the first turn of a deep method: some groups of sweeps at n = m = 10, ten looks at the clock.
    settling_weight : float
        Quanta that a search gets in a round where it is made for the problem: with 4 two squared clouds of 300 points
        in the plane are proved to .1 % in 1.3 times the time of the search alone, with 1 in twice that time.
    plan_share : float
        Share of a limit after which the search for the first plan ends: 3000 x 3000 points with 5 s leave the rest to
        the bounds, and smaller problems need far less.
    improvements : int
        Plans of bounds from which a descent is tried in one call.
    last_pass : float
        Seconds an entry of both costs, kept for the cheap bounds and the value of the plan.
    """

    seconds_dual: float = 10.0
    seconds_prove: float = 60.0
    first_quantum: float = 0.05
    settling_weight: float = 4.0
    plan_share: float = 0.4
    improvements: int = 12
    last_pass: float = 6e-8


POLICY = Policy()
