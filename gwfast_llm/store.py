"""Source signals on disk: safetensors shards with a JSON manifest; resumable, checksummed, and refused when foreign.

A shard holds a fixed run of examples: log-probabilities of the kept tokens in the storage type, their ids (int32),
log-sum-exp and gold log-probability (float32), byte ends, and where each example begins.  A shard is written beside
its name and moved there, then entered into the manifest in the same way, so that a kill at any moment leaves a store
that is whole up to some shard.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gwfast_llm.data import Encoded
from gwfast_llm.errors import FusionError
from gwfast_llm.fingerprint import data_fingerprint, row_key
from gwfast_llm.logits import TopK
from gwfast_llm.signal import BLOCK, Signal, Source

FORMAT = 1
MANIFEST = "manifest.json"
SHARD = 16 * BLOCK  # examples a shard
TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class Identity:
    """What must agree between the run that wrote a store and the run that reads it.

    Attributes
    ----------
    model, tokenizer, template : str
        Fingerprints.
    """

    model: str
    tokenizer: str
    template: str


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
    head = {
        "format": FORMAT,
        "source": source.name,
        **asdict(identity),
        "keep": keep,
        "dtype": dtype,
        "data": data_fingerprint(keys),
        "examples": len(keys),
        "examples_a_shard": SHARD,
    }
    shards: dict[str, Any] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / MANIFEST).is_file():
            manifest = _read_manifest(folder)
            changed = [name for name, value in head.items() if manifest.get(name) != value]
            if changed:
                raise FusionError(
                    f"{folder} holds a store of something else ({', '.join(changed)} differ); "
                    "give another folder, or delete it"
                )
            shards = manifest["shards"]
        for stray in folder.glob("*.partial"):
            stray.unlink()
        computed = 0
        for start in range(0, len(keys), SHARD):
            name = f"shard-{start // SHARD:05d}.safetensors"
            stop = min(start + SHARD, len(keys))
            if name in shards and _sound(folder / name, shards[name]):
                progress(stop, len(keys))
                continue
            tensors = _shard(source, range(start, stop), keys[start:stop], keep, TYPES[dtype], progress)
            partial = folder / f"{name}.partial"
            save_file(tensors, partial)
            os.replace(partial, folder / name)
            shards[name] = {"sha256": _digest(folder / name), "bytes": (folder / name).stat().st_size}
            _write_manifest(folder, {**head, "shards": shards})
            computed += 1
        if not (folder / MANIFEST).is_file():
            _write_manifest(folder, {**head, "shards": shards})
    except OSError as problem:
        if problem.errno == errno.ENOSPC or "No space left" in str(problem):
            raise FusionError(
                f"the disk of {folder} is full; finished shards are kept: make room and run the same command again"
            ) from None
        raise FusionError(f"cannot write to {folder} ({problem.strerror}); give another folder") from None
    except SafetensorError as problem:
        raise FusionError(
            f"cannot write to {folder} ({problem}); finished shards are kept: make room and run the same command again"
        ) from None
    return computed


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
        "keys": torch.tensor(keys, dtype=torch.int64),
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
        self._folder = folder
        again = "run python -m gwfast_llm.cache with the same configuration"
        if not (folder / MANIFEST).is_file():
            raise FusionError(f"source {name}: there is no cache at {folder}; {again}")
        self._manifest = manifest = _read_manifest(folder)
        changed = [what for what, value in asdict(identity).items() if manifest.get(what) != value]
        if changed:
            raise FusionError(
                f"source {name}: the cache at {folder} was made with another {' and another '.join(changed)}; {again} "
                "and another folder"
            )
        if keep > manifest["keep"]:
            raise FusionError(
                f"source {name}: the cache at {folder} keeps {manifest['keep']} logits a token, "
                f"objective.source_top_k is {keep}; lower it or cache again"
            )
        wanted = -(-manifest["examples"] // manifest["examples_a_shard"])
        if len(manifest["shards"]) < wanted:
            raise FusionError(
                f"source {name}: the cache at {folder} is unfinished ({len(manifest['shards'])} of {wanted} shards); "
                f"{again} to go on"
            )
        self._keep = keep or manifest["keep"]
        self._shards: dict[str, dict[str, torch.Tensor]] = {}
        self._where: dict[int, tuple[str, int]] = {}
        # one process a machine reads all of it once; the others look at names and sizes
        self._reads = int(os.environ.get("LOCAL_RANK", "0")) == 0
        for shard in manifest["shards"]:
            self._load(shard, again)
        self._keys = [row_key(row) for row in rows]
        lacking = [i for i, key in enumerate(self._keys) if key not in self._where]
        if lacking:
            raise FusionError(
                f"source {name}: the cache at {folder} was made with other data: it lacks {len(lacking)} of "
                f"{len(rows)} examples, the first is number {lacking[0]}; run python -m gwfast_llm.cache into another "
                "folder, or delete this one first"
            )

    def _load(self, shard: str, again: str) -> None:
        path = self._folder / shard
        if not _sound(path, self._manifest["shards"][shard], self._reads):
            raise FusionError(f"source {self.name}: {path} is damaged or missing; {again}, it rebuilds only this shard")
        tensors = load_file(path)  # mapped, read when used
        self._shards[shard] = tensors
        self._where.update({key: (shard, k) for k, key in enumerate(tensors["keys"].tolist())})

    def signals(self, indices: Sequence[int]) -> list[Signal]:
        """Signals of these examples, read from disk."""
        found = []
        for i in indices:
            shard, k = self._where[self._keys[i]]
            tensors = self._shards[shard]
            start, stop = tensors["first"][k : k + 2].tolist()
            logsumexp = tensors["logsumexp"][start:stop]
            values = tensors["log_probs"][start:stop, : self._keep].float() + logsumexp[:, None]
            kept = TopK(values, tensors["ids"][start:stop, : self._keep].long(), logsumexp)
            found.append(Signal(kept, tensors["gold"][start:stop]))
        return found


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        raise FusionError(f"{folder / MANIFEST} is damaged; delete the folder and cache again") from None
    if manifest.get("format") != FORMAT:
        raise FusionError(f"{folder} has store format {manifest.get('format')}, this version reads {FORMAT}")
    return manifest


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    partial = folder / f"{MANIFEST}.partial"
    partial.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, folder / MANIFEST)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sound(path: Path, record: dict[str, Any], reads: bool = True) -> bool:
    """Whether a shard is as it was written; only by its size where it is not to be read."""
    if not path.is_file() or path.stat().st_size != record["bytes"]:
        return False
    return not reads or _digest(path) == record["sha256"]


def finished_bytes(folder: Path) -> int:
    """Bytes of the shards that a store holds already; 0 where there is no store."""
    if not (folder / MANIFEST).is_file():
        return 0
    shards = _read_manifest(folder)["shards"]
    return sum(record["bytes"] for name, record in shards.items() if _sound(folder / name, record, reads=False))
