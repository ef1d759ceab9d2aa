"""Pictures of a run, from its records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from gwfast_llm.config import CROSS_ENTROPY, WEIGHTS
from gwfast_llm.reports.scores import EXACT, TEXT, Contender


def plot_losses(
    path: Path, metrics: Sequence[dict[str, Any]], names: Sequence[str], terms: Sequence[str] = WEIGHTS
) -> None:
    """Cross-entropy on the fusion examples along training, one line an objective (first seed), and the other terms."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4))
    for name in names:
        rows = [m for m in _first_seed(metrics, name) if "loss" in m]
        for part in [p for p in terms if any(p in m for m in rows)]:
            steps, values = zip(*((m["step"], m[part]) for m in rows if part in m))
            if part == CROSS_ENTROPY:
                axes[0].plot(steps, values, label=name)
            else:
                axes[1].plot(steps, [v / max(values[0], 1e-12) for v in values], label=f"{name}: {part}")
    axes[0].set(title="cross-entropy on the fusion examples", xlabel="step", ylabel="nats a token")
    axes[1].set(title="distillation parts, first value = 1", xlabel="step")
    for axis in axes:
        if axis.lines:  # plain fine-tuning has no distillation, and pure distillation no cross-entropy
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
    own = [m for m in metrics if m.get("objective") == name]
    return [m for m in own if m["seed"] == own[0]["seed"]]


def _save(figure: Any, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
