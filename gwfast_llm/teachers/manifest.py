"""The manifest of a folder of shards: read and checked field by field, written whole or not at all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.records import digest, read_object, write_object

FORMAT = 1
MANIFEST = "manifest.json"
NAME = re.compile(r"shard-(\d{5,9})\.safetensors")
DIGEST = re.compile(r"[0-9a-f]{64}")
TEXTS = ("model", "tokenizer", "template", "data", "dtype", "source", "pivot", "counted")  # where they are given
NUMBERS = ("keep", "signals", "method", "examples", "examples_a_shard")
ADVICE = "delete the folder and cache again"


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:05d}.safetensors"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a folder that has one.

    Raises
    ------
    FusionError
        When it is damaged or of another format, or names files outside the folder.
    """
    path = folder / MANIFEST
    manifest = read_object(path, ADVICE)
    if manifest.get("format") != FORMAT:
        raise FusionError(f"{folder} has store format {manifest.get('format')!r:.40}, this version reads {FORMAT}")
    problem = _problem(folder, manifest)
    if problem:
        raise FusionError(f"{path} is damaged: {problem[:200]}; {ADVICE}")
    return manifest


def _problem(folder: Path, manifest: dict[str, Any]) -> str:
    """What is wrong with a manifest; empty where nothing is."""
    for name in TEXTS:
        if not isinstance(manifest.get(name, ""), str):
            return f"{name} is {manifest[name]!r} and no text"
    for name in NUMBERS:
        if name in manifest and not _is_count(manifest[name]):
            return f"{name} is {str(manifest[name])[:40]!r} and no number of things"
    for name in ("examples", "examples_a_shard"):
        if name not in manifest:
            return f"{name} is missing"
    if manifest["examples_a_shard"] == 0:
        return "examples_a_shard is 0"
    shards = manifest.get("shards")
    if not isinstance(shards, dict):
        return f"shards is a {type(shards).__name__} and no object"
    wanted = shards_wanted(manifest)
    for name, record in shards.items():
        match = NAME.fullmatch(name)
        if not match or name != shard_name(int(match.group(1))) or int(match.group(1)) >= wanted:
            return f"{name!r} is not the name of one of its {wanted} shards"
        good = isinstance(record, dict) and _is_count(record.get("bytes")) and isinstance(record.get("sha256"), str)
        if not good or not DIGEST.fullmatch(record["sha256"]):
            return f"the record of {name} is {record!r}; expected bytes and sha256"
        if leaves(folder, name):
            return f"{name} is a link out of the folder"
    return ""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def leaves(folder: Path, name: str) -> bool:
    """Whether a file of a folder is a link to somewhere else."""
    path = folder / name
    return path.is_symlink() and path.resolve().parent != folder.resolve()


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest."""
    write_object(folder / MANIFEST, manifest)


def shards_wanted(manifest: dict[str, Any]) -> int:
    """Number of shards of a finished folder."""
    return -(-manifest["examples"] // manifest["examples_a_shard"])


def missing_bytes(folder: Path, size: int) -> int:
    """Bytes that a folder of this final size, or at most this size, still takes; 0 where it is whole."""
    if not (folder / MANIFEST).is_file():
        return size
    manifest = read_manifest(folder)
    sound = [r["bytes"] for name, r in manifest["shards"].items() if is_sound(folder / name, r, reads=False)]
    whole = len(sound) == shards_wanted(manifest)
    return 0 if whole else max(0, size - sum(sound))


def is_sound(path: Path, record: dict[str, Any], reads: bool = True) -> bool:
    """Whether a shard is as it was written; only by its size where it is not to be read."""
    try:
        if not path.is_file() or path.stat().st_size != record["bytes"]:
            return False
        return not reads or digest(path) == record["sha256"]
    except OSError:
        return False
