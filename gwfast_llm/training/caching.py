"""Caches of a fusion: how large they will be, whether they fit, and filling them."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from gwfast_llm.config import FuseConfig
from gwfast_llm.models.loading import check_weights
from gwfast_llm.system.disk import spell_bytes
from gwfast_llm.system.errors import FusionError, one_line
from gwfast_llm.teachers.manifest import missing_bytes
from gwfast_llm.teachers.store import TYPES, bytes_per_token
from gwfast_llm.teachers.targets import target_bytes
from gwfast_llm.terms.objective import Objective
from gwfast_llm.training.prepare import PreparedRun
from gwfast_llm.training.sources import (
    carried_beforehand,
    identity_of,
    kept_logits,
    store_source,
    store_targets,
    target_folder,
)


@dataclass(frozen=True)
class CachePlan:
    """What the cache of a source will take.

    Attributes
    ----------
    sentences : list of str
        The plan in words.
    stores : list of (Path, int)
        Folder and final size of every store.
    """

    sentences: list[str]
    stores: list[tuple[Path, int]]


def check_request(config: FuseConfig, dtype: str) -> None:
    """Refuse a configuration whose sources cannot be cached.

    Raises
    ------
    FusionError
        When there are none, one has no folder or no weights, a term is not known, or the type is none of those.
    """
    if dtype not in TYPES:
        raise FusionError(f"--dtype is {dtype!r}; expected one of {', '.join(TYPES)}")
    if not config.sources:
        raise FusionError("sources is empty; there is nothing to cache")
    without = [source.label for source in config.sources if not source.cache]
    if without:
        raise FusionError(f"sources: {', '.join(without)} has no cache folder; set it in the configuration")
    Objective.of(config.objective, 1)
    for model in (config.pivot, *config.sources):
        check_weights(model)


def plan_of(config: FuseConfig, number: int, run: PreparedRun, dtype: str) -> CachePlan:
    """Say what the cache of a source will take, from the tokenized data alone."""
    source, tokenizer, rows = config.sources[number], run.tokenizers[1 + number], run.rows[1 + number]
    keep = kept_logits(config, tokenizer)
    tokens = sum(len(row.ids) - row.prompt_length for row in rows)
    size = tokens * bytes_per_token(keep, dtype)
    sentences = [
        f"source {source.label}: {len(rows)} examples, {tokens} answer tokens, {spell_bytes(size)} at "
        f"{keep} logits a token, into {one_line(source.cache)}"
    ]
    stores = [(Path(source.cache).expanduser(), size)]
    if carried_beforehand(config, number, run):
        positions = sum(len(row.ids) - row.prompt_length for row in run.rows[0])
        size = positions * target_bytes(kept_logits(config, run.tokenizers[0]), dtype)
        sentences.append(
            f"source {source.label}: its targets in the pivot's vocabulary take at most {spell_bytes(size)} more"
        )
        made = {**identity_of(source, tokenizer).stated, "keep": keep, "dtype": dtype}
        stores.append((target_folder(config, number, run, made).path, size))
    return CachePlan(sentences, stores)


def check_disks(stores: Sequence[tuple[Path, int]], keep: int) -> None:
    """Refuse stores that do not fit on their disks; what is finished of them takes no more room.

    Parameters
    ----------
    stores : sequence of (Path, int)
        Folder and final size of every store.
    keep : int
        Logits a token in them.

    Raises
    ------
    FusionError
        Naming the disk, what is needed there and what is free.
    """
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
            fits = int(0.9 * keep * free / needed)  # not all of a store is logits
            lower = f"objective.source_top_k {fits} fits, or " if fits else ""
            raise FusionError(
                f"{spell_bytes(needed)} are needed at {keep} logits a token, {spell_bytes(free)} are free at {where}; "
                f"{lower}give folders on another disk"
            )


def fill(config: FuseConfig, number: int, run: PreparedRun, dtype: str) -> str:
    """Fill the cache of a source, and carry its targets where a term needs them; what was done, in words."""
    started, source = time.perf_counter(), config.sources[number]
    with _bar(f"source {source.label}", run) as progress:
        computed = store_source(config, number, run, dtype, progress)
    if carried_beforehand(config, number, run):
        with _bar(f"targets of {source.label}", run) as progress:
            computed += store_targets(config, number, run, progress)
    folder = Path(source.cache or "").expanduser()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    seconds = time.perf_counter() - started
    return f"{folder}: {spell_bytes(size)}, {computed} shards computed in {seconds:.0f} s"


@contextmanager
def _bar(title: str, run: PreparedRun) -> Iterator[Callable[[int, int], None]]:
    with tqdm(total=len(run.examples), desc=title, unit="example") as bar:

        def progress(done: int, total: int) -> None:
            bar.update(done - bar.n)

        yield progress
