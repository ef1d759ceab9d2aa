"""Draw the record: every full loss beside its controls, and their differences at equal weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.fusion_ablation.report import KINDS, PAIRS, equal_tests, runs
from experiments.fusion_ablation.run import EQUAL_STEPS, STEPS
from experiments.shared.fusion_figures import column, dots, in_words, legend_below, rows_of, save

LOOKS = {"full": 0, "edges": 1, "graph": 1, "source": 2}
LEGEND = ("full loss", "without co-activation or graph", "sources of other examples")


def main() -> None:
    """Draw controls.png: mean and standard deviation over seeds."""
    names: list[tuple[str, int]] = []
    for full, control, lacks in sorted(PAIRS, key=lambda pair: pair[0]):
        if (full, 0) not in names:
            names.append((full, 0))
        names.append((control, LOOKS[lacks]))
    tests = [(t, lacks) for lacks in KINDS for t in equal_tests("excess", lacks)]
    figure, axes = column([0.26 * len(names) + 1.2, 0.36 * len(tests) + 1.8])
    upper, lower = axes[:, 0]
    for look, label in enumerate(LEGEND):
        own = [(y, name) for y, (name, kind) in enumerate(names) if kind == look]
        values = [[row["excess"] for row in runs(name, STEPS[-1])] for _, name in own]
        dots(upper, values, [y for y, _ in own], look, label)
    rows_of(upper, [in_words(name) if kind == 0 else f"– {in_words(name)}" for name, kind in names])
    for label, (_, kind) in zip(upper.get_yticklabels(), names):
        label.set_fontweight("bold" if kind == 0 else "normal")
    upper.set(
        title=f"Losses and their controls, {STEPS[-1]} steps,\na weight chosen for each",
        xlabel="nats a word above the true entropy\n(left is better)",
    )
    draw_equal(lower, tests)
    legend_below(figure, upper, 1, "bars: standard deviation over 5 seeds")
    save(figure, Path(__file__).parent / "controls.png")


def draw_equal(axis: Any, tests: list[tuple[Any, str]]) -> None:
    """Full loss less control at equal weights."""
    for look in (1, 2):
        own = [(y, t) for y, (t, lacks) in enumerate(tests) if LOOKS[lacks] == look]
        dots(axis, [t.differences for _, t in own], [y for y, _ in own], look)
    axis.axvline(0, c="0.4", lw=0.8)
    rows_of(axis, [difference_in_words(t.name) for t, _ in tests])
    axis.set(
        title=f"Full loss less control, both at the\nweight given, {EQUAL_STEPS} steps",
        xlabel="difference, nats a word\n(left: the full loss is better)",
    )


def difference_in_words(name: str) -> str:
    """A comparison as the report names it, with its weight, in two lines."""
    pair, _, weights = name.partition(", w = ")
    full, _, control = pair.partition(" less ")
    return f"{in_words(full)}, {weights.partition(' ')[0]}\nless {in_words(control)}"


if __name__ == "__main__":
    main()
