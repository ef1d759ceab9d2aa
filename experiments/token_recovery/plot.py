"""Draw the record: share of tokens found against the amount of text, and by case."""

from __future__ import annotations

from pathlib import Path

from experiments.shared.figures import COLOURS, MARKERS, canvas, save
from experiments.shared.records import where
from experiments.shared.statistics import spread
from experiments.token_recovery.report import CASES, METHODS
from experiments.token_recovery.run import AMOUNTS, RECORD


def main() -> None:
    """Draw recovery.png."""
    rows = RECORD.rows
    figure, axes = canvas(1, 2, 5.4, 4.0)
    left, right = axes[0]
    for k, method in enumerate(METHODS[:4]):
        found = [
            spread([r[method] for r in where(rows, case="hidden", texts="disjoint", amount=amount)])
            for amount in AMOUNTS
        ]
        bars = [s.std for s in found]
        left.errorbar(AMOUNTS, [s.mean for s in found], yerr=bars, c=COLOURS[k], marker=MARKERS[k], label=method)
    left.set(xscale="log", xlabel="texts", ylabel="share of tokens found", ylim=(0, 1), title="hidden renaming")
    left.legend(fontsize=8)
    shown = [(c, t) for _, c, t in CASES if t == "disjoint" and c != "hidden"]
    for k, method in enumerate((*METHODS[:4], "co-activation, GW")):
        for y, (case, texts) in enumerate(shown):
            values = [r[method] for r in where(rows, case=case, texts=texts)]
            at = [y + 0.13 * (k - 2)] * len(values)
            right.plot(values, at, MARKERS[k], c=COLOURS[k], ms=4, label=method if y == 0 else None)
    right.set_yticks(range(len(shown)), [c for c, _ in shown])
    right.set(xlabel="share of tokens found", xlim=(0, 1), title="two models, disjoint texts")
    right.legend(fontsize=7)
    save(figure, Path(__file__).parent / "recovery.png")


if __name__ == "__main__":
    main()
