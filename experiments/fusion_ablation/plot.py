"""Draw the record: every full loss beside its controls."""

from __future__ import annotations

from pathlib import Path

from experiments.fusion_ablation.report import PAIRS, runs
from experiments.fusion_ablation.run import STEPS
from experiments.shared.figures import COLOURS, MARKERS, canvas, save


def main() -> None:
    """Draw controls.png."""
    names: list[tuple[str, int]] = []
    for full, control, lacks in sorted(PAIRS, key=lambda pair: pair[0]):
        if (full, 0) not in names:
            names.append((full, 0))
        names.append((control, 2 if lacks == "source" else 1))
    figure, axes = canvas(1, len(STEPS), 5.5, 5.0)
    kinds = ("full loss", "without co-activation or graph", "source outputs shuffled")
    for axis, steps in zip(axes[0], STEPS, strict=True):
        for y, (name, kind) in enumerate(names):
            values = [row["excess"] for row in runs(name, steps)]
            first = kind not in [k for _, k in names[:y]]
            axis.plot(values, [y] * len(values), MARKERS[kind], c=COLOURS[kind], label=kinds[kind] if first else None)
        axis.set_yticks(range(len(names)), [name for name, _ in names], fontsize=8)
        axis.invert_yaxis()
        axis.set(xlabel="excess nats a word on M and N", title=f"{steps} steps")
        axis.grid(axis="x", alpha=0.3)
    axes[0][0].legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.13), ncols=3)
    save(figure, Path(__file__).parent / "controls.png")


if __name__ == "__main__":
    main()
