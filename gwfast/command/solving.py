"""Which solver the command calls, with which limits, after the kernels are compiled."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np

from gwfast import checks, clock
from gwfast.errors import InputError
from gwfast.result import Result
from gwfast.solve import entropic_gw, exact_gw, sorted_gw
from gwfast.spaces.space import Space

QUICK_SECONDS = 0.8  # of a call without limits, plan and bounds together
QUICK_ENTRIES = 10_000  # nm up to which plan and deep bounds fit into that
LARGE_SECONDS = 60.0  # of a call without limits on larger problems
_WARM_SECONDS = 0.1


@dataclass(frozen=True, eq=False)
class Answer:
    """A result, and the seconds in which kernels were compiled or loaded, which its time leaves out."""

    result: Result
    preparing: float


def check_limits(options: argparse.Namespace) -> None:
    """Refuse limits and efforts that do not go with the method; the message names the flag."""
    if options.rtol is not None:
        checks.fraction(options.rtol, "--rtol")
    if options.time_limit is not None:
        checks.positive(options.time_limit, "--time-limit")
    if options.method == "sorted" and options.rtol is None and not (options.effort is options.time_limit is None):
        raise InputError("--effort, --time-limit: the sorted plan has a closed form; pass --method exact as well")
    if options.method == "entropic" and options.rtol is not None:
        raise InputError("--rtol: the entropic solver reaches no gap; pass --method exact")


def solve(options: argparse.Namespace, first: Space, second: Space) -> Answer:
    """Compile what the call needs, then make it."""
    begin = time.perf_counter()
    if options.method != "sorted":
        _prepare(first.n == second.n)
    warm = time.perf_counter() - begin
    begin, at = time.perf_counter(), clock.now()
    result = _call(options, first, second)
    paused = (time.perf_counter() - begin) - (clock.now() - at)
    return Answer(result, warm + paused)


def _prepare(square: bool) -> None:
    """Solve a problem of a few points, so that kernels and packages are loaded before the clock starts."""
    x = np.linspace(0, 1, 5) ** 2
    C = np.abs(x[:, None] - x)
    m = 5 if square else 4
    exact_gw(C, C[:m, :m] ** 2, effort="dual", time_limit=_WARM_SECONDS)


def _call(options: argparse.Namespace, first: Space, second: Space) -> Result:
    effort, limit = options.effort, options.time_limit
    if options.rtol is not None:
        return exact_gw(first, second, rtol=options.rtol, effort=effort, time_limit=limit, verbose=not options.json)
    if options.method == "sorted":
        return sorted_gw(first, second)
    if options.method == "entropic":
        return entropic_gw(first, second, effort=effort or "rows", time_limit=limit)
    if effort is not None or limit is not None:
        return exact_gw(first, second, effort=effort or "prove", time_limit=limit)
    if first.n * second.n <= QUICK_ENTRIES:
        return exact_gw(first, second, effort="dual", time_limit=QUICK_SECONDS)
    return exact_gw(first, second, effort="rows", time_limit=LARGE_SECONDS)
