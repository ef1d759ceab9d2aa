"""A packed data set: spaces in memory for the compiled pairs, their orientation, and what identifies them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwfast.kernels.pairs.layout import (
    LAW,
    LAW_LENGTH,
    MATRIX,
    POINTS,
    ROW_WEIGHTS,
    SKEW,
    VECTOR,
    WIDTH,
    Fused,
    Packed,
)
from gwfast.many.members import Collection, digest
from gwfast.many.spectra import add_spectra
from gwfast.packed.pack import Member, pack


@dataclass(frozen=True, eq=False)
class DataSet:
    """Packed spaces, and what is the same for all their pairs.

    Attributes
    ----------
    packed : Packed
    fused : Fused
    rank : integer array (N,)
        Order of the spaces by size and content: a pair is solved from the lower rank to the higher, whatever the order
        in which it is asked for.
    unit : float
        The caller's objective over that of the pairs.
    """

    packed: Packed
    fused: Fused
    rank: np.ndarray
    unit: float

    @property
    def count(self) -> int:
        """Number of spaces."""
        return len(self.rank)

    def oriented(self, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First and second space of every pair as they are solved, and which pairs that turns."""
        turned = self.rank[i] > self.rank[j]
        return np.where(turned, j, i), np.where(turned, i, j), turned

    def subset(self, index: np.ndarray) -> DataSet:
        """The spaces of an increasing index alone, the same to the bit: what a task on another machine needs."""
        return DataSet(subset(self.packed, index), self.fused, self.rank[index], self.unit)


def dataset(collection: Collection) -> DataSet:
    """Pack a collection."""
    keys = [(member.n, _shape(member)) for member in collection.members]
    rank = np.empty(len(keys), np.int64)
    distinct = {key: k for k, key in enumerate(sorted(set(keys)))}  # equal spaces have one rank
    rank[:] = [distinct[key] for key in keys]
    packed = pack(collection.members)
    add_spectra(packed, collection.members)
    return DataSet(packed, collection.fused, rank, collection.unit)


def _shape(member: Member) -> bytes:
    """Digest of a space in units of its own, a power of two: units change no orientation."""
    top = float(np.abs(member.cost).max())
    unit = 2.0 ** -np.floor(np.log2(top)) if top > 0 else 1.0
    return digest(member.cost * unit, member.weights, member.features)


def subset(packed: Packed, index: np.ndarray) -> Packed:
    """The packed spaces of an index, laid out anew."""
    size = packed.size[index].copy()
    area = size[:, POINTS] * size[:, WIDTH]

    def parts(begin: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Old places of what is kept, and where each space begins in the new arrays."""
        own = np.where(begin >= 0, length, 0)
        start = np.cumsum(own) - own
        places = np.repeat(begin - start, own) + np.arange(int(own.sum()))
        return places, np.where(begin >= 0, start, -1)

    cut = {}
    for column, length in (
        (MATRIX, area),
        (SKEW, area),
        (ROW_WEIGHTS, area),
        (VECTOR, size[:, WIDTH]),
        (LAW, size[:, LAW_LENGTH]),
    ):
        cut[column], size[:, column] = parts(size[:, column], length)
    places = (MATRIX, MATRIX, SKEW, SKEW, ROW_WEIGHTS, VECTOR, VECTOR, LAW)
    arrays = (
        packed.matrix,
        packed.single,
        packed.skew,
        packed.skew_single,
        packed.row_weights,
        packed.vector,
        packed.integer,
        packed.law,
    )
    kept = [np.ascontiguousarray(array[:, cut[column]]) for array, column in zip(arrays, places)]
    return Packed(size, packed.number[index], *kept, packed.features[cut[VECTOR]])  # pyright: ignore[reportCallIssue]
