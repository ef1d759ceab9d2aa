"""Tensors of many examples on disk: safetensors shards with a JSON manifest, checksummed, each written whole.

A shard holds a fixed run of examples.  It is written beside its name and moved there, then entered into the manifest
in the same way, so that a kill at any moment leaves a folder that is whole up to some shard.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.locks import held
from gwfast_llm.system.records import digest, write_whole
from gwfast_llm.system.trouble import is_out_of_disk
from gwfast_llm.teachers.fingerprint import data_fingerprint
from gwfast_llm.teachers.manifest import (
    FORMAT,
    MANIFEST,
    is_sound,
    read_manifest,
    shard_name,
    shards_wanted,
    write_manifest,
)
from gwfast_llm.teachers.shard_file import Changed, ShardFile
from gwfast_llm.teachers.signal import BLOCK

LOCK = ".writing.lock"
SHARD = 16 * BLOCK  # examples a shard
STRAY = re.compile(r"\.?(shard-\d+\.safetensors|manifest\.json)\.partial(\.\w+)?")  # half-written by a killed process
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
        Made where it does not exist; may be a link to a folder.  Only this call writes there until it ends.
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
        When the folder holds something else, naming what; when another process writes there; when the disk is full.
    """
    head = {
        "format": FORMAT,
        **head,
        "data": data_fingerprint(keys),
        "examples": len(keys),
        "examples_a_shard": SHARD,
    }
    sound = _sound(folder, head)
    if len(sound) == shards_wanted(head) and sound:
        progress(len(keys), len(keys))
        return 0  # also where the folder cannot be written to
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with held(folder / LOCK, f"the store {folder}", "give another folder"):
        shards = _known(folder, head)
        _tidy(folder)
        computed = 0
        for number, start in enumerate(range(0, len(keys), SHARD)):
            name, stop = shard_name(number), min(start + SHARD, len(keys))
            if name in shards and (shards[name] == sound.get(name) or is_sound(folder / name, shards[name])):
                progress(stop, len(keys))
                continue
            tensors = make(range(start, stop))
            with _writing(folder):
                write_whole(folder / name, lambda partial, made=tensors: save_file(made, partial))
                shards[name] = {"sha256": digest(folder / name), "bytes": (folder / name).stat().st_size}
                write_manifest(folder, {**head, "shards": shards})
            computed += 1
        if not keys:
            with _writing(folder):
                write_manifest(folder, {**head, "shards": shards})
    return computed


def _known(folder: Path, head: dict[str, Any]) -> dict[str, Any]:
    """Records of the shards that an earlier call has finished."""
    if not (folder / MANIFEST).is_file():
        return {}
    manifest = read_manifest(folder)
    changed = [name for name, value in head.items() if manifest.get(name) != value]
    if changed:
        raise FusionError(
            f"{folder} holds a store of something else ({', '.join(changed)} differ); give another folder, or delete it"
        )
    return manifest["shards"]


def _sound(folder: Path, head: dict[str, Any]) -> dict[str, Any]:
    """Records of the shards that are as they were written."""
    return {name: record for name, record in _known(folder, head).items() if is_sound(folder / name, record)}


def _tidy(folder: Path) -> None:
    """Remove what a kill left half-written."""
    with _writing(folder):
        for stray in folder.iterdir():
            if STRAY.fullmatch(stray.name):
                stray.unlink()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn what goes wrong with the disk in the block into one line."""
    try:
        yield
    except FileExistsError:
        raise FusionError(f"{folder} is not to be made: a file or a link to nothing is in its way") from None
    except (OSError, SafetensorError) as problem:
        if is_out_of_disk(problem) or not isinstance(problem, OSError):
            why = "is full" if is_out_of_disk(problem) else f"cannot be written to ({problem})"
            raise FusionError(
                f"the disk of {folder} {why}; finished shards are kept: make room and run the same command again"
            ) from None
        raise FusionError(f"cannot write to {folder} ({problem.strerror}); give another folder") from None


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
    tensors : tuple of str
        What every shard holds, beside ``first`` and ``keys``.

    Raises
    ------
    FusionError
        When it is unfinished or damaged.
    """

    def __init__(self, name: str, folder: Path, manifest: dict[str, Any], tensors: tuple[str, ...]):
        wanted = shards_wanted(manifest)
        if len(manifest["shards"]) < wanted:
            raise FusionError(
                f"{name}: the cache at {folder} is unfinished ({len(manifest['shards'])} of {wanted} shards); "
                f"{AGAIN} to go on"
            )
        self._name = name
        self._files: list[ShardFile] = []
        self._firsts: list[Tensor] = []
        self._where: dict[int, tuple[int, int]] = {}
        # one process a machine reads all of it once; the others look at names and sizes
        reads = int(os.environ.get("LOCAL_RANK", "0")) == 0
        for number, (shard, record) in enumerate(manifest["shards"].items()):
            path = folder / shard
            if not is_sound(path, record, reads):
                raise self._damaged(f"{path} is damaged or missing")

            def same(path: Path = path, record: dict[str, Any] = record) -> bool:
                return is_sound(path, record)

            with self._told():
                file = ShardFile(path, (*tensors, "first", "keys"), same)
                keys, first = file.read(["keys", "first"])
                if len(first) != len(keys) + 1 or bool((first.diff() < 0).any()) or int(first[0]) != 0:
                    raise Changed(f"{path} is no file of examples")
            self._files.append(file)
            self._firsts.append(first)
            self._where.update({key: (number, k) for k, key in enumerate(keys.tolist())})

    def _damaged(self, what: str) -> FusionError:
        return FusionError(f"{self._name}: {what}; {AGAIN}, it rebuilds only this shard")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Changed as problem:
            raise self._damaged(str(problem)) from None

    def __contains__(self, key: int) -> bool:
        """Whether an example of this key is there."""
        return key in self._where

    def rows(self, key: int, names: Sequence[str]) -> list[Tensor]:
        """Rows of an example, of tensors that ``first`` counts.

        Raises
        ------
        FusionError
            When the file was changed since it was opened.
        """
        shard, k = self._where[key]
        start, stop = self._firsts[shard][k : k + 2].tolist()
        with self._told():
            return self._files[shard].read(names, start, stop)

    def borders(self, key: int, name: str) -> Tensor:
        """One row more than `rows` gives, of a tensor that says where each of them begins."""
        shard, k = self._where[key]
        start, stop = self._firsts[shard][k : k + 2].tolist()
        with self._told():
            return self._files[shard].read([name], start, stop + 1)[0]

    def slices(self, key: int, names: Sequence[str], start: int, stop: int) -> list[Tensor]:
        """Rows from `start` to `stop` of tensors of the shard that holds an example."""
        shard, _ = self._where[key]
        with self._told():
            return self._files[shard].read(names, start, stop)
