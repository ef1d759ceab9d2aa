"""Several objectives on one configuration: their fusions, one after another, and what is kept of each.

In the folder of the run: ``models/<name>``; while it is at work also ``checkpoints/<name>``, ``results/<name>.json``
(what training logged) and ``scores/<name>.json`` (what the saved model reaches on the held-out examples).
"""

from __future__ import annotations

import dataclasses
import gc
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gwfast_llm.config import PRESETS, WEIGHTS, FuseConfig, ModelConfig, ObjectiveConfig
from gwfast_llm.reports.scores import BYTES, Contender, Score
from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.records import read_object, write_object

BEFORE = "pivot before"
LEFTOVERS = ("checkpoints", "results", "scores")


def objectives_of(names: str, config: FuseConfig) -> dict[str, FuseConfig]:
    """The configuration under each of several objectives.

    Parameters
    ----------
    names : str
        Presets, or terms with their weights beside the cross-entropy, separated by commas: ``sft,path,hellinger=10``.
        ``custom`` is the objective of the configuration itself.
    config : FuseConfig
        Everything else, the options of the terms included.

    Returns
    -------
    dict
        In the order given.

    Raises
    ------
    FusionError
        When a name is not known or given twice, there are fewer than two, or there are no held-out examples.
    """
    given = [name.strip() for name in names.split(",") if name.strip()]
    found = {name: dataclasses.replace(config, objective=_objective(name, config.objective)) for name in given}
    if len(found) < len(given):
        raise FusionError(f"--compare {names} names an objective twice; give each once")
    if len(found) < 2:
        raise FusionError(f"--compare {names} is one objective; give two or more, for instance sft,path")
    if not config.data.validation:
        raise FusionError("--compare scores on held-out examples, and there are none; give data.validation")
    return found


def _objective(name: str, own: ObjectiveConfig) -> ObjectiveConfig:
    if name == "custom" and own.preset == "custom":
        return own
    plain = {f.name: f.default for f in dataclasses.fields(own) if f.name in WEIGHTS}
    if name in PRESETS:
        return dataclasses.replace(own, **plain, terms={}, preset=name)
    from gwfast_llm.terms.table import TERMS

    term, _, said = name.partition("=")
    if term not in TERMS:
        raise FusionError(
            f"--compare: {name!r} is no objective; expected a preset ({', '.join(PRESETS)}), a term with its weight "
            f"(hellinger=10; terms: {', '.join(TERMS)}), or custom where objective.preset is custom"
        )
    try:
        weight = float(said)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise FusionError(f"--compare: the term {name!r} has no positive weight; give one, for instance {term}=1")
    if term in WEIGHTS:
        return dataclasses.replace(own, **{**plain, term: weight}, terms={}, preset="custom")
    return dataclasses.replace(own, **plain, terms={term: weight}, preset="custom")


@dataclass(frozen=True)
class Kept:
    """What a finished fusion has left beside its model."""

    metrics: list[dict[str, Any]]
    seconds: float
    notes: list[str]


def finished(work: Path, name: str) -> Kept | None:
    """What a fusion left; None where it has to be run."""
    record = work / "results" / f"{name}.json"
    if not record.is_file() or not (work / "models" / name).is_dir():
        return None
    found = read_object(record, _again(record))
    try:
        return Kept(list(found["metrics"]), float(found["seconds"]), list(found["notes"]))
    except (KeyError, TypeError, ValueError):
        raise FusionError(f"{record} is damaged; {_again(record)}") from None


def _again(record: Path) -> str:
    return f"delete {record.name}, and the same command with --resume makes it again"


def keep_result(work: Path, name: str, fused: Any) -> None:
    """Note what a fusion logged, once its model is written; its checkpoints are not needed any more."""
    (work / "results").mkdir(exist_ok=True)
    kept = Kept(fused.metrics, fused.seconds, list(fused.notes))
    write_object(work / "results" / f"{name}.json", dataclasses.asdict(kept))
    shutil.rmtree(work / "checkpoints" / name, ignore_errors=True)


def keep_logs(work: Path, name: str) -> None:
    """Keep what a logger wrote beside the checkpoints of a fusion under its name."""
    written, place = work / "checkpoints" / "logs", work / "logs" / name
    for path in sorted(written.rglob("*")) if written.is_dir() else []:
        if path.is_file():
            target = place / path.relative_to(written)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    shutil.rmtree(written, ignore_errors=True)


def emptied() -> None:
    """Give the memory of the last fusion back."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def contenders(
    work: Path, config: FuseConfig, objectives: dict[str, FuseConfig], done: Sequence[str]
) -> list[Contender]:
    """The pivot before and after each fusion that is done, with their scores; scores that are there are not made again.

    Raises
    ------
    FusionError
        When no held-out example can be used, or a score on the disk is damaged.
    """
    from gwfast_llm.reports.scoring import usable_examples

    examples = usable_examples(config.data, [config.pivot])
    scores = _scores(work, BEFORE, config.pivot, config, examples)
    found = [Contender(BEFORE, "the pivot as it was", [scores], trained=False)]
    for name in done:
        own, kept = objectives[name].objective, finished(work, name)
        assert kept is not None, "done"
        model = dataclasses.replace(config.pivot, model=str((work / "models" / name).absolute()), dtype="auto")
        scores = _scores(work, name, model, config, examples)
        what = " + ".join(f"{weight:g} {term}" for term, weight in own.weights.items() if weight)
        found.append(Contender(name, what, [scores], True, own.distils, kept.seconds))
    return found


def scores_of(work: Path, name: str, model: ModelConfig, config: FuseConfig) -> list[Score]:
    """Scores of a model on the held-out examples; those that are there are not made again."""
    from gwfast_llm.reports.scoring import usable_examples

    return _scores(work, name, model, config, usable_examples(config.data, [config.pivot]))


def _scores(work: Path, name: str, model: ModelConfig, config: FuseConfig, examples: Sequence[Any]) -> list[Score]:
    record = work / "scores" / f"{name}.json"
    if record.is_file():
        try:
            return [Score(**score) for score in read_object(record, _again(record))["scores"]]
        except (KeyError, TypeError):
            raise FusionError(f"{record} is damaged; {_again(record)}") from None
    from gwfast_llm.reports.scoring import score_stored

    found = score_stored(model, examples, config.data, config.train.batch_size)
    scores = [Score(s.task, s.kind, s.value) for s in found] + [Score(s.task, BYTES, s.nats_a_byte) for s in found]
    record.parent.mkdir(exist_ok=True)
    write_object(record, {"scores": [dataclasses.asdict(score) for score in scores]})
    emptied()
    return scores
