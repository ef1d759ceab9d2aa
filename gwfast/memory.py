"""What memory a call takes, said or refused before it starts."""

from __future__ import annotations

import sys
from pathlib import Path

from gwfast.budget import MEMORY
from gwfast.errors import InputError
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.schedule import bounds_bytes, without_matrix


def solver_bytes(problem: Problem) -> int:
    """Bytes that the search for a plan takes beyond the spaces: single and double copies, plans, gradients."""
    n, m = problem.shape
    factored = problem.x.factored and problem.y.factored
    costs = 0 if factored else 16 * (n * n + m * m)
    return costs + 60 * n * m


def available() -> int | None:
    """Bytes that this process may still take, as the system tells; None where it does not."""
    found = []
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        found.append(1024 * int(lines["MemAvailable"].split()[0]))
    except (OSError, KeyError, ValueError):
        pass
    try:  # the limit of a container
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        found.append(limit - used)
    except (OSError, ValueError):
        pass
    return min(found, default=None)


def check_room(call: str, problem: Problem, effort: str, sparse: bool = False, point: int = POLICY.point_bytes) -> None:
    """Refuse a call that would not fit into memory; say what takes much of it.

    With `sparse` the search holds no (n, m) array, but so many bytes a `point`.
    """
    n, m = problem.shape
    needed = 0 if effort == "sort" else bounds_bytes(problem)
    if needed > MEMORY and without_matrix(problem):
        needed = 0  # the schedule leaves out what needs matrices
    if call.endswith("_gw"):
        needed = max(needed, point * (n + m) if sparse else solver_bytes(problem))
    if needed < POLICY.checked_bytes:
        return
    what = f"{call} on {n} x {m} points takes about {needed / 1e9:.1f} GB of memory"
    room = available()
    if room is not None and needed > room:
        share = (room / needed) ** 0.5
        raise InputError(
            f"C1, C2: {what}, {room / 1e9:.1f} GB are available; pass at most {int(share * n)} x "
            f"{int(share * m)} points, or use sorted_gw, which takes O(n)"
        )
    if needed >= POLICY.said_bytes:
        print(f"gwfast: {what}", file=sys.stderr, flush=True)
