"""Draw the record: cross-entropy of every rival less that of fine-tuning, on real weights."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from experiments.real_fusion.report import compared, differences, presets, standard_error
from experiments.shared.fusion_figures import column, rows_of, save
from experiments.shared.records import Record


def draw(record: Record, target: Path) -> None:
    """Draw the mean difference a problem, with two standard errors over problems."""
    own = compared(record)
    if not own:
        return
    each = [differences(rows, presets(record, "sft")) for _, _, rows in own]
    figure, axes = column([3.2])
    axis = axes[0][0]
    axis.axvline(0, color="0.5", lw=1)
    axis.errorbar(
        [fmean(values) for values in each],
        range(len(each)),
        xerr=[2 * standard_error(values) for values in each],
        fmt="o",
        ms=6,
        elinewidth=1.4,
    )
    rows_of(axis, [f"{method.name}, w = {weight:g}" if weight else method.name for method, weight, _ in own])
    axis.set(
        title="Held-out cross-entropy on real weights\n(bars: two standard errors over problems)",
        xlabel="nats a problem, less those of SFT",
    )
    save(figure, target)
