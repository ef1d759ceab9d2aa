"""Draw the records of `run`: only reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def main() -> None:
    """Draw a picture of costs from every file of records."""
    files = sorted((FOLDER / "records").glob("*.jsonl"))
    if not files:
        raise SystemExit("there are no records; run python -m experiments.gpu_fusion.run first")
    for path in files:
        draw(path, [json.loads(text) for text in path.read_text().splitlines()])


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """Seconds and memory of the losses alone and of whole training steps, a panel each, where they were measured."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    losses = [r for r in rows if r["kind"] == "loss" and "both" in r]
    steps = [r for r in rows if r["kind"] == "step" and "seconds" in r]
    named = [
        f"{r['name']}, {r['source']} source,\n{'logits in chunks' if r['chunked'] else 'whole logits'}" for r in steps
    ]
    panels = [
        ("Loss alone, forward and backward", "seconds (logarithmic)", [r["name"] for r in losses], losses, "both", 1.0),
        (
            "Kept for the backward pass",
            "MiB (logarithmic)",
            [r["name"] for r in losses],
            losses,
            "saved_bytes",
            2.0**20,
        ),
        ("One training step", "seconds", named, steps, "seconds", 1.0),
    ]
    shown = [panel for panel in panels if panel[3]]
    plt.rcParams.update({"font.size": 10, "xtick.labelsize": 9, "ytick.labelsize": 9})
    heights = [0.36 * len(own) + 0.9 for *_, own, _, _ in shown]
    figure, axes = plt.subplots(
        len(shown), 1, figsize=(6.0, sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for axis, (title, unit, labels, own, field, scale) in zip(axes[:, 0], shown, strict=True):
        axis.barh(labels, [r[field] / scale for r in own], color="#0072B2")
        axis.invert_yaxis()
        axis.set(title=title, xlabel=unit, xscale="log" if "log" in unit else "linear")
    figure.savefig(FOLDER / f"costs-{path.stem}.png", dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main()
