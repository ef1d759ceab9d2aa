"""Packs spaces for the compiled pairs: everything that depends on one space alone, computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gwfast.arrays.precision import EPS
from gwfast.kernels.pairs.layout import (
    CENTRED,
    CENTRED_STD,
    CENTRED_T,
    COLUMNS,
    COST,
    ERROR,
    EXTENT,
    FEATURE,
    FLOW,
    INTEGERS,
    LAW,
    LAW_LENGTH,
    MATRIX,
    MEAN,
    ORDER,
    POINTS,
    RMS,
    ROW_WEIGHTS,
    ROWS,
    ROWS_T,
    SECOND,
    SKEW,
    SORTED,
    SORTED_WEIGHT,
    STD,
    TOTAL,
    VECTOR,
    VECTORS,
    WEIGHT,
    WIDTH,
    Packed,
    padded,
)

LIGHTEST = 1e-12  # weights below this are lost beside flows in whole units
UNITS = 2**46  # integer units of mass; with n points flows reach 2^46 (2n + 3)


@dataclass(frozen=True, eq=False)
class Member:
    """One space, ready to be packed: costs (n, n), weights (n,) above 0, features (n, f)."""

    cost: np.ndarray
    weights: np.ndarray
    features: np.ndarray
    symmetric: bool

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.weights)

    @property
    def uniform(self) -> bool:
        """Whether all points have one mass."""
        return bool((self.weights == self.weights[0]).all())


def flows(weights: np.ndarray) -> np.ndarray:
    """Weights as whole numbers of units, of sum `UNITS`."""
    whole = np.maximum(np.rint(weights * UNITS).astype(np.int64), 1)
    whole[whole.argmax()] += UNITS - whole.sum()
    return whole


def pack(members: Sequence[Member], bounds: bool = True) -> Packed:
    """Lay spaces out for the compiled pairs, all but the spectra; O(n^2 log n) a space.

    Without `bounds` only what plans are found from is filled in.
    """
    count = len(members)
    size = np.full((count, 8), -1, np.int64)
    number = np.zeros((count, 5))
    size[:, POINTS] = [member.n for member in members]
    size[:, WIDTH] = [padded(member.n) for member in members]
    area = size[:, POINTS] * size[:, WIDTH]
    size[:, MATRIX] = np.cumsum(area) - area
    size[:, VECTOR] = np.cumsum(size[:, WIDTH]) - size[:, WIDTH]
    lengths = {}
    for column, chosen in ((SKEW, [not m.symmetric for m in members]), (ROW_WEIGHTS, [not m.uniform for m in members])):
        own = np.where(chosen, area, 0)
        size[:, column] = np.where(chosen, np.cumsum(own) - own, -1)
        lengths[column] = int(own.sum())
    total, vectors = int(area.sum()), int(size[:, WIDTH].sum())
    matrix, single = np.zeros((5, total)), np.zeros((2, total), np.float32)
    skew, skew_single = np.zeros((5, lengths[SKEW])), np.zeros((2, lengths[SKEW]), np.float32)
    row_weights = np.zeros((4, lengths[ROW_WEIGHTS]))
    vector, integer = np.zeros((VECTORS, vectors)), np.zeros((INTEGERS, vectors), np.int64)
    features = np.zeros((vectors, members[0].features.shape[1]))
    laws = []
    packed = Packed(
        size, number, matrix, single, skew, skew_single, row_weights, vector, integer, np.zeros((2, 0)), features
    )
    for s, member in enumerate(members):
        laws.append(_pack_one(packed, s, member, bounds))
    size[:, LAW_LENGTH] = [law.shape[1] for law in laws]
    size[:, LAW] = np.cumsum(size[:, LAW_LENGTH]) - size[:, LAW_LENGTH]
    return packed._replace(law=np.concatenate(laws, axis=1))


def _pack_one(S: Packed, s: int, member: Member, bounds: bool) -> np.ndarray:
    """Fill in one space; returns the law of its entries (2, L), which only bounds need."""
    C, p = member.cost, member.weights
    _costs(S, s, member)
    mean = C @ p
    comean = mean if member.symmetric else p @ C
    grand, second = p @ mean, p @ (C * C) @ p
    S.number[s, [TOTAL, SECOND, EXTENT]] = grand, second, np.abs(C).max()
    S.number[s, ERROR] = 8 * (member.n + 16) * EPS * np.sqrt(second)
    for side in (0,) if member.symmetric else (0, COLUMNS):
        rows, average, other = (C.T, comean, mean) if side else (C, mean, comean)
        _feature(S, s, p, side + MEAN, average, bounds)
        _feature(S, s, p, side + RMS, np.sqrt((rows * rows) @ p), bounds)
        _sorted_rows(S, s, member, rows, side, centred=False)
        if bounds:
            deviation = rows - average[:, None]
            _feature(S, s, p, side + STD, np.sqrt((deviation * deviation) @ p), bounds)
            centred = deviation - other[None, :] + grand
            _feature(S, s, p, side + CENTRED_STD, np.sqrt((centred * centred) @ p), bounds)
            _sorted_rows(S, s, member, centred, side, centred=True)
    if member.symmetric:
        part = slice(int(S.size[s, VECTOR]), int(S.size[s, VECTOR]) + member.n)
        for rows in (FEATURE, SORTED, SORTED_WEIGHT):
            S.vector[rows + COLUMNS : rows + 2 * COLUMNS, part] = S.vector[rows : rows + COLUMNS, part]
        S.integer[ORDER + COLUMNS : ORDER + 2 * COLUMNS, part] = S.integer[ORDER : ORDER + COLUMNS, part]
    if not bounds:
        return np.zeros((2, 0))
    values, place = np.unique(C, return_inverse=True)
    return np.stack([values, np.bincount(place.ravel(), np.outer(p, p).ravel(), len(values))])


def _view(array: np.ndarray, row: int, begin: int, member: Member) -> np.ndarray:
    """The place (n, n) of a matrix of one space in a row of a packed array."""
    width = padded(member.n)
    return array[row, begin : begin + member.n * width].reshape(member.n, width)[:, : member.n]


def _costs(S: Packed, s: int, member: Member) -> None:
    """Weights, features and costs, split into symmetric and skew parts."""
    C, at, v = member.cost, int(S.size[s, MATRIX]), int(S.size[s, VECTOR])
    part = slice(v, v + member.n)
    S.vector[WEIGHT, part] = member.weights
    S.integer[FLOW, part] = flows(member.weights)
    S.integer[ORDER:, part] = np.arange(member.n)  # every order is one, also of features that only bounds need
    S.features[part] = member.features
    symmetric = C if member.symmetric else (C + C.T) / 2
    _view(S.matrix, COST, at, member)[:] = symmetric
    _view(S.single, 0, at, member)[:] = symmetric
    _view(S.single, 1, at, member)[:] = -4 * symmetric
    if not member.symmetric:
        begin, skew = int(S.size[s, SKEW]), (C - C.T) / 2
        _view(S.skew, COST, begin, member)[:] = skew
        _view(S.skew_single, 0, begin, member)[:] = skew
        _view(S.skew_single, 1, begin, member)[:] = 4 * skew


def _sorted_rows(S: Packed, s: int, member: Member, rows: np.ndarray, side: int, *, centred: bool) -> None:
    """Rows in increasing order, and their weights where these are not uniform."""
    store, begin = (S.skew, int(S.size[s, SKEW])) if side else (S.matrix, int(S.size[s, MATRIX]))
    plain, turned = (CENTRED, CENTRED_T) if centred else (ROWS, ROWS_T)
    if member.uniform:
        ordered = np.sort(rows, axis=1)
    else:
        order = np.argsort(rows, axis=1, kind="stable")
        ordered = np.take_along_axis(rows, order, 1)
        line = (1 if centred else 0) + (2 if side else 0)
        _view(S.row_weights, line, int(S.size[s, ROW_WEIGHTS]), member)[:] = member.weights[order]
    _view(store, plain, begin, member)[:] = ordered
    _view(store, turned, begin, member)[:] = ordered.T


def _feature(S: Packed, s: int, p: np.ndarray, number: int, feature: np.ndarray, bounds: bool) -> None:
    part = slice(int(S.size[s, VECTOR]), int(S.size[s, VECTOR]) + len(p))
    S.vector[FEATURE + number, part] = feature
    order = np.argsort(feature, kind="stable")
    S.integer[ORDER + number, part] = order
    if bounds:
        S.vector[SORTED + number, part] = feature[order]
        S.vector[SORTED_WEIGHT + number, part] = p[order]
