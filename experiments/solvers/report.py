"""What the record says about the solvers."""

from __future__ import annotations

import numpy as np

from benchmarks.inputs import KINDS
from experiments.shared.markdown import cell, mean, provenance, table
from experiments.shared.records import Row, where
from experiments.solvers.run import GROWTH, RECORD, SIZES, STATED_MINUTES, names


def solved_by(rows: list[Row]) -> list[str]:
    """Solvers in rows."""
    return list(dict.fromkeys(key[:-2] for row in rows for key in row if key.endswith(" s")))


def ratios(rows: list[Row]) -> list[Row]:
    """Value of every solver over the best value of the pair."""
    found = []
    for row in rows:
        own = {n: row[f"{n} value"] for n in solved_by([row]) if f"{n} value" in row}
        least = min(own.values())
        found.append({"seed": row["seed"], **{n: v / least for n, v in own.items()}})
    return found


def growth(name: str) -> str:
    """Exponent of the time in n over the two largest sizes."""
    times = [
        float(np.median([r[f"{name} s"] for r in where(RECORD.rows, stage="growth", n=n) if f"{name} s" in r]))
        for n in GROWTH[-2:]
    ]
    return f"{np.log(times[1] / times[0]) / np.log(GROWTH[-1] / GROWTH[-2]):.1f}"


def answer() -> str:
    """The finding."""
    rows = RECORD.rows
    cells = ratios(where(rows, stage="cells"))
    parts = [f"{n} {cell(cells, n, 2)}" for n in solved_by(where(rows, stage="cells"))]
    text = "Objective over the best of all solvers, nine synthetic cells: " + ", ".join(parts) + "."
    real = where(rows, stage="real")
    if real:
        each = [
            f"{data}: " + ", ".join(f"{n} {cell(where(real, kind=data), f'{n} ratio', 2)}" for n in solved_by(real))
            for data in ("molecules", "neurons")
        ]
        text += " Real pairs: " + "; ".join(each) + "."
        shares = [
            f"{data} {cell(where(rows, stage='nearest', effort='rows', kind=data), 'solved_share', 2)}"
            for data in ("molecules", "neurons")
        ]
        same = where(rows, stage="nearest")
        text += (
            f" Looking for nearest neighbours with the rows bounds solves a share of {', '.join(shares)} of the pairs, "
            f"with the same neighbours as solving all in {sum(r['same'] for r in same)} of {len(same)} queries."
        )
    largest = where(rows, stage="cells", n=SIZES[-1])
    times = ", ".join(f"{n} {mean(largest, f'{n} s', 3)}" for n in solved_by(largest))
    return f"{text} Mean seconds with {SIZES[-1]} points: {times}."


def headline() -> str:
    """For the README of the repository."""
    return answer()


def readme() -> str:
    """README of the folder."""
    rows = RECORD.rows
    cells = where(rows, stage="cells")
    solvers = solved_by(cells)
    lines = []
    for n in SIZES:
        for kind in KINDS:
            own = where(cells, n=n, kind=kind)
            found = ratios(own)
            lines.append([f"{kind} {n}", *(f"{cell(found, s, 2)}, {mean(own, f'{s} s', 3)} s" for s in solvers)])
    few = solved_by(where(rows, stage="growth"))
    grown = [[str(n), *(mean(where(rows, stage="growth", n=n), f"{s} s", 4) for s in few)] for n in GROWTH]
    grown.append(["exponent, last two", *(growth(s) for s in few)])
    blocks = [
        "# How good and how fast are the solvers?",
        answer(),
        "Question: quality and time of `gwfast` against POT and CAJAL, on synthetic cells and real data; pruning by "
        "bounds; growth of the cost. All plans are judged by one function, the un-regularised squared objective. "
        "Entropic solvers: epsilon 0.05 of the product coupling's loss. Not run here: OTT-JAX (not installed); "
        "`benchmarks/records` has it for the entropic solvers.",
        "## Nine cells: objective over the best, mean ± standard deviation over 5 seeds, and mean seconds",
        table(["cell", *solvers], lines),
        "## Seconds against n, clouds",
        table(["n", *few], grown),
    ]
    real = where(rows, stage="real")
    if real:
        names_of = solved_by(real)
        lines = [
            [data, *(f"{cell(own, f'{s} ratio', 2)}, {mean(own, f'{s} s', 4)} s" for s in names_of)]
            for data in ("molecules", "neurons")
            for own in [where(real, kind=data)]
        ]
        pruned = []
        for data in ("molecules", "neurons"):
            for effort in ("sort", "rows", "spectral"):
                own = where(rows, stage="nearest", effort=effort, kind=data)
                same = f"{sum(r['same'] for r in own)} of {len(own)}"
                fields = [cell(own, f, 2) for f in ("solved_share", "pruned_s", "whole_s")]
                pruned.append([data, effort, *fields, same])
        blocks += [
            "## Real data: random pairs, objective over the best, and seconds a pair",
            table(["data", *names_of], lines),
            "## Nearest neighbours with bounds against solving every pair",
            table(["data", "effort", "pairs solved", "seconds", "seconds, all pairs", "same neighbours"], pruned),
        ]
    else:
        blocks.append("Real data: not yet run; give the folder with `--data`.")
    blocks += [
        "## What this does not show",
        "* Times were taken while other work ran on the same machine; those of `benchmarks/records` were not.\n"
        "* *Same neighbours* compares with the same solver on all pairs, not with proved optima.",
        "## How",
        "MUTAG is the TUDataset of that name, the neurons are `data/icdm_geodesic.csv` of CAJAL's repository; put them "
        "into one folder as `MUTAG/` and `neurons/` and give it with `--data`.",
        provenance(RECORD, names(), "python -m experiments.solvers.run --data FOLDER", STATED_MINUTES),
        "![seconds against n](growth.png)",
    ]
    return "\n\n".join(blocks) + "\n"
