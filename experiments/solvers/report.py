"""What the record says about the solvers."""

from __future__ import annotations

import numpy as np

from benchmarks.inputs import KINDS
from benchmarks.quality import REFERENCES
from experiments.shared.markdown import cell, mean, provenance, seconds, table
from experiments.shared.records import Row, where
from experiments.solvers.peers import SHARE
from experiments.solvers.run import DATA, EFFORTS, GROWTH, RECORD, SAME, SIZES, STATED_MINUTES, names

ENTROPIC = ("gwfast entropic", "POT entropic", "OTT-JAX")


def solved_by(rows: list[Row]) -> list[str]:
    """Solvers in rows."""
    return list(dict.fromkeys(key[:-2] for row in rows for key in row if key.endswith(" s")))


def ratios(rows: list[Row]) -> list[Row]:
    """Value of every solver over the least known, references included; a value that is missing stays so."""
    return [
        {"seed": r["seed"], **{n: r[f"{n} value"] / r["best known"] for n in solved_by([r]) if f"{n} value" in r}}
        for r in rows
    ]


def attained(rows: list[Row], name: str) -> int:
    """Problems on which a solver finds the least objective known."""
    return sum(found[name] <= 1 + SAME for found in ratios(rows) if name in found)


def total(rows: list[Row], name: str) -> int:
    """Sum of a count over rows."""
    return sum(row.get(name, 0) for row in rows)


def growth(name: str) -> str:
    """Exponent of the time in n over the two largest sizes."""
    times = [
        float(np.median([r[f"{name} s"] for r in where(RECORD.rows, stage="growth", n=n) if f"{name} s" in r]))
        for n in GROWTH[-2:]
    ]
    return f"{np.log(times[1] / times[0]) / np.log(GROWTH[-1] / GROWTH[-2]):.1f}"


def real_text(data: str) -> str:
    """Quality on the random pairs of one data set."""
    own = where(RECORD.rows, stage="real", kind=data)
    pairs, zero = total(own, "pairs"), total(own, "zero pairs")
    each = ", ".join(f"{n} {cell(own, f'{n} ratio')} ({total(own, f'{n} best')})" for n in solved_by(own))
    text = f"{data} ({pairs} random pairs, {pairs - zero} with a ratio): {each}"
    if zero:
        found = ", ".join(f"{n} {total(own, f'{n} zeros')}" for n in solved_by(own))
        text += f"; {zero} pairs have objective 0, which these find: {found}"
    return text


def pruning_text() -> str:
    """What bounds save in a search for neighbours."""
    rows = where(RECORD.rows, stage="nearest")
    shares = [f"{data} {cell(where(rows, effort='rows', kind=data), 'solved_share', 2)}" for data in DATA]
    return (
        f"Looking for nearest neighbours with the rows bounds solves a share of {', '.join(shares)} of the pairs, with "
        f"the same neighbours as solving all in {sum(r['same'] for r in rows)} of {len(rows)} queries."
    )


def answer() -> str:
    """The finding."""
    rows = RECORD.rows
    cells = where(rows, stage="cells")
    found = ratios(cells)
    parts = [f"{n} {cell(found, n, 3)} ({attained(cells, n)})" for n in solved_by(cells)]
    text = (
        "Objective over the least known, nine synthetic cells, and in brackets on how many of the "
        f"{len(cells)} problems the least known is found: {', '.join(parts)}. The least known is that of all solvers "
        f"and of {len(REFERENCES)} long anneals, which beat all of them on {sum(min_of(r) > 1 + SAME for r in found)} "
        "problems."
    )
    if where(rows, stage="real"):
        text += " The same on real data: " + "; ".join(real_text(data) for data in DATA) + "."
        text += f" {pruning_text()}"
    largest = where(rows, stage="cells", n=SIZES[-1])
    times = ", ".join(f"{n} {seconds(largest, f'{n} s')}" for n in solved_by(largest))
    return f"{text} Mean seconds with {SIZES[-1]} points: {times}."


def min_of(row: Row) -> float:
    """Least ratio of a row."""
    return min(v for n, v in row.items() if n != "seed")


FRONT = {"gwfast exact": "`gwfast.exact_gw`", "POT": "POT", "CAJAL": "CAJAL", "OTT-JAX": "OTT-JAX, entropic"}


def brief() -> str:
    """One sentence for overviews."""
    found = ratios(where(RECORD.rows, stage="cells"))
    each = ", ".join(f"{words} {mean(found, name)}" for name, words in FRONT.items())
    return f"Cost of the plan over the least known, mean of {len(found)} problems of 50 to 200 points: {each}."


def front() -> str:
    """A table of four solvers."""
    rows = RECORD.rows
    cells, real = where(rows, stage="cells"), where(rows, stage="real")
    found, largest = ratios(cells), where(cells, n=SIZES[-1])
    lines = [
        [
            words,
            mean(found, name),
            *(mean(where(real, kind=data), f"{name} ratio") for data in DATA),
            seconds(largest, f"{name} s"),
        ]
        for name, words in FRONT.items()
    ]
    head = [
        "cost of the plan over the best known",
        f"{len(cells)} problems",
        *(f"pairs of {data}" for data in DATA),
        f"seconds, {SIZES[-1]} points",
    ]
    return table(head, lines)


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
            lines.append([f"{kind} {n}", *(f"{cell(found, s, 2)}, {seconds(own, f'{s} s')} s" for s in solvers)])
    lines.append([f"least known found, of {len(cells)}", *(str(attained(cells, s)) for s in solvers)])
    few = solved_by(where(rows, stage="growth"))
    grown = [[str(n), *(seconds(where(rows, stage="growth", n=n), f"{s} s") for s in few)] for n in GROWTH]
    grown.append(["exponent, last two", *(growth(s) for s in few)])
    missing = RECORD.about["config"]["missing"]
    blocks = [
        "# How good and how fast are the solvers?",
        answer(),
        "Question: quality and time of `gwfast` against POT, CAJAL and OTT-JAX, on synthetic cells and real data; "
        "pruning by bounds; growth of the cost. All plans are judged by one function, the un-regularised squared "
        f"objective. Entropic solvers ({', '.join(ENTROPIC)}): epsilon {SHARE} of the product coupling's loss; that "
        "they are judged without their entropy counts against them. What is compiled runs once on the shape before it "
        "is timed." + (f" Not installed, so missing: {', '.join(missing)}." if missing else ""),
        "## Nine cells: objective over the least known, mean ± standard deviation over 5 seeds, and mean seconds",
        table(["cell", *solvers], lines),
        "## Seconds against n, clouds",
        table(["n", *few], grown),
    ]
    real = where(rows, stage="real")
    if real:
        names_of = solved_by(real)
        lines = []
        for data in DATA:
            own = where(real, kind=data)
            lines.append([data, *(f"{cell(own, f'{s} ratio')}, {seconds(own, f'{s} s')} s" for s in names_of)])
            known = total(own, "pairs") - total(own, "zero pairs")
            lines.append([f"least known found, of {known}", *(str(total(own, f"{s} best")) for s in names_of)])
            zero = total(own, "zero pairs")
            if zero:
                lines.append([f"objective 0 found, of {zero}", *(str(total(own, f"{s} zeros")) for s in names_of)])
        pruned = []
        for data in DATA:
            for effort in EFFORTS:
                own = where(rows, stage="nearest", effort=effort, kind=data)
                same = f"{sum(r['same'] for r in own)} of {len(own)}"
                fields = [cell(own, f, 2) for f in ("solved_share", "pruned_s", "whole_s")]
                pruned.append([data, effort, *fields, same])
        blocks += [
            "## Real data: random pairs, objective over the least known where that is not 0, and seconds a pair",
            table(["data", *names_of], lines),
            "## Nearest neighbours with bounds against solving every pair",
            table(["data", "effort", "pairs solved", "seconds", "seconds, all pairs", "same neighbours"], pruned),
        ]
    else:
        blocks.append("Real data: not yet run; give the folder with `--data`.")
    blocks += [
        "## What this does not show",
        "* Each time is one call, in CPU seconds of one thread; other work still slows memory and caches.\n"
        "* The least known need not be the optimum, and a reference is an anneal like our own solver with more steps.\n"
        "* *Same neighbours* compares with the same solver on all pairs, not with proved optima.",
        "## How",
        "MUTAG is the TUDataset of that name, the neurons are `data/icdm_geodesic.csv` of CAJAL's repository; put them "
        "into one folder as `MUTAG/` and `neurons/` and give it with `--data`, or have it as `shared/data` beside the "
        "repository.",
        provenance(RECORD, names(), "python -m experiments --only solvers --data FOLDER", STATED_MINUTES),
        "![seconds against n](growth.png)",
    ]
    return "\n\n".join(blocks) + "\n"
