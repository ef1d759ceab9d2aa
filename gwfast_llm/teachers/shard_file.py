"""Tensors of a safetensors file, read row by row with plain reads.

A mapped file that is cut short while it is read ends the process (SIGBUS); a read that finds less is an error that can
be told.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

TYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "I32": torch.int32,
    "I64": torch.int64,
}


class Changed(Exception):
    """The file is not what it was when it was opened."""


class ShardFile:
    """The tensors of a file, by name and rows.

    Parameters
    ----------
    path : Path
        A safetensors file.
    names : sequence of str
        Tensors that it must have.
    same : callable
        Whether the file still is what it was, asked where its date, place or size have changed.

    Raises
    ------
    Changed
        When it is no such file.
    """

    def __init__(self, path: Path, names: tuple[str, ...], same: Callable[[], bool]):
        self._path = path
        self._same = same
        self._stamp = (0, 0, 0)
        try:
            with path.open("rb") as file:
                self._stamp = _stamp(file.fileno())
                size = int.from_bytes(file.read(8), "little")
                if size > self._stamp[2]:
                    raise Changed(f"{path} has no header")
                header = json.loads(file.read(size))
            self._begin = 8 + size
            self._entries = {name: _Entry(header[name]) for name in names}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise Changed(f"{path} is no file of these tensors") from None

    def read(self, names: Sequence[str], start: int = 0, stop: int | None = None) -> list[Tensor]:
        """The same rows of some tensors, all of them by default.

        Raises
        ------
        Changed
            When the file was cut short, replaced or removed since it was opened.
        """
        try:
            with self._path.open("rb", buffering=0) as file:
                self._check(file.fileno())
                return [self._rows(file, name, start, stop) for name in names]
        except OSError as problem:
            raise Changed(f"{self._path} cannot be read any more ({problem.strerror})") from None

    def _rows(self, file: Any, name: str, start: int, stop: int | None) -> Tensor:
        entry = self._entries[name]
        stop = entry.shape[0] if stop is None else stop
        if not 0 <= start <= stop <= entry.shape[0]:
            raise Changed(f"{self._path} has no rows {start} to {stop} of {name}")
        found = torch.empty(stop - start, *entry.shape[1:], dtype=entry.dtype)
        if not found.numel():
            return found
        view, done = found.view(torch.uint8).numpy().reshape(-1).data, 0
        file.seek(self._begin + entry.begin + start * entry.row)
        while done < len(view) and (count := file.readinto(view[done:])):
            done += count
        if done < len(view):
            raise Changed(f"{self._path} was cut short while it was in use")
        return found

    def _check(self, file: int) -> None:
        stamp = _stamp(file)
        if stamp == self._stamp:
            return
        if not self._same():
            raise Changed(f"{self._path} was changed while it was in use")
        self._stamp = stamp


class _Entry:
    """Where a tensor lies in a file."""

    def __init__(self, record: dict[str, Any]):
        self.dtype = TYPES[record["dtype"]]
        self.shape = [int(size) for size in record["shape"]]
        self.begin, end = record["data_offsets"]
        self.row = math.prod(self.shape[1:]) * self.dtype.itemsize
        if min(self.shape) < 0 or end - self.begin != self.shape[0] * self.row or self.begin < 0:
            raise ValueError("the header does not fit the tensor")


def _stamp(file: int) -> tuple[int, int, int]:
    said = os.fstat(file)
    return said.st_ino, said.st_mtime_ns, said.st_size
