"""Targets in the pivot's vocabulary, on disk: carried along the text once a source, a pivot and a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gwfast_llm.teachers.fingerprint import data_fingerprint, head_fingerprint, row_key, tokenizer_fingerprint
from gwfast_llm.teachers.manifest import read_manifest
from gwfast_llm.teachers.path import PathMap, Targets
from gwfast_llm.teachers.shards import Shards, write_shards
from gwfast_llm.teachers.signal import BLOCK, Source
from gwfast_llm.teachers.store import TYPES
from gwfast_llm.text.examples import Encoded

READ = ("pivot_index", "source_index", "ids", "probs", "channels")
METHOD = 2  # to be raised when `PathMap.targets` changes what it gives


def target_bytes(keep: int, dtype: str) -> int:
    """Size of one matched position on disk, at most.

    Examples
    --------
    >>> target_bytes(64, "float16")
    400
    """
    return keep * (TYPES[dtype].itemsize + 4) + 16


class TargetFolder:
    """Where the targets of one source, pivot and data set are kept, inside the source's cache.

    Parameters
    ----------
    folder : Path
        The source's cache.
    signals : dict
        What the source's signals depend on: `model`, `tokenizer`, `template`, `keep`, `dtype` of the cache's manifest.
    pivot_tokenizer : transformers.PreTrainedTokenizerFast
        Tokenizer of the pivot.
    rows : pair of sequences of Encoded
        The examples under the pivot's tokenizer and under the source's.
    size : int
        Number of training examples: those on which `gwfast_llm.teachers.path.PathMap` counts.
    keep : int
        Pivot tokens kept a position; 0 for all.
    """

    def __init__(
        self,
        folder: Path,
        signals: dict[str, Any],
        pivot_tokenizer: Any,
        rows: tuple[Sequence[Encoded], Sequence[Encoded]],
        size: int,
        keep: int,
    ):
        self._rows = rows
        self._keep = keep
        self._keys = [row_key(*pair) for pair in zip(*rows)]
        self._head = {
            "method": METHOD,
            "pivot": tokenizer_fingerprint(pivot_tokenizer),
            **{name: signals[name] for name in ("model", "tokenizer", "template", "dtype")},
            "signals": signals["keep"],
            "counted": data_fingerprint(self._keys[:size]),
            "keep": keep,
        }
        self.path = folder / f"targets-{head_fingerprint({**self._head, 'data': data_fingerprint(self._keys)})}"

    def write(
        self, source: Source, carry: PathMap, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> int:
        """Carry all targets and keep them; goes on where an earlier call was stopped.

        Parameters
        ----------
        source : Source
            The source as it is read from the cache.
        carry : PathMap
            Map of the source into the pivot's vocabulary.
        progress : callable, optional
            Called with (examples done, examples in all).

        Returns
        -------
        int
            Number of shards that were computed now.

        Raises
        ------
        FusionError
            When the disk is full.
        """

        def make(run: range) -> dict[str, Tensor]:
            found: list[Targets] = []
            for start in range(run.start, run.stop, BLOCK):
                block = range(start, min(start + BLOCK, run.stop))
                for i, signal in zip(block, source.signals(block)):
                    found.append(carry.targets(self._rows[0][i], self._rows[1][i], signal, self._keep))
                progress(block.stop, len(self._keys))
            return {**_flat(found, TYPES[self._head["dtype"]]), "keys": torch.tensor(self._keys[run.start : run.stop])}

        return write_shards(self.path, self._head, self._keys, make, progress)

    def read(self, name: str) -> StoredTargets:
        """Open what was written for the source of this name.

        Raises
        ------
        FusionError
            When it is unfinished or damaged.
        """
        shards = Shards(f"source {name}", self.path, read_manifest(self.path), READ)
        return StoredTargets(shards, self._keys)


class StoredTargets:
    """Targets read from disk, by the number of the example."""

    def __init__(self, shards: Shards, keys: Sequence[int]):
        self._shards = shards
        self._keys = keys

    def __getitem__(self, index: int) -> Targets:
        """Return the targets of an example."""
        key = self._keys[index]
        borders = self._shards.borders(key, "channels")
        sizes = borders.diff()
        width = int(sizes.max()) if len(sizes) else 0
        filled = torch.arange(width) < sizes[:, None]
        first, last = borders[[0, -1]].tolist()
        ids = torch.zeros(len(sizes), width, dtype=torch.long)
        probs = torch.zeros(len(sizes), width)
        own_ids, own_probs = self._shards.slices(key, ("ids", "probs"), first, last)
        ids[filled] = own_ids.long()
        probs[filled] = own_probs.float()
        pivot, source = self._shards.rows(key, ("pivot_index", "source_index"))
        return Targets(pivot.long(), source.long(), ids, probs, (1 - probs.sum(1)).clamp_min(0.0))


def _flat(found: Sequence[Targets], dtype: torch.dtype) -> dict[str, Tensor]:
    """Tensors of a run of examples, without the empty channels."""
    sizes = torch.cat([(one.probs > 0).sum(1) for one in found])
    zero = torch.zeros(1, dtype=torch.long)
    return {
        "ids": torch.cat([one.ids[one.probs > 0] for one in found]).to(torch.int32),
        "probs": torch.cat([one.probs[one.probs > 0] for one in found]).to(dtype),
        "pivot_index": torch.cat([one.pivot_index for one in found]).to(torch.int32),
        "source_index": torch.cat([one.source_index for one in found]).to(torch.int32),
        "channels": torch.cat([zero, sizes.cumsum(0)]),
        "first": torch.tensor([0] + [len(one.pivot_index) for one in found]).cumsum(0),
    }
