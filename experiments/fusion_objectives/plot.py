"""Draw the record: excess of every method at both budgets."""

from __future__ import annotations

from pathlib import Path

from experiments.fusion_objectives.report import runs
from experiments.fusion_objectives.run import RECORD, STEPS
from experiments.shared.figures import COLOURS, MARKERS
from experiments.shared.methods import METHODS
from experiments.shared.narrow import keep, legend_below, page, words
from experiments.shared.records import where
from experiments.shared.statistics import spread

METHOD_WORDS = {
    "sft_short": "fine-tuning, a quarter of the steps",
    "sft": "fine-tuning",
    "uld": "sorted logits (ULD)",
    "gld": "sorted graphs (GLD)",
    "infigfusion": "ULD and GLD (InfiGFusion)",
    "gld_ms": "GLD with row spreads",
    "gld_aligned": "graphs in one vocabulary",
    "hybrid": "KL on shared tokens",
    "hellinger": "Hellinger distance",
    "path": "path-KL",
    "path+gld": "path-KL and GLD",
    "path+gld_ms": "path-KL, GLD with spreads",
    "path+gld_aligned": "path-KL, aligned graphs",
    "oracle": "KL, equal tokenizers (ceiling)",
}


def main() -> None:
    """Draw excess.png: a pale point a seed, and the mean with its standard deviation."""
    rows = RECORD.rows
    figure, (axis,) = page([5.2])
    names = [m.name for m in METHODS]
    for k, steps in enumerate(STEPS):
        label: str | None = f"{steps} steps"
        for y, name in enumerate(names):
            values = [row["excess"] for row in runs(rows, name, steps)]
            if not values:
                continue
            place = y + 0.18 * (1 - 2 * k)
            axis.plot(values, [place] * len(values), MARKERS[k], c=COLOURS[k], ms=3, alpha=0.4)
            at = spread(values)
            error = None if at.count == 1 else at.std
            axis.errorbar(at.mean, place, xerr=error, fmt=MARKERS[k], c=COLOURS[k], ms=6, elinewidth=1.4, label=label)
            label = None
    start = where(rows, stage="before", method="pivot")[0]["excess"]
    axis.axvline(start, c="0.4", ls="--", label="pivot before training")
    axis.set_yticks(range(len(names)), [METHOD_WORDS.get(name, name) for name in names])
    axis.invert_yaxis()
    axis.set_xlim(0, None)
    words(axis, "What fusion leaves to learn", "excess nats a word, sources' texts (0: perfect)")
    legend_below(axis, 3, -0.12)
    keep(figure, Path(__file__).parent / "excess.png")


if __name__ == "__main__":
    main()
