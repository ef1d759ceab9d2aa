"""Scores of the models of a comparison: a table and a verdict in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

from gwfast_llm.reports.words import TASKS

TEXT = "excess"
EXACT = "exact"
BYTES = "bytes"


@dataclass(frozen=True)
class Score:
    """Score of one task; see `gwfast_llm.reports.scoring.TaskScore`."""

    task: str
    kind: str
    value: float


@dataclass(frozen=True)
class Contender:
    """A model in the comparison.

    Attributes
    ----------
    name, what : str
        Short name and one line of description.
    runs : list of list of Score
        Scores of every seed.
    trained : bool
        Whether it is the pivot after training (and could win).
    fused : bool
        Whether it learnt from the sources' logits.
    seconds : float
        Mean training time; NaN where nothing was trained.
    """

    name: str
    what: str
    runs: list[list[Score]]
    trained: bool
    fused: bool = False
    seconds: float = float("nan")

    def means(self, kind: str, tasks: str) -> list[float]:
        """Mean over the tasks, one value a seed."""
        return [fmean(s.value for s in run if s.kind == kind and s.task in tasks) for run in self.runs]


@dataclass(frozen=True)
class Verdict:
    """What the comparison says.

    Attributes
    ----------
    winner : Contender
        Trained pivot with the lowest text excess.
    text : list of str
        Sentences for people.
    holds : bool
        Whether the best fused pivot beats the pivot before and the better of the SFT runs on text, at an exact match
        no lower than theirs.
    """

    winner: Contender
    text: list[str]
    holds: bool


def verdict(contenders: Sequence[Contender], texts: str, exacts: str) -> Verdict:
    """Judge a comparison: text excess first, exact match second.

    Parameters
    ----------
    contenders : sequence of Contender
        The first is the pivot before training.
    texts, exacts : str
        Letters of the tasks that count for text and for exact match.

    Returns
    -------
    Verdict
    """

    def text(c: Contender) -> float:
        return fmean(c.means(TEXT, texts))

    def exact(c: Contender) -> float:
        return fmean(c.means(EXACT, exacts))

    before = contenders[0]
    trained = [c for c in contenders if c.trained]
    fused = min((c for c in trained if c.fused), key=text)
    plain = min((c for c in trained if not c.fused), key=text)
    winner = min(trained, key=text)
    holds = text(fused) < min(text(before), text(plain)) and exact(fused) >= max(exact(before), exact(plain))
    lines = [
        f"The objective with the lowest text excess is **{winner.name}** ({text(winner):.3f} nats a word above the "
        f"true entropy, exact match {exact(winner):.3f}).",
        f"Best fused pivot: {fused.name}, excess {text(fused):.3f}, exact match {exact(fused):.3f}. "
        f"Pivot before: {text(before):.3f}, {exact(before):.3f}. "
        f"Better plain SFT on text: {plain.name}, {text(plain):.3f}, {exact(plain):.3f}.",
        "It beats both on text, at no lower exact match."
        if holds
        else "It does **not** beat both on text at no lower exact match.",
    ]
    strongest = max((c for c in trained if not c.fused), key=exact)
    gap, spread = exact(fused) - exact(strongest), pstdev(strongest.means(EXACT, exacts))
    lines.append(
        f"On exact match alone, {fused.name} is {abs(gap):.3f} {'above' if gap >= 0 else 'below'} {strongest.name} "
        f"(spread of {strongest.name} over seeds {spread:.3f}): distillation is not known to raise exact match here; "
        "it lets the pivot learn the tasks at a lower loss on text."
    )
    lost = [c.name for c in trained if c.fused and text(c) >= text(plain)]
    if lost:
        lines.append(f"Did not help on text against {plain.name}: {', '.join(lost)}.")
    return Verdict(winner, lines, holds)


def table(contenders: Sequence[Contender], texts: str, exacts: str) -> str:
    """Markdown table: mean and standard deviation over seeds, then every task."""
    tasks = [s.task for s in contenders[0].runs[0]]
    words = [TASKS.get(task, task).replace("\n", " ") for task in tasks]
    head = ["model", "text: excess nats a word", "exact match", *words, "train s"]
    rows = []
    for c in contenders:
        per_task = [fmean(s.value for run in c.runs for s in run if s.task == t) for t in tasks]
        cells = [_spread(c.means(TEXT, texts)), _spread(c.means(EXACT, exacts))]
        cells += [f"{v:.2f}" for v in per_task]
        rows.append([c.name, *cells, "" if math.isnan(c.seconds) else f"{c.seconds:.0f}"])
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{fmean(values):.3f} ± {pstdev(values):.3f}"


def score_records(contenders: Sequence[Contender]) -> list[dict[str, Any]]:
    """Scores as records, one a contender, run and task."""
    return [
        {"contender": c.name, "run": k, "task": s.task, "kind": s.kind, "score": s.value}
        for c in contenders
        for k, run in enumerate(c.runs)
        for s in run
    ]
