"""A folder of finished blocks: written one by one and atomically, read again where a table goes on."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gwfast.errors import InputError
from gwfast.many.blocks import Answer, Atoms

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Store:
    """Finished blocks of one table in one folder; the manifest says of which spaces and options."""

    folder: Path
    plans: bool

    def read(self, number: int) -> Answer | None:
        """A finished block, or None."""
        try:
            value, lower = np.load(self._path("block", number, "npy"), allow_pickle=False)
            if not self.plans:
                return Answer(value, lower)
            with np.load(self._path("plans", number, "npz"), allow_pickle=False) as file:
                return Answer(value, lower, Atoms(file["count"], file["rows"], file["cols"], file["mass"]))
        except (OSError, ValueError, EOFError, KeyError):
            return None  # not there, or cut short: it is solved again

    def write(self, number: int, answer: Answer) -> None:
        """Keep a block; what a killed process leaves behind is never read."""
        if answer.atoms is not None:
            a = answer.atoms
            self._replace(self._path("plans", number, "npz"), count=a.count, rows=a.rows, cols=a.cols, mass=a.mass)
        self._replace(self._path("block", number, "npy"), block=np.stack([answer.value, answer.lower]))

    def _path(self, kind: str, number: int, ending: str) -> Path:
        return self.folder / f"{kind}-{number:06d}.{ending}"

    def _replace(self, target: Path, **arrays: np.ndarray) -> None:
        temporary = target.with_name(f".{secrets.token_hex(6)}{target.suffix}")
        try:
            with open(temporary, "wb") as file:
                if target.suffix == ".npy":
                    np.save(file, arrays["block"], allow_pickle=False)
                else:
                    np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


def open_store(out: Any, manifest: dict[str, Any], plans: bool) -> Store:
    """Open a folder for a table, new or begun before.

    Raises
    ------
    InputError
        The folder holds another table, or something else; the message says what differs.
    """
    try:
        folder = Path(out).expanduser()
    except TypeError:
        raise InputError(f"out: expected a folder, found {type(out).__name__}") from None
    manifest = {"format": FORMAT, **manifest}
    target = folder / MANIFEST
    if target.is_file():
        _compare(folder, _stored(target), manifest)
    else:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"out: {folder} holds something that is no table of pairs; give a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{secrets.token_hex(6)}.json"
        temporary.write_text(json.dumps(manifest))
        os.replace(temporary, target)
    return Store(folder, plans)


def _stored(target: Path) -> dict[str, Any]:
    try:
        found = json.loads(target.read_text())
    except (OSError, ValueError):
        raise InputError(f"out: {target} cannot be read; give a new folder, or remove this one") from None
    if not isinstance(found, dict):
        raise InputError(f"out: {target} is no manifest of a table; give a new folder")
    return found


def _compare(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    for name, value in new.items():
        if old.get(name) != value:
            said = f"found {name} {old.get(name)!r} there and {value!r} here"
            if name == "spaces":
                said = _differing(old.get(name), value)
            raise InputError(f"out: {folder} holds another table: {said}; give a new folder")


def _differing(old: Any, new: list[str]) -> str:
    if not isinstance(old, list) or len(old) != len(new):
        return f"it has {len(old) if isinstance(old, list) else 'no'} spaces, here are {len(new)}"
    place = next(i for i, (a, b) in enumerate(zip(old, new)) if a != b)
    return f"spaces[{place}] is another one"
