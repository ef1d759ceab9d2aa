"""Sources of a configuration: running models, caches, and targets on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from gwfast_llm.config import FuseConfig, ModelConfig, SourceConfig
from gwfast_llm.models.elsewhere import is_elsewhere, keep_tokenizer
from gwfast_llm.models.loading import load_model, memory_message
from gwfast_llm.system.trouble import out_of_memory
from gwfast_llm.teachers.fingerprint import (
    model_fingerprint,
    name_fingerprint,
    template_fingerprint,
    tokenizer_fingerprint,
)
from gwfast_llm.teachers.manifest import MANIFEST, read_manifest
from gwfast_llm.teachers.online import OnlineSource, Remembered
from gwfast_llm.teachers.path import PathMap
from gwfast_llm.teachers.served.source import served_source
from gwfast_llm.teachers.signal import Source
from gwfast_llm.teachers.store import Identity, StoredSource, write_store
from gwfast_llm.teachers.targets import StoredTargets, TargetFolder
from gwfast_llm.terms.objective import Objective
from gwfast_llm.text.examples import Encoded
from gwfast_llm.text.templates import prints_date
from gwfast_llm.training.prepare import PreparedRun

REMEMBERED_BYTES = 2**30  # sources whose answers fit into this much memory are asked once an example


def identity_of(config: SourceConfig, tokenizer: Any, date: str = "") -> Identity:
    """Fingerprints of a source, and the date in the prompts."""
    return Identity(source_fingerprint(config), tokenizer_fingerprint(tokenizer), template_fingerprint(tokenizer), date)


def source_fingerprint(config: ModelConfig) -> str:
    """Fingerprint of a model; of one that is known from its cache, the one that travels in that."""
    if not isinstance(config, SourceConfig) or not is_elsewhere(config):
        return model_fingerprint(config)
    if (Path(config.cache) / MANIFEST).is_file():
        found = read_manifest(Path(config.cache)).get("model")
        if isinstance(found, str):
            return found
    return name_fingerprint("served", config.served_name or config.model)


def online_source(
    config: SourceConfig, tokenizer: Any, rows: Sequence[Encoded], keep: int, train_size: int | None = None
) -> OnlineSource:
    """A source that runs: its model, on the GPU where there is one, frozen."""
    with out_of_memory(memory_message(config)):
        model = load_model(config)
        if torch.cuda.is_available():
            model = model.to("cuda")
    return OnlineSource(config.label, model, tokenizer, rows, keep, train_size)


def kept_logits(config: FuseConfig, tokenizer: Any) -> int:
    """Logits a token that a store of a source holds: those asked for, or all of the vocabulary."""
    return config.objective.source_top_k or max(tokenizer.get_vocab().values()) + 1


def store_source(
    config: FuseConfig, number: int, run: PreparedRun, dtype: str, progress: Callable[[int, int], None]
) -> int:
    """Run one source over the data of a run and keep what it says in its cache folder.

    Parameters
    ----------
    config : FuseConfig
        The run; the source needs a folder in ``cache``.
    number : int
        Which of its sources.
    run : PreparedRun
        Tokenized for all of them.
    dtype : {"float16", "bfloat16", "float32"}
        Type of the log-probabilities on disk.
    progress : callable
        Called with (examples done, examples in all).

    Returns
    -------
    int
        Number of shards that were computed now; a stopped run goes on where it was.
    """
    source, tokenizer, rows = config.sources[number], run.tokenizers[1 + number], run.rows[1 + number]
    assert source.cache, "checked by the callers"
    keep = kept_logits(config, tokenizer)
    identity, folder = identity_of(source, tokenizer, run.date), Path(source.cache)
    if source.served:
        asked: Source = served_source(source, tokenizer, rows, keep)
    elif is_elsewhere(source):
        StoredSource(source.label, folder, tokenizer, rows, identity, keep)  # says what is missing of it
        progress(len(rows), len(rows))
        return 0
    else:
        asked = online_source(source, tokenizer, rows, keep, run.size)
    computed = write_store(folder, asked, identity, keep, dtype, progress, raw=not source.served)
    keep_tokenizer(tokenizer, folder)
    return computed


def carried_beforehand(config: FuseConfig, number: int, run: PreparedRun) -> bool:
    """Whether targets of a source are kept on disk: a part carries them, and the tokenizers differ."""
    pivot, own = run.tokenizers[0], run.tokenizers[1 + number]
    carries = Objective.of(config.objective, 1).needs.carried
    return carries and bool(config.sources[number].cache) and pivot.get_vocab() != own.get_vocab()


def store_targets(config: FuseConfig, number: int, run: PreparedRun, progress: Callable[[int, int], None]) -> int:
    """Carry what a cached source says into the pivot's vocabulary and keep it beside the cache.

    Parameters
    ----------
    config : FuseConfig
        The run.
    number : int
        Which of its sources; its cache is filled.
    run : PreparedRun
        Tokenized for all of them.
    progress : callable
        Called with (examples done, examples in all).

    Returns
    -------
    int
        Number of shards that were computed now; a stopped run goes on where it was.
    """
    source, tokenizer, rows = config.sources[number], run.tokenizers[1 + number], run.rows[1 + number]
    stored = open_source(source, tokenizer, rows, config.objective.source_top_k, date=run.date)
    assert isinstance(stored, StoredSource), "checked by the callers"
    size, pivot = run.size, run.rows[0]
    carry = PathMap(run.tokenizers[0], tokenizer, run.examples[:size], pivot[:size], rows)
    return target_folder(config, number, run, stored.manifest).write(stored, carry, progress)


def open_targets(config: FuseConfig, number: int, run: PreparedRun, source: Source) -> StoredTargets | None:
    """Targets of a source that were carried beforehand, where they are there."""
    if not isinstance(source, StoredSource) or not carried_beforehand(config, number, run):
        return None
    folder = target_folder(config, number, run, source.manifest)
    return folder.read(source.name) if (folder.path / MANIFEST).is_file() else None


def target_folder(config: FuseConfig, number: int, run: PreparedRun, signals: dict[str, Any]) -> TargetFolder:
    """Where the targets of a source are kept, whose cache has this manifest."""
    folder = Path(config.sources[number].cache or "")
    rows = run.rows[0], run.rows[1 + number]
    return TargetFolder(folder, signals, run.tokenizers[0], rows, run.size, config.objective.source_top_k)


def open_source(
    config: SourceConfig,
    tokenizer: Any,
    rows: Sequence[Encoded],
    keep: int,
    train_size: int | None = None,
    date: str = "",
) -> Source:
    """A source of a configuration: read from its cache where it has one, else run."""
    if config.cache:
        folder = Path(config.cache)
        same = identity_of(config, tokenizer, date if prints_date(tokenizer) else "")
        return StoredSource(config.label, folder, tokenizer, rows, same, keep)
    source = online_source(config, tokenizer, rows, keep, train_size)
    width = keep or max(tokenizer.get_vocab().values())
    size = 12 * width * sum(len(row.ids) - row.prompt_length for row in rows)
    return Remembered(source) if size < REMEMBERED_BYTES else source
