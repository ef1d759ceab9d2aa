"""``python -m gwfast_llm.cache``: run each source once over the data and keep its top-k logits on disk."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gwfast_llm.command_line.parser import config_parser, guard, parse
from gwfast_llm.config import FuseConfig
from gwfast_llm.system.errors import FusionError, InterruptedFusion, one_line
from gwfast_llm.system.interruption import lasting_streams
from gwfast_llm.system.values import in_home

if TYPE_CHECKING:
    from gwfast_llm.training.prepare import PreparedRun

DESCRIPTION = """Run each source once over the data and keep its top-k logits on disk.

Takes the configuration of a fusion; every source needs a folder in `cache`.  Where the objective follows the text into
the pivot's vocabulary, its targets are computed too.  A stopped run goes on where it was.  The size is said before
anything is computed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = config_parser("cache", DESCRIPTION)
    parser.add_argument("--dtype", type=str, default="float16", help="log-probabilities: float16, bfloat16, float32")
    parser.add_argument("--prompts", type=str, default="", help="write each source's prompts as tokens there, and stop")
    return guard(lambda: _cache(*parse(parser, arguments)))


def _cache(options: Any, config: FuseConfig | None) -> int:
    with lasting_streams():
        return _run(options, config)


def _run(options: Any, config: FuseConfig | None) -> int:
    if config is None:
        raise FusionError("--config is missing; give the configuration of a fusion")
    from gwfast_llm.training.caching import check_disks, check_request, fill, plan_of
    from gwfast_llm.training.prepare import prepare_run
    from gwfast_llm.training.sources import kept_logits

    check_request(config, options.dtype)
    run = prepare_run(config, config.sources)
    for note in run.notes:
        print(one_line(note))
    if options.prompts:
        return _write_prompts(Path(in_home(options.prompts, "--prompts")), config, run)
    stores, keep = [], 0
    for number in range(len(config.sources)):
        plan = plan_of(config, number, run, options.dtype)
        print("\n".join(plan.sentences))
        stores += plan.stores
        keep = max(keep, kept_logits(config, run.tokenizers[1 + number]))
    check_disks(stores, keep)
    try:
        for number in range(len(config.sources)):
            print(fill(config, number, run, options.dtype))
    except KeyboardInterrupt:
        raise InterruptedFusion("the shards finished so far are kept: the same command goes on with them") from None
    return 0


def _write_prompts(folder: Path, config: FuseConfig, run: PreparedRun) -> int:
    """Write the prompts of every source, for servers that run elsewhere."""
    from gwfast_llm.teachers.served.recorded import write_prompts

    for source, rows in zip(config.sources, run.rows[1:]):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_prompts(folder / f"{source.label}.jsonl", rows)
        except OSError as problem:
            raise FusionError(f"cannot write to {folder} ({problem.strerror}); give another --prompts") from None
        print(f"{folder / source.label}.jsonl: {len(rows)} prompts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
