"""python -m experiments.readme: write the READMEs of the experiments, and the results in README and docs, from records.

A page takes part by holding a pair of comments, ``<!-- results: NAME -->`` and ``<!-- end of results -->``, where NAME
is an experiment (its answer), an excerpt of one (``fusion_sweeps/gradients``, ``NAME/brief``), ``all`` (a sentence
for each) or a table of the benchmarks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from benchmarks import alignment, barycenters, large, large_peers, many, sizes, subspace
from experiments.catalogue import EXPERIMENTS, Experiment
from experiments.real_fusion import report as real_report
from experiments.real_fusion.run import KEPT as REAL
from experiments.rivals import claims
from experiments.rivals import report as rivals_report
from experiments.shared.records import REPOSITORY

TABLES = {"benchmarks/sizes": sizes.table, "benchmarks/many": many.table}
TABLES |= {"benchmarks/barycenters": barycenters.table, "benchmarks/alignment": alignment.table}
TABLES |= {"benchmarks/large": large.table, "benchmarks/large/beside": large.table_beside}
TABLES |= {"benchmarks/large_peers": large_peers.table, "benchmarks/subspace": subspace.table}
TABLES |= {"real_fusion/brief": lambda: real_report.brief(REAL), "rivals/brief": rivals_report.brief}
TABLES |= {"real_fusion/rivals": lambda: real_report.rivals_brief(REAL)}
TABLES |= {"rivals/claims": claims.claims}
TABLES |= {"rivals/merge": rivals_report.merge_brief, "rivals/policy": rivals_report.policy_brief}
BLOCK = re.compile(r"(<!-- results: ([\w/-]+) -->\n).*?(<!-- end of results -->)", re.DOTALL)


def text_of(experiment: Experiment, say: Callable[[], str]) -> str:
    """Text from the record, or that there is none yet."""
    if not experiment.record.rows:
        return f"Not yet run: `python -m experiments --only {experiment.name}`."
    missing = set(experiment.job_names()) - experiment.record.done()
    note = f"\n\n*{len(missing)} jobs not yet run.*" if missing else ""
    return say() + note


def results(name: str) -> str:
    """Text of a block.

    Raises
    ------
    ValueError
        When there is no such experiment or excerpt.
    """
    if name == "all":
        return "\n\n".join(f"**{e.claim}** (`experiments/{e.name}`). {text_of(e, e.brief)}" for e in EXPERIMENTS)
    if name in TABLES:
        return TABLES[name]()
    known = {e.name: (e, e.answer) for e in EXPERIMENTS}
    known |= {f"{e.name}/brief": (e, e.brief) for e in EXPERIMENTS}
    known |= {f"{e.name}/{part}": (e, say) for e in EXPERIMENTS for part, say in e.excerpts.items()}
    if name not in known:
        raise ValueError(f"no results {name!r}; there are {', '.join(known)}")
    return text_of(*known[name])


def filled(text: str) -> str:
    """A page with its blocks as the records say."""
    return BLOCK.sub(lambda m: f"{m[1]}{results(m[2])}\n{m[3]}", text)


def pages() -> list[Path]:
    """Pages that hold blocks."""
    found = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("**/*.md"))]
    return [p for p in found if "_build" not in p.parts and BLOCK.search(p.read_text())]


def folder_readme(experiment: Experiment) -> str:
    """README of an experiment's folder."""
    if experiment.record.rows:
        return experiment.readme()
    return f"# {experiment.claim}\n\nNot yet run: `python -m experiments --only {experiment.name}`.\n"


def write() -> None:
    """Write them all."""
    for e in EXPERIMENTS:
        (e.folder / "README.md").write_text(folder_readme(e))
    for page in pages():
        page.write_text(filled(page.read_text()))


if __name__ == "__main__":
    write()
