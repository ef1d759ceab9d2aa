"""The report of a run: a table, a verdict in words, and plots; all from records, nothing is computed twice."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

TEXT = "excess"
EXACT = "exact"


@dataclass(frozen=True)
class Score:
    """Score of one task; see `gwfast_llm.evaluate.TaskScore`."""

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
        "what it buys is learning the tasks without ruining the text."
    )
    lost = [c.name for c in trained if c.fused and text(c) >= text(plain)]
    if lost:
        lines.append(f"Did not help on text against {plain.name}: {', '.join(lost)}.")
    return Verdict(winner, lines, holds)


def table(contenders: Sequence[Contender], texts: str, exacts: str) -> str:
    """Markdown table: mean and standard deviation over seeds, then every task."""
    tasks = [s.task for s in contenders[0].runs[0]]
    head = ["", "excess " + ",".join(texts), "exact match " + ",".join(exacts), *tasks, "train s"]
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


def plot_losses(path: Path, metrics: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """Cross-entropy on the fusion examples along training, one line an objective (first seed)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4))
    for name in names:
        rows = [m for m in _first_seed(metrics, name) if "loss" in m]
        axes[0].plot([m["step"] for m in rows], [m["sft"] for m in rows], label=name)
        parts = sorted({key for m in rows for key in m} & {"path", "uld", "gld"})
        for part in parts:
            values = [m[part] / max(rows[0][part], 1e-12) for m in rows]
            axes[1].plot([m["step"] for m in rows], values, label=f"{name}: {part}")
    axes[0].set(title="cross-entropy on the fusion examples", xlabel="step", ylabel="nats a token")
    axes[1].set(title="distillation parts, first value = 1", xlabel="step")
    for axis in axes:
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    _save(figure, path)


def plot_interval(path: Path, metrics: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """Lower and upper end of the certified GW interval along training (first seed)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4.2))
    for k, name in enumerate(names):
        rows = [m for m in _first_seed(metrics, name) if "gw_upper" in m]
        steps = [m["step"] for m in rows]
        low, high = [m["gw_lower"] for m in rows], [m["gw_upper"] for m in rows]
        axis.plot(steps, high, color=f"C{k}", label=name)
        axis.plot(steps, low, color=f"C{k}", linestyle="--")
        axis.fill_between(steps, low, high, color=f"C{k}", alpha=0.08)
    axis.set(
        title="GW between the pivot's and the sources' co-activation graphs",
        xlabel="step",
        ylabel="share of the sources' graph energy",
        ylim=(0, None),
    )
    axis.legend(title="solid: upper end, dashed: lower end", fontsize=8, title_fontsize=8)
    axis.grid(alpha=0.3)
    _save(figure, path)


def plot_scores(path: Path, contenders: Sequence[Contender]) -> None:
    """Bars of every task, one group a task, one bar a contender."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 4.2), width_ratios=(3, 5))
    for axis, kind, title in (
        (axes[0], TEXT, "text: excess nats a word (0 is perfect)"),
        (axes[1], EXACT, "exact match (1 is perfect)"),
    ):
        tasks = [s.task for s in contenders[0].runs[0] if s.kind == kind]
        width = 0.85 / len(contenders)
        for k, c in enumerate(contenders):
            means = [fmean(s.value for run in c.runs for s in run if s.task == t) for t in tasks]
            axis.bar([i + k * width for i in range(len(tasks))], means, width, label=c.name)
        axis.set_xticks([i + 0.4 for i in range(len(tasks))], tasks)
        axis.set_title(title)
        axis.grid(alpha=0.3, axis="y")
    axes[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _save(figure, path)


def _first_seed(metrics: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    own = [m for m in metrics if m["objective"] == name]
    return [m for m in own if m["seed"] == own[0]["seed"]]


def _save(figure: Any, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write_metrics(path: Path, metrics: Sequence[dict[str, Any]]) -> None:
    """Write records as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in metrics), encoding="utf-8")


def score_records(contenders: Sequence[Contender]) -> list[dict[str, Any]]:
    """Scores as records, one a contender, run and task."""
    return [
        {"contender": c.name, "run": k, "task": s.task, "kind": s.kind, "score": s.value}
        for c in contenders
        for k, run in enumerate(c.runs)
        for s in run
    ]
