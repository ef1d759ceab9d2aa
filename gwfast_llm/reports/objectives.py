"""The page of a comparison of objectives on one configuration: who won on what, in tables and words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from gwfast_llm.config import CROSS_ENTROPY
from gwfast_llm.reports.markdown import code, markdown
from gwfast_llm.reports.pages import diagnosis_table, legend
from gwfast_llm.reports.scores import BYTES, EXACT, TEXT, Contender

MEASURES = {  # kind of score: in words, and whether more is better
    BYTES: ("held-out loss, nats a byte", False),
    EXACT: ("held-out answers right as a whole", True),
    TEXT: ("nats a word above the true entropy", False),
}


def mean_of(contender: Contender, kind: str, task: str = "") -> float:
    """Mean score of a kind over the tasks, or that of one task; NaN where there is none."""
    own = [s.value for run in contender.runs for s in run if s.kind == kind and (not task or s.task == task)]
    return fmean(own) if own else math.nan


def winners(contenders: Sequence[Contender]) -> list[str]:
    """Who is best on every kind of score, in words.

    Parameters
    ----------
    contenders : sequence of Contender
        The first is the pivot before training.
    """
    before, trained, lines = contenders[0], [c for c in contenders if c.trained], []
    for kind, (what, more) in MEASURES.items():
        start = mean_of(before, kind)
        if math.isnan(start) or not trained:
            continue
        values = {c.name: mean_of(c, kind) for c in trained}
        best = (max if more else min)(values.values())
        names = [name for name, value in values.items() if value == best]
        better = best > start if more else best < start
        lines.append(
            f"{what[0].upper()}{what[1:]}: best {', '.join(f'**{markdown(n)}**' for n in names)} with {best:.4f}, "
            f"the pivot before {start:.4f}{'' if better else '; no objective is better than the pivot before'}."
        )
    return lines


def scores_table(contenders: Sequence[Contender], metrics: Sequence[dict[str, Any]]) -> str:
    """Markdown table: held-out scores, losses at the end, and seconds."""
    kinds = [kind for kind in MEASURES if not math.isnan(mean_of(contenders[0], kind))]
    tasks = list(dict.fromkeys(s.task for s in contenders[0].runs[0]))
    head = ["objective", *(MEASURES[kind][0] for kind in kinds)]
    head += [f"nats a byte, {task or 'all'}" for task in tasks if len(tasks) > 1]
    head += ["held-out cross-entropy, nats a token", "cross-entropy in training, nats a token", "train s"]
    rows = []
    for c in contenders:
        scores = [mean_of(c, kind) for kind in kinds]
        scores += [mean_of(c, BYTES, task) for task in tasks if len(tasks) > 1]
        losses = [_last(metrics, c.name, f"eval_{CROSS_ENTROPY}"), _last(metrics, c.name, CROSS_ENTROPY)]
        cells = ["–" if math.isnan(value) else f"{value:.4f}" for value in (*scores, *losses)]
        rows.append([markdown(c.name), *cells, "–" if math.isnan(c.seconds) else f"{c.seconds:.0f}"])
    lines = [[markdown(cell) for cell in head], ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _last(metrics: Sequence[dict[str, Any]], objective: str, name: str) -> float:
    own = [row for row in metrics if row.get("objective") == objective and name in row]
    return float(own[-1][name]) if own else math.nan


def objectives_page(
    record: dict[str, Any],
    contenders: Sequence[Contender],
    metrics: Sequence[dict[str, Any]],
    pictures: Sequence[str],
) -> str:
    """Markdown page of a comparison of objectives.

    Parameters
    ----------
    record : dict
        What `gwfast_llm.reports.run_report.objectives_record` gives.
    contenders : sequence of Contender
        The pivot before, then after each fusion.
    metrics : sequence of dict
        Records of the run.
    pictures : sequence of str
        Files that are there.
    """
    sources = "\n".join(
        f"* source {markdown(s['label'])}: {code(s['model'])}, weight {s['weight']:g}" for s in record["sources"]
    )
    what = "\n".join(f"* {markdown(legend(c.name))}: {markdown(c.what)}" for c in contenders)
    failed = "".join(f"\n* {markdown(name)} **failed**: {markdown(why)}" for name, why in record["failed"].items())
    notes = "\n".join(f"* {markdown(note)}" for note in record["notes"]) or "* every example was used whole"
    shown = "\n\n".join(f"![{name.removesuffix('.png')}]({name})" for name in pictures)
    verdict = "\n".join(f"* {line}" for line in winners(contenders))
    return f"""# Objectives compared on {code(record["pivot"])}

{verdict}

One seed ({record["seed"]}) an objective: a small difference may be chance.  The same with --train.seed
{record["seed"] + 1} and another --name says how much scores vary.  Every model is in `models/`.

{scores_table(contenders, metrics)}

{what}{failed}

{sources}

{record["steps"]} steps for every objective, on the same examples in the same order.

{shown}

{diagnosis_table(metrics)}

Data:

{notes}
"""
