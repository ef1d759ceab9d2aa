"""What a source says, on disk: its kept logits at every answer token, in shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from gwfast_llm.models.logits import TopK
from gwfast_llm.system.errors import FusionError
from gwfast_llm.teachers.fingerprint import row_key
from gwfast_llm.teachers.manifest import ADVICE, MANIFEST, read_manifest
from gwfast_llm.teachers.shards import AGAIN, Shards, write_shards
from gwfast_llm.teachers.signal import BLOCK, Signal, Source
from gwfast_llm.text.examples import Encoded

READ = ("log_probs", "ids", "logsumexp", "gold")
TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class Identity:
    """What must agree between the run that wrote a store and the run that reads it.

    Attributes
    ----------
    model, tokenizer, template : str
        Fingerprints.
    date : str
        Date that chat templates print in the prompts; empty where none does.
    """

    model: str
    tokenizer: str
    template: str
    date: str = ""

    @property
    def stated(self) -> dict[str, str]:
        """What is kept in a manifest and compared."""
        return {name: value for name, value in asdict(self).items() if value}


def bytes_per_token(keep: int, dtype: str) -> int:
    """Size of one answer token on disk: kept log-probabilities and ids, and three numbers.

    Examples
    --------
    >>> bytes_per_token(10, "float16")
    72
    """
    return keep * (TYPES[dtype].itemsize + 4) + 12


def write_store(
    folder: Path,
    source: Source,
    identity: Identity,
    keep: int,
    dtype: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
    raw: bool = True,
) -> int:
    """Run a source over its examples and keep what it says; goes on where an earlier call was stopped.

    Parameters
    ----------
    folder : Path
        The store; made where it does not exist.
    source : Source
        What to run.
    identity : Identity
        Fingerprints, kept in the manifest.
    keep : int
        Logits kept a token.
    dtype : {"float16", "bfloat16", "float32"}
        Type of the log-probabilities on disk.
    progress : callable, optional
        Called with (examples done, examples in all).
    raw : bool
        Whether the log-sum-exp is that of the model's logits; a server gives log-probabilities alone.

    Returns
    -------
    int
        Number of shards that were computed now.

    Raises
    ------
    FusionError
        When the folder holds a store of something else, naming what; when the disk is full.
    """
    keys = [row_key(row) for row in source.rows]
    head = {"source": source.name, **identity.stated, "keep": keep, "dtype": dtype}
    head |= {} if raw else {"raw": False}
    return write_shards(
        folder, head, keys, lambda run: _shard(source, run, keys, keep, TYPES[dtype], progress), progress
    )


def _shard(
    source: Source,
    indices: range,
    keys: Sequence[int],
    keep: int,
    dtype: torch.dtype,
    progress: Callable[[int, int], None],
) -> dict[str, torch.Tensor]:
    signals: list[Signal] = []
    for start in range(indices.start, indices.stop, BLOCK):
        signals += source.signals(range(start, min(start + BLOCK, indices.stop)))
        progress(indices.start + len(signals), len(source.rows))
    lengths = torch.tensor([0] + [len(s.gold) for s in signals])
    kept = [s.kept for s in signals]
    return {
        "log_probs": torch.cat([k.log_probs[:, :keep] for k in kept]).to(dtype).contiguous(),
        "ids": torch.cat([k.ids[:, :keep] for k in kept]).to(torch.int32).contiguous(),
        "logsumexp": torch.cat([k.logsumexp for k in kept]).float(),
        "gold": torch.cat([s.gold for s in signals]).float(),
        "ends": torch.cat([torch.tensor(source.rows[i].ends, dtype=torch.int32) for i in indices]),
        "first": lengths.cumsum(0),
        "keys": torch.tensor(keys[indices.start : indices.stop], dtype=torch.int64),
    }


class StoredSource:
    """A source read from disk.

    Parameters
    ----------
    name : str
        Name for messages.
    folder : Path
        A store from `write_store`.
    tokenizer : transformers.PreTrainedTokenizerFast
        The source's tokenizer.
    rows : sequence of Encoded
        The data set under it; every example must be in the store, in any order.
    identity : Identity
        What the store must have been made with.
    keep : int
        Logits to give a token; 0 for all there are.

    Raises
    ------
    FusionError
        When the store is missing, unfinished, made with something else (naming what), keeps too few logits, or lacks
        an example.
    """

    def __init__(self, name: str, folder: Path, tokenizer: Any, rows: Sequence[Encoded], identity: Identity, keep: int):
        self.name = name
        self.tokenizer = tokenizer
        self.rows = rows
        if not (folder / MANIFEST).is_file():
            raise FusionError(f"source {name}: there is no cache at {folder}; {AGAIN}")
        self.manifest = manifest = read_manifest(folder)
        changed = [what for what, value in identity.stated.items() if manifest.get(what) != value]
        if changed:
            raise FusionError(
                f"source {name}: the cache at {folder} was made with another {' and another '.join(changed)}; {AGAIN} "
                "and another folder"
            )
        if not manifest.get("keep") or manifest.get("dtype") not in TYPES:
            raise FusionError(f"source {name}: {folder / MANIFEST} is damaged: no keep or no dtype; {ADVICE}")
        if keep > manifest["keep"]:
            raise FusionError(
                f"source {name}: the cache at {folder} keeps {manifest['keep']} logits a token, "
                f"objective.source_top_k is {keep}; lower it or cache again"
            )
        self._keep = keep or manifest["keep"]
        self.raw = manifest.get("raw", True) is not False
        self._shards = Shards(f"source {name}", folder, manifest, READ)
        self._keys = [row_key(row) for row in rows]
        lacking = [i for i, key in enumerate(self._keys) if key not in self._shards]
        if lacking:
            raise FusionError(
                f"source {name}: the cache at {folder} was made with other data: it lacks {len(lacking)} of "
                f"{len(rows)} examples, the first is number {lacking[0]}; run python -m gwfast_llm.cache into another "
                "folder, or delete this one first"
            )

    def signals(self, indices: Sequence[int]) -> list[Signal]:
        """Signals of these examples, read from disk."""
        found = []
        for i in indices:
            log_probs, ids, logsumexp, gold = self._shards.rows(self._keys[i], READ)
            values = log_probs[:, : self._keep].float() + logsumexp[:, None]
            found.append(Signal(TopK(values, ids[:, : self._keep].long(), logsumexp), gold))
        return found
