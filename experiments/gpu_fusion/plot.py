"""Draw the records of `run`: only reads them."""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> None:
    """Draw costs.png from every file of records."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    files = sorted((FOLDER / "records").glob("*.jsonl"))
    if not files:
        raise SystemExit("there are no records; run python -m experiments.gpu_fusion.run first")
    figure, axes = plt.subplots(len(files), 3, figsize=(15, 4 * len(files)), squeeze=False)
    for line, path in zip(axes, files, strict=True):
        rows = [json.loads(text) for text in path.read_text().splitlines()]
        losses = [r for r in rows if r["kind"] == "loss" and "both" in r]
        line[0].barh([r["name"] for r in losses], [r["both"] for r in losses])
        line[0].set(title=f"{path.stem}: loss alone, forward and backward, s", xscale="log")
        line[1].barh([r["name"] for r in losses], [r["saved_bytes"] / 2**20 for r in losses])
        line[1].set(title="saved for backward, MiB", xscale="log")
        steps = [r for r in rows if r["kind"] == "step"]
        names = [f"{r['name']}, {r['source']}, {'chunks' if r['chunked'] else 'whole'}" for r in steps]
        line[2].barh(names, [r["seconds"] for r in steps])
        line[2].set(title="training step, s")
    figure.tight_layout()
    figure.savefig(FOLDER / "costs.png", dpi=100)


if __name__ == "__main__":
    main()
