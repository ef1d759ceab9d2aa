"""What the record says about the bounds."""

from __future__ import annotations

import gwfast
from experiments.bounds_tightness.run import CLASSES, LARGE, LIMITS, RECORD, SEEDS, SIZES, STATED_MINUTES, jobs
from experiments.shared.markdown import cell, mean, provenance, seconds, table
from experiments.shared.records import Row, where

SMALL, MIDDLE = SIZES
CLOSED = 1e-6


def theorems(rows: list[Row]) -> list[str]:
    """Names of the bounds in the record, in the order of the ladder."""
    names: list[str] = []
    for row in rows:
        names += [key[6:] for key in row if key.startswith("bound ") and key[6:] not in names]
    return names


def share(n: int, kind: str, effort: str) -> str:
    """Proved share of a cell."""
    return cell(where(RECORD.rows, n=n, kind=kind), f"{effort}_share", 2)


def reached(n: int, kind: str, theorem: str) -> str:
    """Proved share of a theorem over the seeds that have it, and how many these are where not all."""
    own = [r for r in where(RECORD.rows, n=n, kind=kind) if f"bound {theorem}" in r]
    return cell(own, f"bound {theorem}", 2) + (f" ({len(own)})" if 0 < len(own) < SEEDS else "")


def answer() -> str:
    """The finding."""
    rows = RECORD.rows

    def span(n: int, effort: str) -> str:
        cells = [[r[f"{effort}_share"] for r in where(rows, n=n, kind=kind)] for kind in CLASSES]
        means = [sum(c) / len(c) for c in cells if c]
        return f"{min(means):.2f} to {max(means):.2f}" if means else "not yet run"

    def classes(low: float, high: float) -> str:
        shares = {k: [r["dual_share"] for r in where(rows, n=MIDDLE, kind=k)] for k in CLASSES}
        return "; ".join(k for k, v in shares.items() if v and low <= sum(v) / len(v) < high) or "none"

    def closed(n: int) -> str:
        own = where(rows, n=n)
        return f"{sum(r['prove_share'] >= 1 - CLOSED for r in own)} of {len(own)} with {n} points"

    parts = [
        f"{n} points, `{effort}`: {span(n, effort)} by class, in {seconds(where(rows, n=n), f'{effort}_s')} s"
        for n in (SMALL, MIDDLE)
        for effort in ("sort", "rows", "dual", "prove")
        if where(rows, n=n)
    ]
    return (
        "Proved share of the best plan's objective: " + "; ".join(parts) + f". With {MIDDLE} points even `dual` leaves "
        f"less than half proved for {classes(0.0, 0.5)}, and proves at least nine tenths for {classes(0.9, 1.1)}. "
        f"Proved optimal to a relative {CLOSED:g} by `prove`: "
        f"{', '.join(closed(n) for n in SIZES if where(rows, n=n))}."
    )


def deviations() -> str:
    """What deviations of rows add to their means, on the class that fusion compares."""

    def both(n: int) -> str:
        own = where(RECORD.rows, n=n, kind="co-activation")
        means, more = (cell(own, f"bound {t}", 2) for t in ("first-lower-bound", "mean-std"))
        return f"row means prove {means} with {n} points, means and deviations {more}"

    return "Of the best plan between co-activation graphs, " + "; ".join(both(n) for n in SIZES) + "."


WORDS = {
    "cloud, 10 % noisy copy": "a point cloud and its copy with 10 % noise",
    "co-activation": "co-activation graphs of language models",
    "squared cloud": "two point clouds, squared distances",
    "cloud": "two point clouds",
    "ba paths": "shortest paths of tree-like graphs",
    "sbm": "graphs with communities, adjacency",
    "er": "random graphs, adjacency",
}


def brief() -> str:
    """One sentence for overviews."""
    shares = {k: [r["dual_share"] for r in where(RECORD.rows, n=MIDDLE, kind=k)] for k in CLASSES}
    means = {k: sum(v) / len(v) for k, v in shares.items() if v}
    low, high = min(means, key=lambda k: means[k]), max(means, key=lambda k: means[k])
    took = seconds(where(RECORD.rows, n=MIDDLE), "dual_s")
    return (
        f"With {MIDDLE} points and {took} s, the proved share of the best plan's cost goes from {means[low]:.2f} "
        f"({low}) to {means[high]:.2f} ({high})."
    )


def front() -> str:
    """A table of proved shares at two efforts."""
    times = [seconds(where(RECORD.rows, n=MIDDLE), f"{e}_s") for e in ("rows", "dual")]
    lines = [
        [words, *(mean(where(RECORD.rows, n=MIDDLE, kind=kind), f"{e}_share") for e in ("rows", "dual"))]
        for kind, words in WORDS.items()
    ]
    return table([f"{MIDDLE} points", *(f"`{e}`, {s} s" for e, s in zip(("rows", "dual"), times))], lines)


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
        lines.append(["seconds", *(seconds(where(rows, n=n), f"{e}_s") for e in efforts)])
        blocks += [f"## {n} points", table(["class", *efforts], lines)]
    for n in SIZES:
        names = theorems(where(rows, n=n))
        lines = [[kind, *(reached(n, kind, t) for t in names)] for kind in CLASSES]
        blocks += [f"## Theorem by theorem, {n} points", table(["class", *names], lines)]
    limits = "; ".join(
        f"{n} points, " + ", ".join(f"`{e}` {s:g} s" for e, s in own.items()) for n, own in LIMITS.items()
    )
    blocks += [
        f"A number in brackets: only so many of {SEEDS} seeds have a value. A bound that an effort did not reach "
        "within its time, or did not need because the gap was closed, is missing, and so is a branch and bound that "
        "ended without proving anything of couplings.",
        "## What this does not show",
        f"* The share is against the best plan found, which need not be optimal. Time limits, the search for the plan "
        f"included: {limits}; more time proves more.\n"
        "* What a theorem gives depends on the time that is left to it.",
        "## How",
        provenance(RECORD, [j.name for j in jobs()], "python -m experiments --only bounds_tightness", STATED_MINUTES),
        "![proved share by effort and class](ladder.png)",
    ]
    return "\n\n".join(blocks) + "\n"
