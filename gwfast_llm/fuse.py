"""``python -m gwfast_llm.fuse``: fuse language models; without argument the embedded default."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gwfast_llm.command_line.parser import config_parser, guard, parse
from gwfast_llm.command_line.results import (
    draw_report,
    publish,
    push,
    warn,
    write_comparison,
    write_fusion,
    write_objectives,
    write_trained,
)
from gwfast_llm.config import FuseConfig
from gwfast_llm.system import interruption
from gwfast_llm.system.errors import FusionError, InterruptedFusion
from gwfast_llm.system.values import in_home

DESCRIPTION = """Fuse source models of any tokenizer into a pivot by logit distillation.

Without --config (or --pivot.model) the embedded default runs: two small experts and a weaker pivot are built on the
spot on the CPU, fused under several objectives and compared on new problems.  The recommended objective is `path`,
which was best on held-out text of our small benchmark; `infigfusion` is there to reproduce the published loss.
--compare sft,path fuses under several objectives, one after another, and writes one report that compares them on
data.validation."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = config_parser("fuse", DESCRIPTION)
    parser.add_argument("--size", type=str, default="default", help="embedded default: 'default' or 'smoke'")
    parser.add_argument("--seeds", type=int, default=0, help="embedded default: repetitions (0: the size's own)")
    parser.add_argument("--compare", type=str, default="", help="objectives to run and compare, such as sft,path")
    parser.add_argument("--runs", type=str, default="runs", help="folder of all runs")
    parser.add_argument("--name", type=str, default="", help="name of the run folder (a number by default)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing run of that name")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint of an unfinished run")
    parser.add_argument("--push_to_hub", type=str, default="", help="upload the model there, as private: you/name")
    return guard(lambda: _run(*parse(parser, arguments)))


def _run(options: Any, config: FuseConfig | None) -> int:
    with interruption.lasting_streams():
        if options.push_to_hub and (config is None or options.compare):
            raise FusionError("--push_to_hub uploads the model of one fusion; give --config, without --compare")
        if config is None:
            if options.compare:
                raise FusionError(
                    "--compare needs a fusion of your own models; give --config, or leave --compare out (the embedded "
                    "default compares its own objectives)"
                )
            return _embedded(options)
        if config.objective.combine == "merge":
            if options.compare:
                raise FusionError("--compare trains with all sources together; use --objective.combine together")
            return _merge(config, options)
        return _compare(config, options) if options.compare else _fuse(config, options)


def _runs(options: Any) -> Path:
    """Folder of all runs."""
    return Path(in_home(options.runs, "--runs"))


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

    runs = _runs(options)
    if options.size not in SIZES:
        raise FusionError(f"--size is {options.size!r}; expected one of {', '.join(SIZES)}")
    if options.seeds < 0:
        raise FusionError(f"--seeds is {options.seeds}; expected 1 or more")
    given = {"size": options.size, "seeds": options.seeds or SIZES[options.size].seeds}
    with run_folder.claimed(runs, options.name, "tiny", options.resume, options.overwrite) as target:
        work = run_folder.open_unfinished(target, given, options.resume, options.overwrite)
        with _unfinished(work):
            require_room(work, ROOM, 0, "models, caches and checkpoints")
            whole, complaints = (work / run_folder.MODEL).is_dir(), []
            run = None if whole else run_default(options.size, work, given["seeds"])
            with interruption.deferred("the run is put in its place first"):
                if run is not None:
                    complaints = write_comparison(run, work, target)
                complaints = publish(work, target, options.overwrite, complaints)
                stopped = interruption.asked()
            return draw_report(target, complaints, stopped)


@dataclass(frozen=True)
class _Opened:
    """A run folder that is claimed, and the configuration with its date."""

    config: FuseConfig
    target: Path
    work: Path
    main: bool
    several: bool


def _agreed(found: Any) -> Any:
    """What the first process found, in all of them; an error there is raised everywhere."""
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    chosen = [found]
    if PartialState().num_processes > 1:
        broadcast_object_list(chosen)
    if isinstance(chosen[0], FusionError):
        raise FusionError(str(chosen[0]))
    return chosen[0]


def _open(config: FuseConfig, options: Any, prefix: str, more: dict[str, Any], stack: ExitStack) -> _Opened:
    """Claim the folder of a run in the first process, and tell the others."""
    import torch
    from accelerate import PartialState

    from gwfast_llm.command_line import run_folder
    from gwfast_llm.teachers.dates import pinned

    state = PartialState(cpu=not torch.cuda.is_available())
    found: Any = None
    if state.is_main_process:
        try:
            claim = run_folder.claimed(_runs(options), options.name, prefix, options.resume, options.overwrite)
            target = stack.enter_context(claim)
            config = pinned(config, run_folder.unfinished(target) / "config.json" if options.resume else None)
            given = {**config.as_dict(), **more}
            work = run_folder.open_unfinished(target, given, options.resume, options.overwrite)
            stack.enter_context(_unfinished(work))
            found = target, work
        except FusionError as mistake:
            found = mistake
    target, work = _agreed(found)
    config = pinned(config, work / "config.json")
    return _Opened(config, target, work, state.is_main_process, state.num_processes > 1)


def _fuse(config: FuseConfig, options: Any) -> int:
    from gwfast_llm.command_line import run_folder
    from gwfast_llm.training.fusion import fuse

    with ExitStack() as stack:
        run = _open(config, options, "fuse", {}, stack)
        trained = _agreed((run.work / run_folder.MODEL).is_dir())
        fused = None if trained else fuse(run.config, checkpoints=run.work / "checkpoints", resume=options.resume)
        if not run.main:
            return 0
        with interruption.deferred("the trained model is written first"):
            complaints = write_fusion(run.config, fused, run.work) if fused else []
            complaints = publish(run.work, run.target, options.overwrite, complaints)
            stopped = interruption.asked()
        if options.push_to_hub and not stopped:
            complaints += push(run.target / run_folder.MODEL, options.push_to_hub)
        return draw_report(run.target, complaints, stopped)


def _merge(config: FuseConfig, options: Any) -> int:
    """Fuse once for every source, merge the models, and write one report."""
    from gwfast_llm.command_line import combining, run_folder

    with ExitStack() as stack:
        run = _open(config, options, "fuse", {}, stack)
        runs = combining.runs_of(run.config)
        left = _agreed(combining.left(run.work, runs))
        complaints, failed = _train_each(run, {name: runs[name] for name in left}, "source")
        if failed:
            raise FusionError("; ".join(f"{name} failed: {why}" for name, why in failed.items()))
        if not run.main:
            return 0
        complaints += combining.combine(run.config, runs, run.work)
        with interruption.deferred("the run is put in its place first"):
            complaints = publish(run.work, run.target, options.overwrite, complaints, combining.LEFTOVERS)
            stopped = interruption.asked()
        if options.push_to_hub and not stopped:
            complaints += push(run.target / run_folder.MODEL, options.push_to_hub)
        return draw_report(run.target, complaints, stopped)


def _compare(config: FuseConfig, options: Any) -> int:
    """Fuse under every objective, score the models, and write one report."""
    from gwfast_llm.command_line import comparison, run_folder
    from gwfast_llm.reports import run_report

    comparison.objectives_of(options.compare, config)
    if config.lora.export == "adapter":
        raise FusionError("--compare scores merged models; use lora.export merged or both")
    with ExitStack() as stack:
        run = _open(config, options, "compare", {run_folder.COMPARE: True}, stack)
        objectives = comparison.objectives_of(options.compare, run.config)
        left = _agreed([name for name in objectives if comparison.finished(run.work, name) is None])
        complaints, failed = _train_each(run, {name: objectives[name] for name in left})
        if not run.main:
            return 0
        if len(failed) < len(objectives):
            write_objectives(run.config, objectives, failed, run.work)
        if failed:
            page = run.work / run_report.PAGE
            done = len(objectives) - len(failed)
            complaints += run_report.draw(run.work) if done else []
            warn(complaints)
            where = f"; the others are compared in {page}" if page.is_file() and done else ""
            again = "; --compare without what failed finishes the run" if done > 1 else ""
            raise FusionError("; ".join(f"{name} failed: {why}" for name, why in failed.items()) + where + again)
        with interruption.deferred("the run is put in its place first"):
            complaints = publish(run.work, run.target, options.overwrite, complaints, comparison.LEFTOVERS, "models")
            stopped = interruption.asked()
        return draw_report(run.target, complaints, stopped)


def _train_each(
    run: _Opened, objectives: dict[str, FuseConfig], what: str = "objective"
) -> tuple[list[str], dict[str, str]]:
    """Fuse under one configuration after another and keep each model as soon as it is there; what failed, and why."""
    from gwfast_llm.command_line import comparison
    from gwfast_llm.training.fusion import fuse

    complaints: list[str] = []
    failed: dict[str, str] = {}
    for number, (name, config) in enumerate(objectives.items(), 1):
        if run.main:
            print(f"{what} {name}, {number} of {len(objectives)}", flush=True)
        try:
            fused = fuse(config, checkpoints=run.work / "checkpoints" / name, resume=True)
            if run.main:
                with interruption.deferred("the trained model is written first"):
                    complaints += write_trained(fused, run.work / "models" / name, run.work)
                    comparison.keep_result(run.work, name, fused)
                    stopped = interruption.asked()
                if stopped:
                    raise KeyboardInterrupt(stopped)
            del fused
        except FusionError as mistake:
            if run.several:  # the other processes would wait for this one
                raise FusionError(f"{name} failed: {mistake}") from None
            failed[name] = str(mistake)
            warn([f"{name} failed: {mistake}"])
        if run.main:
            comparison.keep_logs(run.work, name)
        comparison.emptied()
    return complaints, failed


if __name__ == "__main__":
    sys.exit(main())
