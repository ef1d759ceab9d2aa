"""What the record says about the bounds."""

from __future__ import annotations

import gwfast
from experiments.bounds_tightness.run import CLASSES, LARGE, RECORD, SECONDS, SIZES, STATED_MINUTES, jobs
from experiments.shared.markdown import cell, mean, provenance, table
from experiments.shared.records import Row, where

SMALL, MIDDLE = SIZES


def theorems(rows: list[Row]) -> list[str]:
    """Names of the bounds in the record, in the order of the ladder."""
    names: list[str] = []
    for row in rows:
        names += [key[6:] for key in row if key.startswith("bound ") and key[6:] not in names]
    return names


def share(n: int, kind: str, effort: str) -> str:
    """Proved share of a cell."""
    return cell(where(RECORD.rows, n=n, kind=kind), f"{effort}_share", 2)


def answer() -> str:
    """The finding."""
    rows = RECORD.rows

    def span(n: int, effort: str) -> str:
        cells = [[r[f"{effort}_share"] for r in where(rows, n=n, kind=kind)] for kind in CLASSES]
        means = [sum(c) / len(c) for c in cells if c]
        return f"{min(means):.2f} to {max(means):.2f}" if means else "not yet run"

    def seconds(n: int, effort: str) -> str:
        return mean(where(rows, n=n), f"{effort}_s", 3)

    def classes(low: float, high: float) -> str:
        shares = {k: [r["dual_share"] for r in where(rows, n=MIDDLE, kind=k)] for k in CLASSES}
        return "; ".join(k for k, v in shares.items() if v and low <= sum(v) / len(v) < high) or "none"

    parts = [
        f"{n} points, `{effort}`: {span(n, effort)} by class, in {seconds(n, effort)} s"
        for n in (SMALL, MIDDLE)
        for effort in ("sort", "rows", "dual", "prove")
        if where(rows, n=n)
    ]
    return (
        "Proved share of the best plan's objective: " + "; ".join(parts) + f". With {MIDDLE} points even `dual` leaves "
        f"less than half proved for {classes(0.0, 0.5)}, and proves at least nine tenths for {classes(0.9, 1.1)}."
    )


def headline() -> str:
    """For the README of the repository."""
    lines = [[kind, *(share(MIDDLE, kind, e) for e in ("sort", "rows", "dual"))] for kind in CLASSES]
    seconds = ["seconds", *(mean(where(RECORD.rows, n=MIDDLE), f"{e}_s", 3) for e in ("sort", "rows", "dual"))]
    return (
        f"Proved share of the best plan's objective, {MIDDLE} points (1 is proved optimal); cheap bounds are loose.\n\n"
        + table(["class", "`sort`", "`rows`", "`dual`"], [*lines, seconds])
    )


def readme() -> str:
    """README of the folder."""
    rows = RECORD.rows
    blocks = [
        "# How tight are the lower bounds, and at what cost?",
        answer(),
        "Question: what share of the best known plan's objective does each effort prove (1 is proved optimal), by "
        "class and number of points? Mean and standard deviation over seeds.",
    ]
    for n in (*SIZES, LARGE):
        efforts = [e for e in gwfast.EFFORTS if any(f"{e}_share" in r for r in where(rows, n=n))]
        lines = [[kind, *(share(n, kind, e) for e in efforts)] for kind in CLASSES]
        lines.append(["seconds", *(mean(where(rows, n=n), f"{e}_s", 3) for e in efforts)])
        blocks += [f"## {n} points", table(["class", *efforts], lines)]
    names = theorems(where(rows, n=SMALL))
    lines = [[kind, *(mean(where(rows, n=SMALL, kind=kind), f"bound {t}") for t in names)] for kind in CLASSES]
    limits = ", ".join(f"`{e}` at most {s:g} s" for e, s in SECONDS.items())
    blocks += [
        f"## Theorem by theorem, {SMALL} points",
        table(["class", *names], lines),
        "## What this does not show",
        f"* The share is against the best plan found, which need not be optimal. Time limits: {limits}; more time "
        "proves more.\n* Bounds that an effort did not reach within its time are missing from the means.",
        "## How",
        provenance(RECORD, [j.name for j in jobs()], "python -m experiments --only bounds_tightness", STATED_MINUTES),
        "![proved share against seconds](ladder.png)",
    ]
    return "\n\n".join(blocks) + "\n"
