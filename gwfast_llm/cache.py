"""``python -m gwfast_llm.cache``: run each source once over the data and keep its top-k logits on disk."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gwfast_llm.command_line.parser import config_parser, guard, parse
from gwfast_llm.config import FuseConfig
from gwfast_llm.errors import FusionError, InterruptedFusion, one_line
from gwfast_llm.system.disk import spell_bytes
from gwfast_llm.system.interruption import lasting_streams

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
    return guard(lambda: _cache(*parse(parser, arguments)))


def check_disks(stores: Sequence[tuple[Path, int]]) -> None:
    """Refuse stores that do not fit on their disks; what is finished of them takes no more room.

    Parameters
    ----------
    stores : sequence of (Path, int)
        Folder and final size of every store.

    Raises
    ------
    FusionError
        Naming the disk, what is needed there and what is free.
    """
    from gwfast_llm.teachers.manifest import missing_bytes

    disks: dict[int, tuple[Path, int]] = {}
    for folder, size in stores:
        parent = folder.absolute()
        while not os.path.exists(parent):  # False also where one may not look
            parent = parent.parent
        disk = parent.stat().st_dev
        where, needed = disks.get(disk, (parent, 0))
        disks[disk] = where, needed + missing_bytes(folder, size)
    for where, needed in disks.values():
        free = shutil.disk_usage(where).free
        if needed > free:
            raise FusionError(
                f"{spell_bytes(needed)} are needed, {spell_bytes(free)} are free at {where}; lower "
                "objective.source_top_k or give folders on another disk"
            )


def _cache(options: Any, config: FuseConfig | None) -> int:
    with lasting_streams():
        return _run(options, config)


def _run(options: Any, config: FuseConfig | None) -> int:
    if config is None:
        raise FusionError("--config is missing; give the configuration of a fusion")
    from gwfast_llm.models.loading import check_weights
    from gwfast_llm.teachers.store import TYPES, bytes_per_token
    from gwfast_llm.teachers.targets import target_bytes
    from gwfast_llm.training.prepare import prepare_run
    from gwfast_llm.training.teachers import carried_beforehand, identity_of, kept_logits, target_folder

    if options.dtype not in TYPES:
        raise FusionError(f"--dtype is {options.dtype!r}; expected one of {', '.join(TYPES)}")
    if not config.sources:
        raise FusionError("sources is empty; there is nothing to cache")
    without = [source.label for source in config.sources if not source.cache]
    if without:
        raise FusionError(f"sources: {', '.join(without)} has no cache folder; set it in the configuration")
    for model in (config.pivot, *config.sources):
        check_weights(model)
    run = prepare_run(config, config.sources)
    for note in run.notes:
        print(one_line(note))
    plans = []
    for number, (source, tokenizer, rows) in enumerate(zip(config.sources, run.tokenizers[1:], run.rows[1:])):
        keep = kept_logits(config, tokenizer)
        tokens = sum(len(row.ids) - row.prompt_length for row in rows)
        size = tokens * bytes_per_token(keep, options.dtype)
        print(
            f"source {source.label}: {len(rows)} examples, {tokens} answer tokens, {spell_bytes(size)} at "
            f"{keep} logits a token, into {one_line(source.cache)}"
        )
        folder = Path(source.cache).expanduser()
        plans.append((folder, size))
        if carried_beforehand(config, number, run):
            positions = sum(len(row.ids) - row.prompt_length for row in run.rows[0])
            size = positions * target_bytes(kept_logits(config, run.tokenizers[0]), options.dtype)
            print(f"source {source.label}: its targets in the pivot's vocabulary take at most {spell_bytes(size)} more")
            made = {**identity_of(source, tokenizer).stated, "keep": keep, "dtype": options.dtype}
            plans.append((target_folder(config, number, run, made).path, size))
    check_disks(plans)
    try:
        for number in range(len(config.sources)):
            _fill(config, number, run, options.dtype)
    except KeyboardInterrupt:
        raise InterruptedFusion("the shards finished so far are kept: the same command goes on with them") from None
    return 0


def _fill(config: FuseConfig, number: int, run: PreparedRun, dtype: str) -> None:
    from gwfast_llm.training.teachers import carried_beforehand, store_source, store_targets

    started, source = time.perf_counter(), config.sources[number]
    with _bar(f"source {source.label}", run) as progress:
        computed = store_source(config, number, run, dtype, progress)
    if carried_beforehand(config, number, run):
        with _bar(f"targets of {source.label}", run) as progress:
            computed += store_targets(config, number, run, progress)
    folder = Path(source.cache or "").expanduser()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    seconds = time.perf_counter() - started
    print(f"{folder}: {spell_bytes(size)}, {computed} shards computed in {seconds:.0f} s")


@contextmanager
def _bar(title: str, run: PreparedRun) -> Iterator[Callable[[int, int], None]]:
    from tqdm import tqdm

    with tqdm(total=len(run.examples), desc=title, unit="example") as bar:

        def progress(done: int, total: int) -> None:
            bar.update(done - bar.n)

        yield progress


if __name__ == "__main__":
    sys.exit(main())
