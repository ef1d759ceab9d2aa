"""Tensors of many examples on disk: safetensors shards with a JSON manifest; resumable, checksummed, never half.

A shard holds a fixed run of examples.  It is written beside its name and moved there, then entered into the manifest
in the same way, so that a kill at any moment leaves a folder that is whole up to some shard.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gwfast_llm.errors import FusionError
from gwfast_llm.fingerprint import data_fingerprint
from gwfast_llm.signal import BLOCK

FORMAT = 1
MANIFEST = "manifest.json"
SHARD = 16 * BLOCK  # examples a shard
AGAIN = "run python -m gwfast_llm.cache with the same configuration"

Make = Callable[[range], dict[str, Tensor]]


def write_shards(
    folder: Path,
    head: dict[str, Any],
    keys: Sequence[int],
    make: Make,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Make the tensors of all examples, shard by shard; goes on where an earlier call was stopped.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    head : dict
        What the tensors depend on; kept in the manifest and compared with what is there.
    keys : sequence of int
        One an example.
    make : callable
        Tensors of a run of examples.
    progress : callable, optional
        Called with (examples done, examples in all) for shards that are there already.

    Returns
    -------
    int
        Number of shards that were computed now.

    Raises
    ------
    FusionError
        When the folder holds something else, naming what; when the disk is full.
    """
    head = {
        "format": FORMAT,
        **head,
        "data": data_fingerprint(keys),
        "examples": len(keys),
        "examples_a_shard": SHARD,
    }
    shards: dict[str, Any] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / MANIFEST).is_file():
            manifest = read_manifest(folder)
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
            tensors = make(range(start, stop))
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


class Shards:
    """A finished folder of shards, to be read by key.

    Parameters
    ----------
    name : str
        Whose it is, for messages: ``source A``.
    folder : Path
        Written by `write_shards`.
    manifest : dict
        Its manifest.

    Raises
    ------
    FusionError
        When it is unfinished or damaged.
    """

    def __init__(self, name: str, folder: Path, manifest: dict[str, Any]):
        wanted = -(-manifest["examples"] // manifest["examples_a_shard"])
        if len(manifest["shards"]) < wanted:
            raise FusionError(
                f"{name}: the cache at {folder} is unfinished ({len(manifest['shards'])} of {wanted} shards); "
                f"{AGAIN} to go on"
            )
        self._tensors: dict[str, dict[str, Tensor]] = {}
        self._where: dict[int, tuple[str, int]] = {}
        # one process a machine reads all of it once; the others look at names and sizes
        reads = int(os.environ.get("LOCAL_RANK", "0")) == 0
        for shard, record in manifest["shards"].items():
            path = folder / shard
            if not _sound(path, record, reads):
                raise FusionError(f"{name}: {path} is damaged or missing; {AGAIN}, it rebuilds only this shard")
            tensors = load_file(path)  # mapped, read when used
            self._tensors[shard] = tensors
            self._where.update({key: (shard, k) for k, key in enumerate(tensors["keys"].tolist())})

    def __contains__(self, key: int) -> bool:
        """Whether an example of this key is there."""
        return key in self._where

    def find(self, key: int) -> tuple[dict[str, Tensor], int]:
        """Tensors of the shard that holds an example, and its number there."""
        shard, k = self._where[key]
        return self._tensors[shard], k


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a folder that has one.

    Raises
    ------
    FusionError
        When it is damaged or of another format.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        raise FusionError(f"{folder / MANIFEST} is damaged; delete the folder and cache again") from None
    if manifest.get("format") != FORMAT:
        raise FusionError(f"{folder} has store format {manifest.get('format')}, this version reads {FORMAT}")
    return manifest


def missing_bytes(folder: Path, size: int) -> int:
    """Bytes that a folder of this final size, or at most this size, still takes; 0 where it is whole."""
    if not (folder / MANIFEST).is_file():
        return size
    manifest = read_manifest(folder)
    sound = [r["bytes"] for name, r in manifest["shards"].items() if _sound(folder / name, r, reads=False)]
    whole = len(sound) == -(-manifest["examples"] // manifest["examples_a_shard"])
    return 0 if whole else max(0, size - sum(sound))


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
