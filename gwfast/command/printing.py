"""What the command prints: a table with the way to a tighter interval, or one JSON object."""

from __future__ import annotations

import argparse
import math
import shlex

from gwfast.arrays import item
from gwfast.command.solving import Answer
from gwfast.io import Loaded

_DEFAULT_GAP, _DEFAULT_SECONDS = 0.01, 60.0


def table(options: argparse.Namespace, answer: Answer, first: Loaded, second: Loaded) -> str:
    """The answer in lines: how the files were read, the result, the time for compiling, and what to try next."""
    lines = [f"{first.name} against {second.name}"]
    lines += [f"{file.name}: {file.said}" for file in (first, second) if file.said]
    lines.append(str(answer.result))
    if answer.preparing >= 0.0005:
        lines.append(f"  preparing    {answer.preparing:.3g} s   compiling or loading kernels, before the time above")
    return "\n".join([*lines, *next_step(options, answer)])


def next_step(options: argparse.Namespace, answer: Answer) -> list[str]:
    """The command that narrows the interval; nothing where it is closed, or as narrow as asked."""
    result = answer.result
    if result.optimal or (options.rtol is not None and result.gap <= options.rtol):
        return []
    gap = options.rtol or _DEFAULT_GAP
    if options.rtol is None:
        seconds = max(_DEFAULT_SECONDS, 10.0 * round(options.time_limit or result.seconds))
    else:
        seconds = 10 * (options.time_limit or _DEFAULT_SECONDS)
    flags = f"--rtol {gap:g} --time-limit {seconds:g}"
    command = f"python -m gwfast {shlex.join(_kept(options))} {flags}"
    if options.rtol is None:
        return [f"tighter: {command}"]
    reached = f"{100 * result.gap:.3g} %" if math.isfinite(result.gap) else "no bound"
    return [f"asked for a gap of {100 * options.rtol:g} %, reached {reached}; longer: {command}"]


def _kept(options: argparse.Namespace) -> list[str]:
    """The files and the flags that say how they are read."""
    words = [options.first, options.second]
    words += [f"--{options.kind}"] if options.kind else []
    for flag, value in (
        ("--first", options.first_kind),
        ("--second", options.second_kind),
        ("--cost", None if options.cost == "shortest_path" else options.cost),
        ("--weight", options.weight),
        ("--unreachable", None if options.unreachable is None else f"{options.unreachable:g}"),
    ):
        words += [flag, value] if value is not None else []
    for flag in ("unweighted", "undirected", "directed", "largest_component"):
        words += [f"--{flag.replace('_', '-')}"] if getattr(options, flag) else []
    return words


def as_record(options: argparse.Namespace, answer: Answer, first: Loaded, second: Loaded) -> dict[str, object]:
    """What the JSON output holds; numbers that are not finite are null."""
    result = answer.result
    rows, cols, mass = result.plan.atoms()
    plan = [
        {"from": first.labels[i], "to": second.labels[k], "mass": w}
        for i, k, w in zip(rows.tolist(), cols.tolist(), mass.tolist())
    ]
    return {
        "first": first.name,
        "second": second.name,
        "solver": result.solver,
        "value": _finite(result.value),
        "lower": _finite(result.lower),
        "upper": _finite(result.upper),
        "gap": _finite(result.gap),
        "optimal": result.optimal,
        "bounds": {b.theorem: _finite(b.value) for b in result.certificate.bounds},
        "stop": result.stop.name,
        "seconds": result.seconds,
        "preparing_seconds": answer.preparing,
        "plan": plan,
        "read": {"first": first.said, "second": second.said},
        "next": next_step(options, answer),
    }


def _finite(x: object) -> float | None:
    number = float(item(x))
    return number if math.isfinite(number) else None
