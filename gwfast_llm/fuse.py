"""``python -m gwfast_llm.fuse``: fuse language models; without argument the embedded default."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gwfast_llm.command_line.parser import config_parser, guard, parse
from gwfast_llm.config import FuseConfig
from gwfast_llm.errors import FusionError, InterruptedFusion
from gwfast_llm.system import interruption

DESCRIPTION = """Fuse source models of any tokenizer into a pivot by logit distillation.

Without --config (or --pivot.model) the embedded default runs: two small experts and a weaker pivot are built on the
spot on the CPU, fused under several objectives and compared on new problems.  The recommended objective is `path`,
which helped most in our measurements; `infigfusion` is there to reproduce the published loss."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = config_parser("fuse", DESCRIPTION)
    parser.add_argument("--size", type=str, default="default", help="embedded default: 'default' or 'smoke'")
    parser.add_argument("--seeds", type=int, default=0, help="embedded default: repetitions (0: the size's own)")
    parser.add_argument("--runs", type=str, default="runs", help="folder of all runs")
    parser.add_argument("--name", type=str, default="", help="name of the run folder (a number by default)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing run of that name")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint of an unfinished run")
    return guard(lambda: _run(*parse(parser, arguments)))


def _run(options: Any, config: FuseConfig | None) -> int:
    with interruption.lasting_streams():
        return _fuse(config, options) if config is not None else _embedded(options)


def _runs(options: Any) -> Path:
    """Folder of all runs."""
    try:
        return Path(options.runs).expanduser()
    except RuntimeError:
        raise FusionError(f"--runs {options.runs}: there is no such home folder; write the path in full") from None


@contextmanager
def _unfinished(work: Path) -> Iterator[None]:
    """Whatever ends the block early, say what is on the disk, and leave no folder that holds nothing."""
    from gwfast_llm.command_line import run_folder

    try:
        yield
    except KeyboardInterrupt as stop:
        if not work.exists():
            raise  # the run is in its place
        raise InterruptedFusion(f"{stop}: {run_folder.drop_if_empty(work)}".removeprefix(": ")) from None
    except FusionError as mistake:
        kept = run_folder.kept_in(work)
        raise FusionError(f"{mistake}; {run_folder.drop_if_empty(work)}" if kept else str(mistake)) from None
    finally:
        run_folder.drop_if_empty(work)


def _embedded(options: Any) -> int:
    from gwfast_llm.command_line import run_folder
    from gwfast_llm.system.disk import require_room
    from gwfast_llm.tiny.default import ROOM, SIZES, run_default

    if options.size not in SIZES:
        raise FusionError(f"--size is {options.size!r}; expected one of {', '.join(SIZES)}")
    if options.seeds < 0:
        raise FusionError(f"--seeds is {options.seeds}; expected 1 or more")
    given = {"size": options.size, "seeds": options.seeds or SIZES[options.size].seeds}
    with run_folder.claimed(_runs(options), options.name, "tiny", options.resume, options.overwrite) as target:
        work = run_folder.open_unfinished(target, given, options.resume, options.overwrite)
        with _unfinished(work):
            require_room(work, ROOM, 0, "models, caches and checkpoints")
            whole, complaints = (work / run_folder.MODEL).is_dir(), []
            run = None if whole else run_default(options.size, work, given["seeds"])
            with interruption.deferred("the run is put in its place first"):
                if run is not None:
                    complaints = _keep(run, work, target)
                _publish(work, target, options.overwrite)
                stopped = interruption.asked()
            return _report(target, complaints, stopped)


def _keep(run: Any, work: Path, target: Path) -> list[str]:
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


def _fuse(config: FuseConfig, options: Any) -> int:
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    from gwfast_llm.command_line import run_folder
    from gwfast_llm.teachers.dates import pinned
    from gwfast_llm.training.fusion import fuse

    state = PartialState(cpu=not torch.cuda.is_available())
    chosen: list[Any] = [None, None]
    with ExitStack() as stack:
        if state.is_main_process:
            try:
                claim = run_folder.claimed(_runs(options), options.name, "fuse", options.resume, options.overwrite)
                target = stack.enter_context(claim)
                config = pinned(config, run_folder.unfinished(target) / "config.json" if options.resume else None)
                work = run_folder.open_unfinished(target, config.as_dict(), options.resume, options.overwrite)
                stack.enter_context(_unfinished(work))
                chosen = [(target, work, (work / run_folder.MODEL).is_dir()), None]
            except FusionError as mistake:
                chosen = [None, str(mistake)]
        if state.num_processes > 1:
            broadcast_object_list(chosen)
        if chosen[1]:
            raise FusionError(chosen[1])
        target, work, trained = chosen[0]
        config = pinned(config, work / "config.json")
        fused = None if trained else fuse(config, checkpoints=work / "checkpoints", resume=options.resume)
        if not state.is_main_process:
            return 0
        with interruption.deferred("the trained model is written first"):
            complaints = _write(config, fused, work) if fused else []
            _publish(work, target, options.overwrite)
            stopped = interruption.asked()
        return _report(target, complaints, stopped)


def _write(config: FuseConfig, fused: Any, work: Path) -> list[str]:
    """Write records and model of a fusion into its folder; what is not there as it should be."""
    from gwfast_llm.command_line.run_folder import MODEL, kept_in
    from gwfast_llm.reports import run_report
    from gwfast_llm.system.disk import spell_bytes
    from gwfast_llm.system.trouble import out_of_disk
    from gwfast_llm.training.gather import write_model

    def write() -> None:
        name = config.objective.preset
        metrics = [{"objective": name, "seed": config.train.seed, **row} for row in fused.metrics]
        run_report.write_records(work, run_report.fusion_record(config, fused.seconds, fused.notes), metrics)

    complaints = _tried("the records of the run", write)
    size = spell_bytes(sum(p.numel() * p.element_size() for p in fused.model.parameters()))
    full = f"the disk of {work.parent} is full: the model needs {size}; make room, or give --runs on another disk"
    try:
        with out_of_disk(full):
            complaints += write_model(fused.model, fused.tokenizer, work / MODEL)
    except (OSError, FusionError) as problem:
        why = str(problem) if isinstance(problem, FusionError) else f"the model cannot be written to {work} ({problem})"
        raise FusionError(why if kept_in(work) else f"{why}; {_rescued(fused)}") from None
    if fused.notes:
        print("\n".join(fused.notes))
    return complaints


def _rescued(fused: Any) -> str:
    """Write a model that no checkpoint holds into the folder for temporary files; where it is now."""
    from gwfast_llm.training.gather import write_model

    rescue = Path(tempfile.mkdtemp(prefix="gwfast-"))
    try:
        write_model(fused.model, fused.tokenizer, rescue / "model")
    except Exception:
        shutil.rmtree(rescue, ignore_errors=True)
        return "nothing of the run is kept"
    return f"the trained model is in {rescue / 'model'} instead"


def _tried(what: str, write: Callable[[], None]) -> list[str]:
    """Write something without which the model is still worth keeping; what went wrong."""
    try:
        write()
    except Exception as problem:
        return [f"{what} could not be written ({type(problem).__name__}: {problem}); there will be no report"]
    return []


def _publish(work: Path, target: Path, overwrite: bool) -> None:
    """Put a run with a whole model in its place, without what was needed to get there."""
    from gwfast_llm.command_line import run_folder

    for part in ("checkpoints", "models", "results", "cache"):
        shutil.rmtree(work / part, ignore_errors=True)
    run_folder.finish(work, target, overwrite)
    print(f"model {target / run_folder.MODEL}")


def _report(target: Path, complaints: list[str], stopped: str) -> int:
    """Make pictures and page of a run, each of which may fail alone."""
    from gwfast_llm.reports import run_report

    later = InterruptedFusion(f"the model is whole, in {target}; {run_report.again(target)} makes pictures and page")
    if stopped:
        raise later
    try:
        complaints += run_report.draw(target)
    except KeyboardInterrupt:
        raise later from None
    for complaint in complaints:
        print(f"warning: {complaint}", file=sys.stderr)
    if (target / run_report.PAGE).is_file():
        print(f"report {target / run_report.PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
