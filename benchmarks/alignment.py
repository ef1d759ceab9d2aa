"""Slices from AnnData to a matching: seconds, memory and errors, each call in a process of its own."""

from __future__ import annotations

import importlib.util
import multiprocessing
import resource
from pathlib import Path

from benchmarks import record

SCRIPT = Path(__file__).parents[1] / "examples" / "align_slices.py"
CASES = [  # name, n, m, share of the width, alpha, asked seconds, asked MB
    ("3000 x 3000", 3000, 3000, 1.0, 0.7, 10.0, None),
    ("3000 x 3000, overlap in part", 3000, 3000, 0.8, 0.7, 10.0, None),
    ("3000 x 3000, overlap in part, sweep", 3000, 3000, 0.8, "sweep", None, None),
    ("20,000 x 18,000", 20_000, 18_000, 1.0, 0.7, 90.0, 1000.0),
    ("20,000 x 18,000, sweep", 20_000, 18_000, 1.0, "sweep", None, None),
]


def measured(n: int, m: int, share: float, alpha: float | str) -> dict:
    """The figures of one call, after a small one that loads the kernels, and the memory of the process."""
    spec = importlib.util.spec_from_file_location("align_slices", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.run(1500, 1500, share, alpha, None)
    figures = script.run(n, m, share, alpha, None)
    return figures | {"mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}


def table() -> str:
    """The record as a Markdown table."""
    head = ["spots", "alpha", "seconds", "MB", "median error / spacing", "proved share"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for r in record.read("alignment")["rows"]:
        cells = [r["case"], f"{r['alpha']:g}", f"{r['seconds']:.2g}", f"{r['mb']:.0f}"]
        cells += [f"{r['median_um'] / r['spacing_um']:.1f}", f"{r['lower'] / r['value']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def run() -> None:
    """Write records/alignment.json."""
    rows = []
    for name, n, m, share, alpha, seconds, size in CASES:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            figures = pool.apply(measured, (n, m, share, alpha))
        rows.append({"case": name, "n": n, "m": m, "asked_s": seconds, "asked_mb": size} | figures)
        print(rows[-1], flush=True)
    record.write("alignment", {"script": "examples/align_slices.py"}, rows)
