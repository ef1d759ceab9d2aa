"""Records, pictures and the page of a run."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gwfast_llm.config import FuseConfig
from gwfast_llm.reports.scores import Contender, Score, table, verdict
from gwfast_llm.system.errors import FusionError, redacted
from gwfast_llm.system.records import read_object, write_object, write_text, write_whole

RECORD = "run.json"


METRICS = "metrics.jsonl"


PAGE = "report.md"


AGAIN = "copy the file from where it is whole"


Part = tuple[str, Callable[[Path], None]]


def fusion_record(
    config: FuseConfig,
    seconds: float,
    notes: Sequence[str],
    steps: int = 0,
    samples: Sequence[dict[str, str]] = (),
    cost: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What the page of a fusion says beside its metrics."""
    record = {
        "kind": "fusion",
        "pivot": config.pivot.model,
        "sources": [{"label": s.label, "model": s.model, "weight": s.weight} for s in config.sources],
        "preset": config.objective.preset,
        "weights": {name: weight for name, weight in config.objective.weights.items() if weight},
        "steps": steps or config.train.steps,
        "seconds": seconds,
        "notes": list(notes),
        "samples": list(samples),
        "cost": cost or {},
    }
    return redacted(record)


def comparison_record(contenders: Sequence[Contender], config: dict[str, Any], minutes: float) -> dict[str, Any]:
    """What the page of an embedded run says beside its metrics, which hold the scores."""
    shown = {name: config[name] for name in ("size", "seeds", "examples", "steps")}
    return {"kind": "comparison", **shown, "minutes": minutes, "contenders": _described(contenders)}


def objectives_record(
    config: FuseConfig,
    contenders: Sequence[Contender],
    terms: Sequence[str],
    failed: dict[str, str],
    notes: Sequence[str],
) -> dict[str, Any]:
    """What the page of a comparison of objectives says beside its metrics, which hold the scores."""
    own = fusion_record(config, 0.0, notes)
    shown = {name: own[name] for name in ("pivot", "sources", "steps", "notes")}
    return redacted(
        {
            "kind": "objectives",
            **shown,
            "seed": config.train.seed,
            "terms": list(terms),
            "failed": failed,
            "contenders": _described(contenders),
        }
    )


def merge_record(
    config: FuseConfig, recipe: Any, losses: Sequence[float], before: Sequence[float], scored: Sequence[Score]
) -> dict[str, Any]:
    """What the page of merged fusions says."""
    own = fusion_record(config, 0.0, [])
    shown = {name: own[name] for name in ("pivot", "sources", "weights", "preset", "steps")}
    return redacted(
        {
            "kind": "merge",
            **shown,
            "recipe": dataclasses.asdict(recipe),
            "before": list(before),
            "losses": list(losses),
            "merged": [dataclasses.asdict(score) for score in scored],
        }
    )


def _described(contenders: Sequence[Contender]) -> list[dict[str, Any]]:
    return [
        {**dataclasses.asdict(c), "runs": None, "seconds": None if math.isnan(c.seconds) else c.seconds}
        for c in contenders
    ]


def write_records(folder: Path, record: dict[str, Any], metrics: Sequence[dict[str, Any]]) -> None:
    """Write what pictures and page are made from."""
    write_text(folder / METRICS, "".join(json.dumps(row) + "\n" for row in metrics))
    write_object(folder / RECORD, record)


def draw(folder: Path) -> list[str]:
    """Make pictures and page of a run; what fails is told and does not keep the others from being made.

    Parameters
    ----------
    folder : Path
        A finished run.

    Returns
    -------
    list of str
        One line for everything that could not be made: what, why, and how to make it again.
    """
    complaints = []
    try:
        record, metrics = read_object(folder / RECORD, AGAIN), _read_metrics(folder / METRICS)
    except FusionError as problem:
        return [
            f"pictures and page could not be made, the model is not touched by that: {problem}; then {again(folder)} "
            "makes them"
        ]
    try:
        made = {"comparison": _comparison, "objectives": _objectives, "merge": _merged}.get(
            str(record.get("kind")), _fusion
        )
        parts = made(folder, record, metrics)
    except Exception as problem:
        return [_complaint(folder, "pictures and page", problem)]
    for name, make in parts:
        try:
            write_whole(folder / name, make)
        except Exception as problem:
            complaints.append(_complaint(folder, name, problem))
    return complaints


def again(folder: Path) -> str:
    """The command that makes pictures and page."""
    return f"python -m gwfast_llm.report {shlex.quote(str(folder))}"


def _complaint(folder: Path, what: str, problem: Exception) -> str:
    first = (str(problem).strip().splitlines() or [""])[0][:200]
    return (
        f"{what} could not be made ({type(problem).__name__}: {first}); the model is not touched by that: "
        f"{again(folder)} makes pictures and page again"
    )


def _read_metrics(path: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError, RecursionError) as problem:
        raise FusionError(f"{path} is missing or damaged ({type(problem).__name__}); {AGAIN}") from None
    if not all(isinstance(row, dict) for row in rows):
        raise FusionError(f"{path} is damaged: a line is no JSON object; {AGAIN}")
    return rows


def _fusion(folder: Path, record: dict[str, Any], metrics: list[dict[str, Any]]) -> list[Part]:
    from gwfast_llm.reports import pages, plots

    names = [record["preset"]]
    terms = list(record["weights"])
    pictures: list[Part] = [("losses.png", lambda path: plots.plot_losses(path, metrics, names, terms))]
    if any("gw_upper" in row for row in metrics):
        pictures.append(("interval.png", lambda path: plots.plot_interval(path, metrics, names)))

    def page(path: Path) -> None:
        there = [name for name, _ in pictures if (folder / name).is_file()]
        path.write_text(pages.fusion_page(record, metrics, there), encoding="utf-8")

    return [*pictures, (PAGE, page)]


def _comparison(folder: Path, record: dict[str, Any], metrics: list[dict[str, Any]]) -> list[Part]:
    from gwfast_llm.reports import pages, plots
    from gwfast_llm.reports.words import TASKS
    from gwfast_llm.tiny.tasks import EXACT_TASKS, FUSED_TEXTS

    contenders = contenders_of(record, metrics)
    trained = [c.name for c in contenders if c.trained]

    def page(path: Path) -> None:
        judged = verdict(contenders, FUSED_TEXTS, EXACT_TASKS)
        own = table(contenders, FUSED_TEXTS, EXACT_TASKS)
        text = pages.embedded_page(contenders, judged, own, record, metrics, record["minutes"])
        path.write_text(text, encoding="utf-8")

    return [
        ("losses.png", lambda path: plots.plot_losses(path, metrics, trained)),
        ("interval.png", lambda path: plots.plot_interval(path, metrics, trained)),
        ("scores.png", lambda path: plots.plot_scores(path, contenders, TASKS)),
        (PAGE, page),
    ]


def _merged(folder: Path, record: dict[str, Any], metrics: list[dict[str, Any]]) -> list[Part]:
    from gwfast_llm.reports.pages import merge_page

    return [(PAGE, lambda path: write_text(path, merge_page(record)))]


def _objectives(folder: Path, record: dict[str, Any], metrics: list[dict[str, Any]]) -> list[Part]:
    from gwfast_llm.reports import plots
    from gwfast_llm.reports.objectives import objectives_page

    contenders = contenders_of(record, metrics)
    trained = [c.name for c in contenders if c.trained]
    terms = record["terms"]
    pictures: list[Part] = [
        ("scores.png", lambda path: plots.plot_scores(path, contenders)),
        ("losses.png", lambda path: plots.plot_losses(path, metrics, trained, terms)),
    ]
    if any("gw_upper" in row for row in metrics):
        pictures.append(("interval.png", lambda path: plots.plot_interval(path, metrics, trained)))

    def page(path: Path) -> None:
        there = [name for name, _ in pictures if (folder / name).is_file()]
        path.write_text(objectives_page(record, contenders, metrics, there), encoding="utf-8")

    return [*pictures, (PAGE, page)]


def contenders_of(record: dict[str, Any], metrics: Sequence[dict[str, Any]]) -> list[Contender]:
    """The contenders of an embedded run, with their scores."""
    found = []
    for said in record["contenders"]:
        own = [row for row in metrics if "score" in row and row["contender"] == said["name"]]
        runs = [
            [Score(row["task"], row["kind"], row["score"]) for row in own if row["run"] == k]
            for k in sorted({row["run"] for row in own})
        ]
        seconds = math.nan if said["seconds"] is None else said["seconds"]
        found.append(Contender(said["name"], said["what"], runs, said["trained"], said["fused"], seconds))
    return found
