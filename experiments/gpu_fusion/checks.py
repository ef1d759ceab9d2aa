"""Set the measured figures beside those that were asked for: ``python -m experiments.gpu_fusion.checks``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).parent / "records"
LAYERS = 28  # of the full shape
Row = dict[str, Any]


def find(rows: Sequence[Row], kind: str, name: str, **values: Any) -> Row | None:
    """The record of this name with these values that was measured, None where it was not."""
    wanted = {"kind": kind, "name": name, **values}
    measured = (row for row in rows if "missing" not in row)
    return next((row for row in measured if wanted.items() <= row.items()), None)


def ratio(first: Row | None, second: Row | None, field: str) -> float | None:
    """Ratio of a field of two records, None where one is missing or not a number."""
    if first is None or second is None:
        return None
    found = float(first[field]) / float(second[field])
    return found if found == found else None


def checks(rows: Sequence[Row]) -> list[tuple[str, str, float | None, bool | None]]:
    """What was asked, the bound, what was measured (None: not), and whether it holds."""
    ours, gold = find(rows, "loss", "uld + gld, top 10"), find(rows, "loss", "TRL GOLD's uld")
    kind = {"chunked": True, "source": "cached"}
    plain, fused = find(rows, "step", "sft", **kind), find(rows, "step", "infigfusion", **kind)
    bare, kept = find(rows, "caching", "forward alone"), find(rows, "caching", "forward and top 10")
    found = [
        ("loss: times faster than TRL GOLD's ULD", ">=", 20.0, ratio(gold, ours, "both")),
        ("loss: times less saved memory than TRL GOLD's ULD", ">=", 100.0, ratio(gold, ours, "saved_bytes")),
        ("step with a cached source over SFT alone, time", "<=", 1.05, ratio(fused, plain, "seconds")),
        ("step with a cached source over SFT alone, memory", "<=", 1.03, ratio(fused, plain, "peak_bytes")),
        ("caching: share of the bare forward pass", ">=", 0.90, ratio(bare, kept, "seconds")),
    ]
    return [
        (name, f"{sign} {asked:g}", value, None if value is None else (value >= asked) == (sign == ">="))
        for name, sign, asked, value in found
    ]


def at_depth(one: Sequence[Row], two: Sequence[Row], layers: int) -> list[Row]:
    """Records of a model of so many layers, from those of the same model with one and with two.

    Every layer adds what the second one adds to a step of SFT; what the objective adds does not depend on the layers.
    """
    kind = {"chunked": True, "source": "cached"}
    found = []
    for row in two:
        if row["kind"] == "step" and kind.items() <= row.items():
            base = "step", "sft"
            fields = ("seconds", "peak_bytes")
        elif row["kind"] == "caching":
            base = "caching", "forward alone"
            fields = ("seconds",)
            kind = {}
        else:
            continue
        first, second = find(one, *base, **kind), find(two, *base, **kind)
        if first is None or second is None:
            continue
        grown = {name: row[name] + (layers - 2) * (second[name] - first[name]) for name in fields}
        found.append({**row, **grown, "layers": layers})
    return found


def lines(rows: Sequence[Row]) -> list[str]:
    """The checks in words; the last three are asked of a GPU at full size."""
    said = []
    for name, asked, value, holds in checks(rows):
        measured = "not measured" if value is None else f"{value:.3g}: {'holds' if holds else 'MISSED'}"
        said.append(f"{name}: asked {asked}, {measured}")
    return said


def main() -> None:
    """Print the checks of every file of records."""
    for path in sorted(RECORDS.glob("*.jsonl")):
        rows = [json.loads(text) for text in path.read_text().splitlines()]
        about = rows[0]
        print(f"{path.stem}: {about['device']}, {about['processor']}, commit {about['commit']}")
        print("\n".join(f"  {line}" for line in lines(rows)))
    pair = [RECORDS / f"{name}-cpu.jsonl" for name in ("one-layer", "two-layers")]
    if all(path.is_file() for path in pair):
        one, two = ([json.loads(text) for text in path.read_text().splitlines()] for path in pair)
        print(f"from these two, for {LAYERS} layers on a CPU; of a GPU this says nothing")
        print("\n".join(f"  {line}" for line in lines(at_depth(one, two, LAYERS))[2:]))


if __name__ == "__main__":
    main()
