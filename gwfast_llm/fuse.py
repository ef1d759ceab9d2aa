"""``python -m gwfast_llm.fuse``: fuse language models; without argument the embedded default."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gwfast_llm.command_line.parser import config_parser, guard, parse
from gwfast_llm.command_line.results import draw_report, publish, write_comparison, write_fusion
from gwfast_llm.config import FuseConfig
from gwfast_llm.system import interruption
from gwfast_llm.system.errors import FusionError, InterruptedFusion
from gwfast_llm.system.values import in_home

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
            complaints = write_fusion(config, fused, work) if fused else []
            complaints = publish(work, target, options.overwrite, complaints)
            stopped = interruption.asked()
        return draw_report(target, complaints, stopped)


if __name__ == "__main__":
    sys.exit(main())
