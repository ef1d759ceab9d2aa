"""Draw the record: every full loss beside its controls, and their differences at equal weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.fusion_ablation.report import KINDS, PAIRS, equal_tests, runs
from experiments.fusion_ablation.run import EQUAL_STEPS, STEPS
from experiments.shared.figures import COLOURS, MARKERS, canvas, save


def main() -> None:
    """Draw controls.png."""
    names: list[tuple[str, int]] = []
    for full, control, lacks in sorted(PAIRS, key=lambda pair: pair[0]):
        if (full, 0) not in names:
            names.append((full, 0))
        names.append((control, 2 if lacks == "source" else 1))
    figure, axes = canvas(1, len(STEPS) + 1, 5.5, 5.4)
    kinds = ("full loss", "without co-activation or graph", "source outputs shuffled")
    for axis, steps in zip(axes[0], STEPS, strict=False):
        for y, (name, kind) in enumerate(names):
            values = [row["excess"] for row in runs(name, steps)]
            first = kind not in [k for _, k in names[:y]]
            axis.plot(values, [y] * len(values), MARKERS[kind], c=COLOURS[kind], label=kinds[kind] if first else None)
        axis.set_yticks(range(len(names)), [name for name, _ in names], fontsize=8)
        axis.invert_yaxis()
        axis.set(xlabel="excess nats a word on M and N", title=f"{steps} steps")
        axis.grid(axis="x", alpha=0.3)
    draw_equal(axes[0][-1])
    axes[0][0].legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.13), ncols=3)
    save(figure, Path(__file__).parent / "controls.png")


def draw_equal(axis: Any) -> None:
    """Full loss less control at equal weights: a point a seed, the mean as a line."""
    tests = [(t, kind) for kind, lacks in enumerate(KINDS) for t in equal_tests("excess", lacks)]
    for y, (test, kind) in enumerate(tests):
        shape = 2 if list(KINDS)[kind] == "source" else 1
        axis.plot(test.differences, [y] * len(test.differences), MARKERS[shape], c=COLOURS[shape])
        axis.plot([test.mean] * 2, [y - 0.35, y + 0.35], c="k", lw=1.2)
    axis.axvline(0, c="0.5", lw=0.8)
    axis.set_yticks(range(len(tests)), [t.name for t, _ in tests], fontsize=8)
    axis.invert_yaxis()
    axis.set(xlabel="excess, full less control (left: full is better)", title=f"equal weights, {EQUAL_STEPS} steps")
    axis.grid(axis="x", alpha=0.3)


if __name__ == "__main__":
    main()
