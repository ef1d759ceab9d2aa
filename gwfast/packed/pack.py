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


def pack(members: Sequence[Member]) -> Packed:
    """Lay spaces out for the compiled pairs, all but the spectra; O(n^2 log n) a space."""
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
        laws.append(_pack_one(packed, s, member))
    size[:, LAW_LENGTH] = [law.shape[1] for law in laws]
    size[:, LAW] = np.cumsum(size[:, LAW_LENGTH]) - size[:, LAW_LENGTH]
    return packed._replace(law=np.concatenate(laws, axis=1))


def _pack_one(S: Packed, s: int, member: Member) -> np.ndarray:
    """Fill in one space; returns the law of its entries (2, L)."""
    C, p, n = member.cost, member.weights, member.n
    width, at, v = (int(S.size[s, k]) for k in (WIDTH, MATRIX, VECTOR))
    part = slice(v, v + n)

    def view(array: np.ndarray, row: int, begin: int) -> np.ndarray:
        return array[row, begin : begin + n * width].reshape(n, width)

    symmetric = C if member.symmetric else (C + C.T) / 2
    view(S.matrix, COST, at)[:, :n] = symmetric
    view(S.single, 0, at)[:, :n] = symmetric
    view(S.single, 1, at)[:, :n] = -4 * symmetric
    S.vector[WEIGHT, part] = p
    S.integer[FLOW, part] = flows(p)
    S.features[part] = member.features
    mean = C @ p
    comean = mean if member.symmetric else p @ C
    grand = p @ mean
    square = C * C
    second = p @ square @ p
    H = C - mean[:, None] - comean[None, :] + grand
    S.number[s, TOTAL], S.number[s, SECOND] = grand, second
    S.number[s, EXTENT] = np.abs(C).max()
    S.number[s, ERROR] = 8 * (n + 16) * EPS * np.sqrt(second)
    sides = [(C, H, mean, 0)] if member.symmetric else [(C, H, mean, 0), (C.T, H.T, comean, COLUMNS)]
    for rows, centred, average, side in sides:
        deviation = rows - average[:, None]
        _features(S, s, part, p, side + MEAN, average)
        _features(S, s, part, p, side + STD, np.sqrt((deviation * deviation) @ p))
        _features(S, s, part, p, side + RMS, np.sqrt((rows * rows) @ p))
        _features(S, s, part, p, side + CENTRED_STD, np.sqrt((centred * centred) @ p))
        store, begin = (S.skew, int(S.size[s, SKEW])) if side else (S.matrix, at)
        for values, plain, turned, line in ((rows, ROWS, ROWS_T, 0), (centred, CENTRED, CENTRED_T, 1)):
            if member.uniform:
                ordered = np.sort(values, axis=1)
            else:
                order = np.argsort(values, axis=1, kind="stable")
                ordered = np.take_along_axis(values, order, 1)
                view(S.row_weights, line + (2 if side else 0), int(S.size[s, ROW_WEIGHTS]))[:, :n] = p[order]
            view(store, plain, begin)[:, :n] = ordered
            view(store, turned, begin)[:, :n] = ordered.T
    if member.symmetric:
        for rows in (FEATURE, SORTED, SORTED_WEIGHT):
            S.vector[rows + COLUMNS : rows + 2 * COLUMNS, part] = S.vector[rows : rows + COLUMNS, part]
        S.integer[ORDER + COLUMNS : ORDER + 2 * COLUMNS, part] = S.integer[ORDER : ORDER + COLUMNS, part]
    else:
        begin = int(S.size[s, SKEW])
        skew = (C - C.T) / 2
        view(S.skew, COST, begin)[:, :n] = skew
        view(S.skew_single, 0, begin)[:, :n] = skew
        view(S.skew_single, 1, begin)[:, :n] = 4 * skew
    values, place = np.unique(C, return_inverse=True)
    return np.stack([values, np.bincount(place.ravel(), np.outer(p, p).ravel(), len(values))])


def _features(S: Packed, s: int, part: slice, p: np.ndarray, number: int, feature: np.ndarray) -> None:
    order = np.argsort(feature, kind="stable")
    S.vector[FEATURE + number, part] = feature
    S.vector[SORTED + number, part] = feature[order]
    S.vector[SORTED_WEIGHT + number, part] = p[order]
    S.integer[ORDER + number, part] = order
