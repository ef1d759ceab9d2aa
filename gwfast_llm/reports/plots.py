"""Pictures of a run, from its records.

At most 6 inches wide with letters of 9 points or more, so that they can be read on a telephone; colours of Okabe and
Ito, which the colour-blind can distinguish, each with a mark of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from gwfast_llm.config import CROSS_ENTROPY, WEIGHTS
from gwfast_llm.reports.scores import BYTES, EXACT, TEXT, Contender
from gwfast_llm.reports.words import objective_in_words, term_in_words

WIDE = 6.0  # inches
SIZE = 10  # points of most letters
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#888888")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
KINDS = {
    TEXT: "Text: nats a word above the true entropy\n(0 is perfect, left is better)",
    BYTES: "Loss on held-out answers, nats a byte\n(left is better)",
    EXACT: "Held-out answers right as a whole, share\n(right is better)",
}


def plot_losses(
    path: Path, metrics: Sequence[dict[str, Any]], names: Sequence[str], terms: Sequence[str] = WEIGHTS
) -> None:
    """Cross-entropy on the fusion examples along training, and below it the other terms; mean and range over seeds."""
    figure, axes = _canvas(2, 3.2)
    for k, name in enumerate(names):
        rows = [m for m in metrics if m.get("objective") == name and "loss" in m]
        for number, part in enumerate(p for p in terms if any(p in m for m in rows)):
            curves = _curves(rows, part)
            if part == CROSS_ENTROPY:
                _band(axes[0], curves, k, "-", objective_in_words(name))
            else:
                curves = [[(step, value / max(own[0][1], 1e-12)) for step, value in own] for own in curves if own]
                style = ("-", "--", ":", "-.")[(number - 1) % 4]
                said = dict.fromkeys((objective_in_words(name), term_in_words(part)))
                _band(axes[1], curves, k, style, ": ".join(said))
    axes[0].set(title="Cross-entropy on the fusion examples", ylabel="nats a token")
    axes[1].set(title="Distillation terms, each divided by its first value", xlabel="step", ylabel="share of the first")
    for axis in axes:
        if axis.lines:  # plain fine-tuning has no distillation, and pure distillation no cross-entropy
            axis.set_ylim(0, 1.05 * axis.dataLim.y1 or None)  # room above a line that stays level
            _legend(axis)
    _save(figure, path)


def plot_interval(path: Path, metrics: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """Lower and upper end of the certified GW interval along training (first seed)."""
    figure, axes = _canvas(1, 4.2)
    axis = axes[0]
    for k, name in enumerate(names):
        rows = [m for m in _first_seed(metrics, name) if "gw_upper" in m]
        steps = [m["step"] for m in rows]
        low, high = [m["gw_lower"] for m in rows], [m["gw_upper"] for m in rows]
        every = max(1, len(steps) // 6)
        look = {"color": COLOURS[k % 8], "marker": MARKS[k % 8], "markevery": every, "lw": 1.4}
        axis.plot(steps, high, label=objective_in_words(name), **look)
        axis.plot(steps, low, linestyle="--", **look)
        axis.fill_between(steps, low, high, color=COLOURS[k % 8], alpha=0.08)
    axis.set(
        title="Proved range of GW between pivot's and sources' graphs\n(solid: upper end, dashed: lower end)",
        xlabel="step",
        ylabel="share of the sources' graph energy",
        ylim=(0, None),
    )
    if axis.lines:
        _legend(axis)
    _save(figure, path)


def plot_scores(path: Path, contenders: Sequence[Contender], words: Mapping[str, str] | None = None) -> None:
    """A panel a kind of score, a row a task, a mark a contender: mean over seeds, with their standard deviation.

    `words` says what tasks are called.
    """
    kinds = [kind for kind in KINDS if any(s.kind == kind for s in contenders[0].runs[0])]
    tasks = [[s.task for s in contenders[0].runs[0] if s.kind == kind] for kind in kinds]
    trained = [c.name for c in contenders if c.trained]
    looks = [*trained, *(c.name for c in contenders if not c.trained)]  # an objective looks as in the other pictures
    figure, axes = _canvas(len(kinds), 0.8, [len(own) + 0.6 for own in tasks])
    for axis, kind, own in zip(axes, kinds, tasks):
        for k, c in enumerate(contenders):
            look = looks.index(c.name) % 8
            values = [[s.value for run in c.runs for s in run if s.task == t and s.kind == kind] for t in own]
            at = [y + (k - (len(contenders) - 1) / 2) * 0.8 / len(contenders) for y in range(len(own))]
            axis.errorbar(
                [fmean(v) for v in values],
                at,
                xerr=[pstdev(v) for v in values],
                fmt=MARKS[look],
                color=COLOURS[look],
                mfc=COLOURS[look] if c.trained else "white",
                ms=6,
                elinewidth=1.2,
                label=objective_in_words(c.name),
            )
        axis.set_yticks(range(len(own)), [(words or {}).get(t, t or "all") for t in own], fontsize=SIZE)
        for y in range(1, len(own)):
            axis.axhline(y - 0.5, color="0.85", lw=0.8)
        axis.set(ylim=(len(own) - 0.5, -0.5), title=KINDS[kind])
        if kind == EXACT:
            axis.set_xlim(-0.03, 1.03)
        axis.grid(alpha=0.3, axis="x")
    seeds = max(len(c.runs) for c in contenders)
    note = f"bars: standard deviation over {seeds} seeds" if seeds > 1 else "one seed: no error bars"
    _legend(axes[-1], note + "; hollow: not trained here" * any(not c.trained for c in contenders))
    _save(figure, path)


def _curves(rows: Sequence[dict[str, Any]], name: str) -> list[list[tuple[int, float]]]:
    """Values of one name along the steps, a curve a seed."""
    seeds = dict.fromkeys(m["seed"] for m in rows)
    return [[(m["step"], m[name]) for m in rows if m["seed"] == seed and name in m] for seed in seeds]


def _band(axis: Any, curves: Sequence[Sequence[tuple[int, float]]], k: int, style: str, label: str) -> None:
    """Mean over seeds as a line, lowest to highest as a band."""
    by_step: dict[int, list[float]] = {}
    for curve in curves:
        for step, value in curve:
            by_step.setdefault(step, []).append(value)
    steps = sorted(by_step)
    means = [fmean(by_step[s]) for s in steps]
    colour, every = COLOURS[k % 8], max(1, len(steps) // 6)
    axis.plot(steps, means, style, color=colour, marker=MARKS[k % 8], markevery=every, ms=5, lw=1.4, label=label)
    if len(curves) > 1:
        low, high = [min(by_step[s]) for s in steps], [max(by_step[s]) for s in steps]
        axis.fill_between(steps, low, high, color=colour, alpha=0.15, lw=0)


def _canvas(rows: int, height: float, ratios: Sequence[float] | None = None) -> tuple[Any, Any]:
    """A figure of one column; `height` in inches a row, or a unit of the ratios."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    tall = height * (rows if ratios is None else sum(ratios)) + 1.2
    figure, axes = plt.subplots(
        rows, 1, figsize=(WIDE, tall), height_ratios=ratios, squeeze=False, layout="constrained"
    )
    for axis in axes[:, 0]:
        axis.tick_params(labelsize=SIZE - 1)
        axis.title.set_fontsize(SIZE + 1)
        for label in (axis.xaxis.label, axis.yaxis.label):
            label.set_fontsize(SIZE)
        if ratios is None:  # the horizontal axis counts steps
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axis.grid(alpha=0.3)
    return figure, axes[:, 0]


def _legend(axis: Any, title: str = "") -> None:
    """A legend below an axis."""
    from matplotlib.transforms import ScaledTranslation

    labels, below = axis.get_legend_handles_labels()[1], 0.5 if axis.get_xlabel() else 0.25  # inches
    axis.legend(
        fontsize=SIZE - 1,
        title=title or None,
        title_fontsize=SIZE - 1,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=axis.transAxes + ScaledTranslation(0, -below, axis.figure.dpi_scale_trans),
        ncols=1 if max(map(len, labels)) > 36 else 2,
        frameon=False,
    )


def _first_seed(metrics: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    own = [m for m in metrics if m.get("objective") == name]
    return [m for m in own if m["seed"] == own[0]["seed"]]


def _save(figure: Any, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure.savefig(path, dpi=110)
    plt.close(figure)
