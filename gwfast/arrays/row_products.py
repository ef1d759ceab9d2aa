"""Sorted products of all pairs of rows: the inner problems of the third lower bound."""

from __future__ import annotations

import numpy as np

from gwfast.arrays.namespace import Array, is_torch, namespace


def sorted_row_products(X: Array, Y: Array, p: Array, q: Array) -> Array:
    r"""Largest value of E x y over couplings of row i of `X` under `p` with row k of `Y` under `q`, all i and k.

    .. math:: G_{ik} = \max_{\gamma \in \Pi(p, q)} \sum_{jl} X_{ij} Y_{kl} \gamma_{jl}

    Parameters
    ----------
    X, Y : arrays (N, n) and (M, m)
    p, q : arrays (n,) and (m,)
        Positive weights that sum to 1.

    Returns
    -------
    array (N, M)
        By sorting and one matrix product for uniform weights, O(N M (n + m)); otherwise by merging quantiles, the
        same order with a larger constant (compiled for numpy, batched by rows for torch).
    """
    xp = namespace(X)
    n, m = X.shape[1], Y.shape[1]
    if bool(xp.all(p == p[0])) and bool(xp.all(q == q[0])):
        X, Y = xp.sort(X, axis=1), xp.sort(Y, axis=1)
        if n == m:
            return X @ xp.matrix_transpose(Y) / n
        i, k, mass = _uniform_merge(n, m)
        if is_torch(X):
            i, k, mass = (xp.asarray(a, device=X.device) for a in (i, k, mass))
        return (xp.take(X, i, axis=1) * mass) @ xp.matrix_transpose(xp.take(Y, k, axis=1))
    order_x, order_y = xp.argsort(X, axis=1), xp.argsort(Y, axis=1)
    Xs, Ys = xp.take_along_axis(X, order_x, axis=1), xp.take_along_axis(Y, order_y, axis=1)
    P, Q = p[order_x], q[order_y]
    if is_torch(X):
        return _merge_batched(xp, Xs, P, Ys, Q)
    from gwfast.kernels.row_products import merge_products

    return merge_products(Xs, P, Ys, Q)


def _uniform_merge(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Segments common to n and m equal steps, in whole numbers: indices and exact widths."""
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    width = np.diff(ends, prepend=0)
    start = ends - width
    return start // m, start // n, width / (n * m)


def _merge_batched(xp, X: Array, P: Array, Y: Array, Q: Array) -> Array:
    """Merge one row of X with all rows of Y at a time, each half of the mass from its own end."""
    columns = []
    for i in range(X.shape[0]):
        half = _half_products(xp, X[i], P[i], Y, Q)
        flip = (xp.flip(X[i]), xp.flip(P[i]), xp.flip(Y, axis=1), xp.flip(Q, axis=1))
        columns.append(half + _half_products(xp, *flip))
    return xp.stack(columns)


def _half_products(xp, x: Array, p: Array, Y: Array, Q: Array) -> Array:
    """Integral over quantiles [0, 1/2) of x's quantile times each row's quantile: (M,)."""
    m, n = Y.shape[0], x.shape[0]
    left = xp.clip(xp.cumulative_sum(p), 0.0, 0.5)
    left = xp.broadcast_to(left, (m, n))
    breaks = xp.concat([left, xp.clip(xp.cumulative_sum(Q, axis=1), 0.0, 0.5)], axis=1)
    order = xp.argsort(breaks, axis=1, stable=True)
    ends = xp.take_along_axis(breaks, order, axis=1)
    width = xp.concat([ends[:, :1], ends[:, 1:] - ends[:, :-1]], axis=1)
    from_x = xp.astype(order < n, order.dtype)
    before_x = xp.clip(xp.cumulative_sum(from_x, axis=1) - from_x, 0, n - 1)
    before_y = xp.clip(xp.cumulative_sum(1 - from_x, axis=1) - (1 - from_x), 0, Y.shape[1] - 1)
    product = x[before_x] * xp.take_along_axis(Y, before_y, axis=1)
    return xp.sum(width * product, axis=1)
