"""Sources whose weights are not here: served by another machine, or gone once their cache is whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from gwfast_llm.config import ModelConfig, SourceConfig
from gwfast_llm.system.errors import FusionError, one_line

TOKENIZER = "tokenizer"  # folder of the source's tokenizer inside its cache


def is_elsewhere(config: ModelConfig) -> bool:
    """Whether a source is to be known from its cache alone: it is served, or there are no weights of it here."""
    if not isinstance(config, SourceConfig) or not config.cache:
        return False
    if config.served:
        return True
    return (Path(config.cache) / TOKENIZER).is_dir() and not _has_weights(config.model)


def _has_weights(model: str) -> bool:
    folder = Path(model)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        if model.startswith((".", "/", "~")) or model.count("/") > 1:
            return False
        try:
            folder = Path(snapshot_download(model, local_files_only=True))
        except Exception:  # the hub's library has many ways to say that it is not there
            return False
    return any([*folder.glob("*.safetensors"), *folder.glob("*.bin")])


def tokenizer_folder(config: ModelConfig) -> Path | None:
    """Folder of the tokenizer in the cache of a source that is known from it; None where it is read from the model."""
    if not is_elsewhere(config):
        return None
    assert isinstance(config, SourceConfig)
    kept = Path(config.cache) / TOKENIZER
    # a served source brings its tokenizer in `model`, until that is gone
    return kept if kept.is_dir() and not Path(config.model).is_dir() else None


def keep_tokenizer(tokenizer: Any, cache: Path) -> None:
    """Put the tokenizer of a source beside what the source says, whole or not at all.

    Raises
    ------
    FusionError
        When the disk cannot be written to.
    """
    target = cache / TOKENIZER
    if target.is_dir():
        return
    partial = cache / f".{TOKENIZER}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        tokenizer.save_pretrained(partial)
        partial.rename(target)
    except OSError as problem:
        raise FusionError(f"cannot write to {one_line(str(target))} ({problem.strerror}); make room") from None
