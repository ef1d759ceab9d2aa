"""Draw the record: share of tokens found against the amount of text, a panel a case."""

from __future__ import annotations

from pathlib import Path

from experiments.shared.figures import COLOURS, MARKERS
from experiments.shared.fusion_figures import panels, save
from experiments.shared.records import where
from experiments.shared.statistics import spread
from experiments.token_recovery.report import METHODS
from experiments.token_recovery.run import AMOUNTS, RECORD

PANELS = {
    "hidden": "One vocabulary, renamed",
    "models Ap": "Source A and pivot,\none tokenizer, renamed",
    "models Bp": "Source B and pivot,\none tokenizer, renamed",
    "different A": "Tokenizers of A and pivot\ndiffer",
    "different B": "Tokenizers of B and pivot\ndiffer",
}
GRAPHS = {
    "features": "token features alone",
    "bigram information": "next-token counts",
    "window information": "counts in a window",
    "context cosine": "likeness of contexts",
    "co-activation": "model co-activation",
}


def main() -> None:
    """Draw recovery.png: mean and standard deviation over seeds, disjoint texts; fused with broken lines."""
    rows = where(RECORD.rows, texts="disjoint")
    figure, axes = panels(3, 2, [2.5, 2.6, 2.9])
    graphs = list(dict.fromkeys(m.partition(",")[0] for m in METHODS))
    for axis, (case, title) in zip(axes.flat, PANELS.items(), strict=False):
        for j, method in enumerate(METHODS):
            graph = method.partition(",")[0]
            k, fused = graphs.index(graph), method.endswith("fused")
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
                ms=5,
                lw=1.1,
                elinewidth=0.8,
                label=GRAPHS[graph] + (", with features" if fused else ""),
            )
        axis.set(xscale="log", ylim=(-0.03, 1.03))
        axis.set_xticks(AMOUNTS, [str(a) for a in AMOUNTS])
        axis.minorticks_off()
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
    for axis in axes[:, 0]:
        axis.set_ylabel("share found", fontsize=10)
    for axis in (axes[2][0], axes[1][1]):
        axis.set_xlabel("texts (logarithmic)", fontsize=10)
    lines = {label: line for axis in axes.flat for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    axes[2][1].axis("off")
    axes[2][1].legend(
        lines.values(),
        lines.keys(),
        fontsize=9,
        loc="center",
        frameon=False,
        title="graph that GW matches\n(bars: 5 seeds)",
        title_fontsize=9,
    )
    figure.suptitle("Share of tokens that GW matches correctly", fontsize=11)
    save(figure, Path(__file__).parent / "recovery.png")


if __name__ == "__main__":
    main()
