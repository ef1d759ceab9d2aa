"""One fusion for each source, and their models merged into one: what is kept of each, weights, model and record.

In the folder of the run, while it is at work: ``models/<name>``, ``checkpoints/<name>``, ``results/<name>.json`` and
``scores/<name>.json``, as in a comparison of objectives; ``model`` is the merged one.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from gwfast_llm.command_line import comparison
from gwfast_llm.config import FuseConfig, ModelConfig
from gwfast_llm.reports.scores import BYTES, Score

LEFTOVERS = ("checkpoints", "results", "scores", "models")
BASE = ".base"


def runs_of(config: FuseConfig) -> dict[str, FuseConfig]:
    """The configuration with each of its sources alone, by a name that a folder can have."""
    objective = dataclasses.replace(config.objective, combine="together")
    return {
        f"source-{number}": dataclasses.replace(config, sources=[source], objective=objective)
        for number, source in enumerate(config.sources, 1)
    }


def left(work: Path, runs: dict[str, FuseConfig]) -> list[str]:
    """Names of the fusions that have to be run."""
    return [name for name in runs if comparison.finished(work, name) is None]


def combine(config: FuseConfig, runs: dict[str, FuseConfig], work: Path) -> list[str]:
    """Merge the models of all fusions and write the record; what could not be written.

    Parameters
    ----------
    config : FuseConfig
        The run.
    runs : dict of str to FuseConfig
        Its fusions, all finished.
    work : Path
        Folder of the run at work; afterwards the model is in it.
    """
    from gwfast_llm.command_line.results import CARD
    from gwfast_llm.command_line.run_folder import MODEL
    from gwfast_llm.models.loading import load_model
    from gwfast_llm.models.merging import Recipe, loss_weights, merge_folders
    from gwfast_llm.reports import run_report
    from gwfast_llm.reports.model_card import model_card
    from gwfast_llm.reports.scores import score_records
    from gwfast_llm.system.records import write_text

    objective = config.objective
    found = comparison.contenders(work, config, runs, list(runs)) if config.data.validation else []
    losses = [nats(contender.runs[0]) for contender in found[1:]]
    temperature = objective.merge_temperature if losses else 0.0
    weights = loss_weights(losses or [0.0] * len(runs), temperature)
    recipe = Recipe(objective.merge, weights, objective.merge_scale, objective.merge_density)
    base = work / "models" / BASE
    if objective.merge != "linear" and not base.is_dir():
        # under the names of the models that were made from it, whatever its own files call them
        load_model(config.pivot).save_pretrained(base)
    shutil.rmtree(work / MODEL, ignore_errors=True)
    merge_folders(base, [work / "models" / name for name in runs], work / MODEL, recipe)
    scored: list[Score] = []
    if found:
        scored = comparison.scores_of(work, "merged", _model(config, work / MODEL), config)
    record = run_report.merge_record(config, recipe, losses, [nats(found[0].runs[0])] if found else [], scored)
    metrics = [row for name in runs for row in _metrics(work, name)]
    names = [source.label for source in config.sources]
    shares = ", ".join(f"{name} {weight:.3f}" for name, weight in zip(names, weights, strict=True))
    note = f"one model for each source, merged by {objective.merge} with weights {shares}"
    card = model_card(config, [], [note], int(record["steps"]))
    write_text(work / MODEL / CARD, card)
    run_report.write_records(work, record, [*metrics, *score_records(found)])
    print(note)
    return []


def _metrics(work: Path, name: str) -> list[dict]:
    kept = comparison.finished(work, name)
    assert kept is not None, "finished"
    return [{"objective": name, **row} for row in kept.metrics]


def _model(config: FuseConfig, folder: Path) -> ModelConfig:
    return dataclasses.replace(config.pivot, model=str(folder.absolute()), dtype="auto")


def nats(scores: Sequence[Score]) -> float:
    """Nats a byte, the mean over tasks."""
    return fmean(score.value for score in scores if score.kind == BYTES)
