"""Sums over all pairs of points of Euclidean distances, in tiles, without a matrix."""

from __future__ import annotations

import math

import numpy as np

from gwfast.kernels.pairs.flags import fast
from gwfast.kernels.rows.threads import on_threads

TILE = 512


@fast
def squares(X: np.ndarray, i: int, first: int, width: int, out: np.ndarray) -> None:
    """Write squared distances of point i from `width` points; X (d, n) holds a coordinate a row."""
    out[:width] = 0.0
    for c in range(X.shape[0]):
        for t in range(width):
            z = X[c, i] - X[c, first + t]
            out[t] += z * z


@fast
def gaps(X: np.ndarray, Y: np.ndarray, w: np.ndarray, first: int, step: int) -> float:
    """Sum of 2 w_s w_t (|x_s - x_t| - |y_s - y_t|)^2 over t < s for every `step`-th s; X (d, N), Y (e, N)."""
    a, b = np.empty(TILE), np.empty(TILE)
    total = 0.0
    for s in range(first, w.shape[0], step):
        own = 0.0
        for start in range(0, s, TILE):
            width = min(TILE, s - start)
            squares(X, s, start, width, a)
            squares(Y, s, start, width, b)
            for t in range(width):
                z = math.sqrt(a[t]) - math.sqrt(b[t])
                own += w[start + t] * z * z
        total += w[s] * own
    return 2 * total


@fast
def products(X: np.ndarray, W: np.ndarray, first: int, step: int, out: np.ndarray) -> None:
    """Rows of C @ W' for every `step`-th point; W (k, n), out (n, k)."""
    n, a = X.shape[1], np.empty(TILE)
    for i in range(first, n, step):
        out[i] = 0.0
        for start in range(0, n, TILE):
            width = min(TILE, n - start)
            squares(X, i, start, width, a)
            for t in range(width):
                a[t] = math.sqrt(a[t])
            for k in range(W.shape[0]):
                own = 0.0
                for t in range(width):
                    own += W[k, start + t] * a[t]
                out[i, k] += own


@fast
def spreads(
    X: np.ndarray,
    p: np.ndarray,
    mean: np.ndarray,
    effect: np.ndarray,
    first: int,
    step: int,
    plain: np.ndarray,
    centred: np.ndarray,
) -> None:
    """Write the variance of every `step`-th row of the distances, and of the row less the effect of its columns."""
    n, a = X.shape[1], np.empty(TILE)
    for i in range(first, n, step):
        one, two = 0.0, 0.0
        for start in range(0, n, TILE):
            width = min(TILE, n - start)
            squares(X, i, start, width, a)
            for t in range(width):
                z = math.sqrt(a[t]) - mean[i]
                u = z - effect[start + t]
                one += p[start + t] * z * z
                two += p[start + t] * u * u
        plain[i], centred[i] = one, two


def distance_times(points: np.ndarray, x: np.ndarray) -> np.ndarray:
    """C @ x (n, k) for the distances C of points (n, d), on all processors."""
    X, W, out = np.ascontiguousarray(points.T), np.ascontiguousarray(x.T), np.empty(x.shape)
    on_threads(X.shape[1] ** 2, lambda first, step: products(X, W, first, step, out))
    return out


def distance_variances(
    points: np.ndarray, p: np.ndarray, mean: np.ndarray, effect: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Variances (n,) of the rows of distances, and of the rows less the effects of their columns."""
    X, plain, centred = np.ascontiguousarray(points.T), np.empty(len(p)), np.empty(len(p))
    on_threads(len(p) ** 2, lambda first, step: spreads(X, p, mean, effect, first, step, plain, centred))
    return plain, centred
