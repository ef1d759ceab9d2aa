"""Set the measured figures beside those that were asked for: ``python -m experiments.gpu_fusion.checks``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).parent / "records"
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


if __name__ == "__main__":
    main()
