"""Proved lower bounds of the value of every barycentre, from proved lower bounds l_st^2 of the pairs of spaces.

Theory: docs/theory/barycenter_variance.md, barycenter_pairs.md, barycenter_spectral.md.  Every function evaluates a
dual point in float64 and takes its rounding off; how the point was found does not matter.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from gwfast.arrays.precision import EPS, TINY
from gwfast.result import Bound

VARIANCE = "barycenter-variance"
PAIRS = "barycenter-pairs"
SPECTRAL = "barycenter-spectral"

_MOST = 64  # spaces for which dual points are looked for; the variance needs none
_POWERS = (4, 16, 64, 256)  # of the Schatten norms that come near the largest eigenvalue
_STEPS = 200


def lower_bounds(squares: np.ndarray, weights: np.ndarray) -> tuple[Bound, ...]:
    """All lower bounds of the weighted mean of squared distances from any space.

    Parameters
    ----------
    squares : array (S, S)
        Proved lower bounds of the squared distances between the spaces, symmetric and at least 0.
    weights : array (S,)
        At least 0, of sum 1 up to rounding.
    """
    kept = np.flatnonzero(weights > 0)
    squares, w = squares[np.ix_(kept, kept)], weights[kept]
    scale = float(squares.max(initial=0.0))
    if not scale > 0:
        return (Bound("lower", 0.0, VARIANCE),)
    unit = squares / scale
    found = [_bound(variance(unit, w), scale, VARIANCE)]
    if len(w) <= _MOST:
        found.append(_bound(pairs(unit, w, pair_prices(unit, w)), scale, PAIRS))
        found.append(_bound(spectral(unit, w, edge_weights(unit, w)), scale, SPECTRAL))
    return tuple(found)


def _bound(found: tuple[float, float], scale: float, theorem: str) -> Bound:
    value, margin = (x * scale for x in found)
    return Bound("lower", max(value - margin - TINY, 0.0), theorem, margin + TINY)


def variance(squares: np.ndarray, w: np.ndarray) -> tuple[float, float]:
    """Half the weighted mean of the squared distances of all pairs, over the sum of the weights; and its margin."""
    value = float(w @ squares @ w) / (2 * float(w.sum()))
    return value, 8 * (len(w) + 8) * EPS * value


def pairs(squares: np.ndarray, w: np.ndarray, prices: np.ndarray) -> tuple[float, float]:
    """The dual value at prices (S, S) of the inequalities d_s + d_t >= l_st, which are symmetric; and its margin."""
    prices = np.triu(np.maximum(prices, 0.0), 1)
    sums = prices.sum(axis=0) + prices.sum(axis=1)
    gained, paid = float((prices * np.sqrt(squares)).sum()), float((sums * sums / (4 * w)).sum())
    return gained - paid, 8 * (len(w) ** 2 + 8) * EPS * (gained + paid)


def spectral(squares: np.ndarray, w: np.ndarray, edges: np.ndarray) -> tuple[float, float]:
    """The sum of edges times squares over the largest eigenvalue of the Laplacian of the edges; and its margin."""
    edges = np.triu(np.maximum(edges, 0.0), 1)
    edges = edges + edges.T
    N = _laplacian(edges, w)
    top = float(np.linalg.eigvalsh(N)[-1]) + 64 * (len(w) + 8) * EPS * float(np.trace(N))
    if not top > 0:
        return 0.0, 0.0
    value = float((edges * squares).sum()) / (2 * top)
    return value, 8 * (len(w) ** 2 + 8) * EPS * value


def _laplacian(edges: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The graph Laplacian of edges (S, S), with rows and columns divided by the roots of the weights."""
    root = np.sqrt(w)
    return (np.diag(edges.sum(axis=1)) - edges) / (root[:, None] * root)


def pair_prices(squares: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Prices (S, S) near the best dual point of the inequalities."""
    i, j = np.triu_indices(len(w), 1)
    lengths = np.sqrt(squares[i, j])

    def minus(x: np.ndarray) -> tuple[float, np.ndarray]:
        sums = np.bincount(i, x, len(w)) + np.bincount(j, x, len(w))
        d = sums / (2 * w)
        return float(sums @ d) / 2 - float(lengths @ x), d[i] + d[j] - lengths

    return _scattered(_least(minus, w[i] * w[j] * lengths), i, j, len(w))


def edge_weights(squares: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Edges (S, S) near the best ones for `spectral`; those of `variance` to begin with."""
    i, j = np.triu_indices(len(w), 1)
    pair, gains = w[i] * w[j], w[i] * w[j] * squares[i, j]
    x = best = np.ones(len(i))
    top = spectral(squares, w, _scattered(pair, i, j, len(w)))[0]
    for power in _POWERS:

        def minus(x: np.ndarray, power: int = power) -> tuple[float, np.ndarray]:
            e, V = np.linalg.eigh(_laplacian(_scattered(pair * x, i, j, len(w)), w))
            e = np.maximum(e, 0.0)
            largest, gain = max(float(e[-1]), TINY), max(float(gains @ x), TINY)
            shares = (e / largest) ** (power - 1)
            U = V / np.sqrt(w)[:, None]
            slope = pair * ((U[i] - U[j]) ** 2 @ shares)
            norm = float(shares @ (e / largest))
            value = np.log(largest) + np.log(norm) / power - np.log(gain)
            return float(value), slope / (largest * norm) - gains / gain

        x = _least(minus, x)
        value = spectral(squares, w, _scattered(pair * x, i, j, len(w)))[0]
        if value > top:
            top, best = value, x
    return _scattered(pair * best, i, j, len(w))


def _least(function, x: np.ndarray) -> np.ndarray:
    """Numbers of at least 0 near the least value of a smooth function."""
    with np.errstate(all="ignore"):
        options = {"maxiter": _STEPS, "ftol": 1e-15, "gtol": 1e-12}
        found = minimize(function, x, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * len(x), options=options)
    return found.x if np.isfinite(found.x).all() else x


def _scattered(x: np.ndarray, i: np.ndarray, j: np.ndarray, count: int) -> np.ndarray:
    matrix = np.zeros((count, count))
    matrix[i, j] = matrix[j, i] = x
    return matrix
