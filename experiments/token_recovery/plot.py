"""Draw the record: share of tokens found against the amount of text, a panel a case."""

from __future__ import annotations

from pathlib import Path

from experiments.shared.figures import COLOURS, MARKERS, canvas, save
from experiments.shared.records import where
from experiments.shared.statistics import spread
from experiments.token_recovery.report import METHODS
from experiments.token_recovery.run import AMOUNTS, RECORD

PANELS = {
    "hidden": "one vocabulary, hidden renaming",
    "models Ap": "source A and pivot, one tokenizer, renamed",
    "models Bp": "source B and pivot, one tokenizer, renamed",
    "different A": "tokenizers of A and the pivot",
    "different B": "tokenizers of B and the pivot",
}


def main() -> None:
    """Draw recovery.png: mean and standard deviation over seeds, disjoint texts; fused with broken lines."""
    rows = where(RECORD.rows, texts="disjoint")
    figure, axes = canvas(2, 3, 3.3, 2.6)
    graphs = list(dict.fromkeys(m.partition(",")[0] for m in METHODS))
    for axis, (case, title) in zip(axes.flat, PANELS.items(), strict=False):
        for j, method in enumerate(METHODS):
            k = graphs.index(method.partition(",")[0])
            fused = method.endswith("fused")
            some = [(a, where(rows, case=case, amount=a)) for a in AMOUNTS]
            found = [(a, spread([r[method] for r in own])) for a, own in some if own and method in own[0]]
            axis.errorbar(
                # side by side, so that bars do not hide one another
                [a * 1.04 ** (j - 4) for a, _ in found],
                [s.mean for _, s in found],
                yerr=[s.std for _, s in found],
                c=COLOURS[k],
                marker=MARKERS[k],
                mfc="white" if fused else COLOURS[k],
                ls="--" if fused else "-",
                ms=4,
                lw=1,
                elinewidth=0.7,
                label=method,
            )
        axis.set(xscale="log", ylim=(-0.03, 1.03))
        axis.set_xticks(AMOUNTS, [str(a) for a in AMOUNTS])
        axis.minorticks_off()
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("texts", fontsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("share of tokens found")
    lines = {label: line for axis in axes.flat for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    axes[1][2].axis("off")
    axes[1][2].legend(lines.values(), lines.keys(), fontsize=8, loc="center")
    save(figure, Path(__file__).parent / "recovery.png")


if __name__ == "__main__":
    main()
