"""Markdown from records."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.shared.records import Record, Row, column
from experiments.shared.statistics import Paired, spread

LEVEL = 0.05
SEEDS_VARY = (
    "* Seeds vary the pool of examples, their order and the tests; pivot and sources are trained once, so nothing here "
    "says how much depends on their training. Rows of a record may come from two machines, which round differently, "
    "and training enlarges that (`experiments/LOG.md`)."
)


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def cell(rows: Sequence[Row], name: str, digits: int = 3) -> str:
    """Mean and standard deviation of a field over rows; a dash where nothing was run."""
    values = [row[name] for row in rows if name in row]
    return spread(values).text(digits) if values else "–"


def mean(rows: Sequence[Row], name: str, digits: int = 2) -> str:
    """Mean of a field alone; a dash where nothing was run."""
    values = [row[name] for row in rows if name in row]
    return f"{sum(values) / len(values):.{digits}f}" if values else "–"


def seconds(rows: Sequence[Row], name: str) -> str:
    """Mean time to two significant digits, so that a short time does not read as none; a dash where nothing was run."""
    values = [row[name] for row in rows if name in row]
    return f"{float(f'{sum(values) / len(values):.2g}'):.10g}" if values else "–"


def p_text(p: float) -> str:
    """A p value, shortened."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def verdict(test: Paired) -> str:
    """What a corrected test says of first less second."""
    if test.p_corrected >= LEVEL:
        return "not significant"
    return "lower" if test.mean < 0 else "higher"


def comparison_table(tests: Sequence[Paired], digits: int = 3) -> str:
    """Paired comparisons with every difference."""
    lines = []
    for t in tests:
        each = " ".join(f"{d:+.{digits}f}" for d in t.differences)
        lines.append([t.name, f"{t.mean:+.{digits}f}", each, p_text(t.p), p_text(t.p_corrected), verdict(t)])
    return table(["comparison", "mean difference", "seed by seed", "p", "p, corrected", "verdict"], lines)


def grid_table(rows: Sequence[Row], names: Sequence[str], steps: int = 200) -> str:
    """Excess and exact match along every grid on the selection pool, one seed; the chosen weight is bold."""
    lines = []
    for name in names:
        own = [r for r in rows if r["stage"] == "select" and r["method"] == name and r["steps"] == steps]
        if not own:
            continue
        most = max(own, key=lambda r: r["exact"] - r["excess"])["weight"]
        cells = []
        for row in sorted(own, key=lambda r: r["weight"]):
            weight = f"**{row['weight']:g}**" if row["weight"] == most else f"{row['weight']:g}"
            cells.append(f"{weight}: {row['excess']:.3f} / {row['exact']:.3f}")
        lines.append([name, ", ".join(cells)])
    return table(["method", "w: excess / exact match"], lines)


def values(rows: Sequence[Row], name: str) -> dict[int, float]:
    """A field by seed."""
    return dict(zip(column(rows, "seed"), column(rows, name), strict=True))


def common(first: Sequence[Row], second: Sequence[Row], name: str) -> tuple[list[float], list[float]]:
    """A field of two methods on the seeds that both have."""
    a, b = values(first, name), values(second, name)
    seeds = sorted(a.keys() & b.keys())
    return [a[s] for s in seeds], [b[s] for s in seeds]


def provenance(record: Record, jobs: Sequence[str], command: str, minutes: float) -> str:
    """How the record came about: command, stated time, commits, machines, and what is missing."""
    rows = record.rows
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    spent = sum(row["seconds"] for row in rows) / 60
    missing = [name for name in jobs if name not in record.done()]
    text = (
        f"Run again: `{command}` (stated time {minutes:g} minutes on one core; the record took {spent:.1f}). "
        f"Finished jobs are kept, so it may be stopped and started; delete `records/` to begin anew. "
        f"Record: {len(rows)} jobs, commit {commits}. "
        + " ".join(
            f"{sum(row['environment'] == k for row in rows)} jobs: {machine(one)}."
            for k, one in enumerate(record.about["environments"])
        )
    )
    if missing:
        text += f" **Not yet run: {len(missing)} of {len(jobs)} jobs** ({', '.join(missing[:6])}, …)."
    return text


def machine(environment: Row) -> str:
    """An environment in words."""
    threads = environment["threads"]
    said = ", ".join(f"{name} {count}" for name, count in threads.items()) if threads else "not recorded"
    versions = ", ".join(f"{n} {v}" for n, v in environment["versions"].items() if v)
    return (
        f"{environment['date']}, {environment['processor']}, {environment['cores']} cores, threads {said}, Python "
        f"{environment['python']}, {versions}"
    )
