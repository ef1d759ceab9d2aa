"""What the record says about the ladder."""

from __future__ import annotations

from itertools import pairwise

from experiments.fusion_ladder.run import LOOKS, METHODS, RECORD, STATED_MINUTES, STEPS, jobs
from experiments.fusion_objectives.run import RECORD as OBJECTIVES
from experiments.shared.markdown import SEEDS_VARY, cell, mean, provenance, table
from experiments.shared.records import Row, where

RUNGS = ("lower", "plan", "batch", "example", "window", "position", "four_kl")
NAMES = ("GW, proved lower end", "GW, best plan", "batch", "answer", "window 4", "position", "4 path-KL")


def holds(rows: list[Row]) -> tuple[int, int]:
    """Measurements in which every rung is at most the next, and all measurements."""
    good = total = 0
    for row in rows:
        for step in LOOKS:
            values = [row[f"{rung}@{step}"] for rung in RUNGS]
            good += all(a <= b * (1 + 1e-4) for a, b in pairwise(values))
            total += 1
    return good, total


def relative(rows: list[Row], rung: str, step: int) -> list[Row]:
    """A rung over the energy of the source's graph."""
    return [{"seed": r["seed"], rung: r[f"{rung}@{step}"] / r[f"energy@{step}"]} for r in rows]


def extremes() -> str:
    """Which loss brings the graphs closest, which the predictions, and which fuses best."""
    rows = RECORD.rows

    def least(score: dict[str, float]) -> str:
        return min(score, key=lambda m: score[m])

    def average(values: list[float]) -> float:
        return sum(values) / len(values)

    upper = {m: average([r["batch"] for r in relative(where(rows, method=m), "batch", STEPS)]) for m in METHODS}
    kl = {m: average([r[f"four_kl@{STEPS}"] for r in where(rows, method=m)]) for m in METHODS}
    excess = {
        m: average([r["excess"] for r in where(OBJECTIVES.rows, stage="test", method=m, steps=STEPS)]) for m in METHODS
    }
    before = average([r["four_kl@0"] for r in rows])
    closer = [m for m in METHODS if upper[m] < upper["path"]]
    worse = [m for m in closer if kl[m] > before]
    return (
        f"Closest graphs (upper end): {least(upper)}; closest predictions: {least(kl)}; least excess on the tests: "
        f"{least(excess)}. Closer graphs than path: {', '.join(closer) or 'none'}; of these, predictions further from "
        f"the source than before fusion: {', '.join(worse) or 'none'}."
    )


def answer() -> str:
    """The finding."""
    rows = RECORD.rows
    good, total = holds(rows)

    def at(method: str, rung: str, step: int) -> float:
        found = relative(where(rows, method=method), rung, step)
        return sum(r[rung] for r in found) / len(found)

    def kl(method: str, step: int) -> float:
        own = where(rows, method=method)
        return sum(r[f"four_kl@{step}"] for r in own) / len(own) / 4

    start = at("path", "lower", 0), at("path", "batch", 0)
    parts = [f"{m}: [{at(m, 'lower', STEPS):.3f}, {at(m, 'batch', STEPS):.3f}], KL {kl(m, STEPS):.3f}" for m in METHODS]
    return (
        f"The ladder GW <= batch <= answer <= window <= position <= 4 path-KL holds in {good} of {total} measurements. "
        f"Certified GW interval between the pivot's and the source's graph of all held-out answers (over the source's "
        f"energy) and KL to the source: before [{start[0]:.3f}, {start[1]:.3f}], KL {kl('path', 0):.3f}; after "
        f"{STEPS} steps " + "; ".join(parts) + f". {extremes()}"
    )


def brief() -> str:
    """A few sentences for overviews."""

    def ends(method: str, step: int) -> str:
        own = where(RECORD.rows, method=method)
        low, high = (mean(relative(own, rung, step), rung, 2) for rung in ("lower", "batch"))
        kl = sum(r[f"four_kl@{step}"] for r in own) / len(own) / 4
        return f"[{low}, {high}] with KL {kl:.2f}"

    return (
        f"Before fusion the proved GW interval of pivot against source is {ends('path', 0)} nats to the source. After "
        f"{STEPS} steps: sorted graphs {ends('gld', STEPS)}, graphs in one vocabulary {ends('gld_aligned', STEPS)}, KL "
        f"along the text {ends('path', STEPS)}."
    )


def readme() -> str:
    """README of the folder."""
    rows = RECORD.rows
    lines = []
    for method in METHODS:
        own = where(rows, method=method)
        for step in LOOKS:
            if step == 0 and method != METHODS[0]:
                continue
            label = "before" if step == 0 else method
            values = [cell(relative(own, rung, step), rung) for rung in RUNGS[:-1]]
            lines.append([label, str(step), *values, cell(own, f"four_kl@{step}", 2)])
    single = []
    for method in METHODS:
        own = where(rows, method=method)
        for step in LOOKS:
            if step == 0 and method != METHODS[0]:
                continue
            quantiles = [
                f"{mean(own, f'{name}_q50@{step}', 3)} ({mean(own, f'{name}_q05@{step}', 3)} to "
                f"{mean(own, f'{name}_q95@{step}', 3)})"
                for name in ("wd", "gw_lower", "gw_upper")
            ]
            single.append(["before" if step == 0 else method, str(step), *quantiles])
    return (
        "\n\n".join(
            [
                "# Which loss moves which end of GW?",
                answer(),
                "Question: between the GW distance of co-activation graphs and distillation position by position lies "
                "a ladder of losses, each at most the next. Which rungs does each objective lower, and is the lower "
                "or the upper end of GW what matters?",
                "## All held-out answers as one graph",
                "GW and aligned losses over the energy ||C_t||^2 of the source's graph; KL in nats; mean and standard "
                "deviation over seeds.",
                table(["after", "step", *NAMES], lines),
                "## Single answers",
                "Median (5 to 95 %) over answers, mean over seeds: WD, the distance of sorted probabilities, and both "
                "ends of GW over the source's energy.",
                table(["after", "step", "WD", "GW, lower end", "GW, known coupling"], single),
                "Why the ladder holds: GW is at most the objective of the coupling that takes every token to itself; "
                "means of graphs are at most as far apart as the graphs on average (Jensen); at one position "
                "||pp' - qq'||^2 <= 4 ||p - q||^2 (triangle inequality) <= 2 ||p - q||_1^2 (entries that sum to zero) "
                "<= 4 KL (Pinsker). At one position there is no graph any more.",
                "## What this does not show",
                f"{SEEDS_VARY}\n"
                "* The lower end is the rows bound, not the best that could be proved.\n"
                "* Weights are those chosen for fusion, so the losses pull with different strength.",
                "## How",
                provenance(
                    RECORD, [j.name for j in jobs()], "python -m experiments --only fusion_ladder", STATED_MINUTES
                ),
                "![ends of the interval along training](ladder.png)",
            ]
        )
        + "\n"
    )
