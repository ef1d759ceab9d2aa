"""From the work of a run to its folder: records and model written, the folder put in its place, pages made."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gwfast_llm.config import FuseConfig
from gwfast_llm.system.errors import FusionError, InterruptedFusion, one_line


def write_comparison(run: Any, work: Path, target: Path) -> list[str]:
    """Write the records of an embedded run, and make the winner's model its result; what could not be written."""
    from gwfast_llm.command_line import run_folder
    from gwfast_llm.reports import run_report
    from gwfast_llm.reports.scores import score_records, table, verdict
    from gwfast_llm.system.records import write_text
    from gwfast_llm.tiny.tasks import EXACT_TASKS, FUSED_TEXTS

    judged = verdict(run.contenders, FUSED_TEXTS, EXACT_TASKS)

    def write() -> None:
        # paths of the folder at work become paths of the final one
        config = json.dumps(run.config, indent=2).replace(str(work), str(target))
        write_text(work / run_folder.CONFIG, config + "\n")
        record = run_report.comparison_record(run.contenders, run.config, run.minutes)
        run_report.write_records(work, record, [*run.metrics, *score_records(run.contenders)])

    complaints = _tried("the records of the run", write)
    run.models[judged.winner.name].rename(work / run_folder.MODEL)
    print(f"\n{table(run.contenders, FUSED_TEXTS, EXACT_TASKS)}\n")
    print("\n".join(line.replace("**", "") for line in judged.text) + "\n")
    return complaints


def write_fusion(config: FuseConfig, fused: Any, work: Path) -> list[str]:
    """Write records and model of a fusion into its folder; what is not there as it should be."""
    from gwfast_llm.command_line.run_folder import MODEL
    from gwfast_llm.reports import run_report

    def write() -> None:
        metrics = marked(config.objective.preset, config, fused.metrics)
        samples = [dataclasses.asdict(sample) for sample in fused.samples]
        cost: dict[str, Any] = {}
        complaints.extend(_tried("time and memory beside their estimate", lambda: cost.update(_cost(config, fused))))
        record = run_report.fusion_record(config, fused.seconds, fused.notes, fused.steps, samples, cost)
        run_report.write_records(work, record, metrics)

    complaints: list[str] = []
    complaints += _tried("the records of the run", write)
    complaints += write_trained(fused, work / MODEL, work, config.lora.export)

    def card() -> None:
        from gwfast_llm.reports.model_card import model_card
        from gwfast_llm.system.records import write_text

        write_text(work / MODEL / CARD, model_card(config, fused.metrics, fused.notes, fused.steps))

    complaints += _tried("the model card", card)
    if fused.notes:
        print("\n".join(fused.notes))
    return complaints


def _cost(config: FuseConfig, fused: Any) -> dict[str, Any]:
    """Time and memory of a run beside their estimate; empty where nothing was measured."""
    from gwfast_llm.reports.cost import cost_of

    if fused.measured is None:
        return {}
    steps = dataclasses.replace(config.train, steps=fused.steps, epochs=0.0)
    own = dataclasses.replace(config, train=steps)
    return cost_of(own, fused.measured, fused.lengths, int(os.environ.get("WORLD_SIZE", "1")))


def marked(objective: str, config: FuseConfig, metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What training logged, with objective and seed."""
    return [{"objective": objective, "seed": config.train.seed, **row} for row in metrics]


def write_trained(fused: Any, target: Path, work: Path, export: str = "merged") -> list[str]:
    """Write the model of a fusion; what is not there as it should be.

    Raises
    ------
    FusionError
        When it cannot be written, with the place where it is instead.
    """
    from gwfast_llm.command_line.run_folder import kept_in
    from gwfast_llm.system.disk import spell_bytes
    from gwfast_llm.system.trouble import out_of_disk
    from gwfast_llm.training.gather import write_model

    size = spell_bytes(sum(p.numel() * p.element_size() for p in fused.model.parameters()))
    full = f"the disk of {work.parent} is full: the model needs {size}; make room, or give --runs on another disk"
    try:
        with out_of_disk(full):
            return write_model(fused.model, fused.tokenizer, target, export)
    except (OSError, FusionError) as problem:
        why = str(problem) if isinstance(problem, FusionError) else f"the model cannot be written to {work} ({problem})"
        raise FusionError(why if kept_in(work) else f"{why}; {_rescued(fused)}") from None


def write_objectives(config: FuseConfig, objectives: dict[str, FuseConfig], failed: dict[str, str], work: Path) -> None:
    """Score what a comparison of objectives has trained, and write its records."""
    from gwfast_llm.command_line import comparison
    from gwfast_llm.reports import run_report
    from gwfast_llm.reports.objectives import scores_table, winners
    from gwfast_llm.reports.scores import score_records

    done = {name: kept for name in objectives if (kept := comparison.finished(work, name)) is not None}
    found = comparison.contenders(work, config, objectives, list(done))
    metrics = [row for name, kept in done.items() for row in marked(name, config, kept.metrics)]
    weights = [objectives[name].objective.weights for name in done]
    terms = dict.fromkeys(term for own in weights for term, weight in own.items() if weight)
    notes = dict.fromkeys(note for kept in done.values() for note in kept.notes)
    record = run_report.objectives_record(config, found, list(terms), failed, list(notes))
    if config.train.epochs:
        record["steps"] = max((int(row.get("step", 0)) for row in metrics), default=0)
    run_report.write_records(work, record, [*metrics, *score_records(found)])
    print("\n".join(notes))
    print(f"\n{scores_table(found, metrics)}\n")
    print("\n".join(line.replace("**", "") for line in winners(found)) + "\n")


def _rescued(fused: Any) -> str:
    """Write a model that no checkpoint holds into the folder for temporary files; where it is now."""
    from gwfast_llm.training.gather import write_model

    rescue = Path(tempfile.mkdtemp(prefix="gwfast-"))
    try:
        complaints = write_model(fused.model, fused.tokenizer, rescue / "model")
    except Exception:
        shutil.rmtree(rescue, ignore_errors=True)
        return "nothing of the run is kept"
    return "; ".join([f"the trained model is in {rescue / 'model'} instead", *complaints])


def _tried(what: str, write: Callable[[], None]) -> list[str]:
    """Write something without which the model is still worth keeping; what went wrong."""
    try:
        write()
    except Exception as problem:
        why = one_line(f"{type(problem).__name__}: {problem}")
        return [f"{what} could not be written ({why})"]
    return []


LEFTOVERS = ("checkpoints", "models", "results", "cache")


def publish(
    work: Path,
    target: Path,
    overwrite: bool,
    complaints: list[str],
    leftovers: Sequence[str] = LEFTOVERS,
    made: str = "model",
) -> list[str]:
    """Put a run with a whole model in its place, without what was needed to get there.

    Parameters
    ----------
    work, target : Path
        Where the run is, and where it belongs.
    overwrite : bool
        Whether an older run there is replaced.
    complaints : list of str
        What is not in `work` as it should be.
    leftovers : sequence of str
        Parts that are removed.
    made : str
        What the run is for.

    Returns
    -------
    list of str
        The complaints, with the place where the run is now.
    """
    from gwfast_llm.command_line import run_folder

    for part in leftovers:
        shutil.rmtree(work / part, ignore_errors=True)
    try:
        run_folder.finish(work, target, overwrite)
    except FusionError:
        warn(complaints)
        raise
    print(f"{made} {target / made}")
    return [complaint.replace(str(work), str(target)) for complaint in complaints]


CARD = "README.md"


def push(folder: Path, repository: str) -> list[str]:
    """Upload a model with its card to the hub, as a private repository; what went wrong."""
    try:
        from huggingface_hub import HfApi

        api = HfApi()
        name = api.create_repo(repository, private=True, exist_ok=True).repo_id
        api.upload_folder(repo_id=name, folder_path=str(folder), commit_message="Model made by gwfast_llm")
    except Exception as problem:  # the hub's library has many ways to fail
        why = one_line(f"{type(problem).__name__}: {problem}")[:200]
        return [f"the model could not be pushed to {repository} ({why}); it is whole in {folder}"]
    print(f"pushed to {name}, which is private: fill in the licences of its card before it is made public")
    return []


def warn(complaints: list[str]) -> None:
    """Say on standard error what is not as it should be."""
    for complaint in complaints:
        print(f"warning: {complaint}", file=sys.stderr)


def draw_report(target: Path, complaints: list[str], stopped: str) -> int:
    """Make pictures and page of a run, each of which may fail alone."""
    from gwfast_llm.reports import run_report

    recorded = (target / run_report.RECORD).is_file()
    more = f"; {run_report.again(target)} makes pictures and page" if recorded else ""
    later = InterruptedFusion(f"the model is whole, in {target}{more}")
    none = [f"{target} holds no {run_report.RECORD}: there is no report, and none can be made"]
    warn(complaints + none * (not recorded))
    if stopped:
        raise later
    try:
        warn(run_report.draw(target) if recorded else [])
    except KeyboardInterrupt:
        raise later from None
    if (target / run_report.PAGE).is_file():
        print(f"report {target / run_report.PAGE}")
    return 0
