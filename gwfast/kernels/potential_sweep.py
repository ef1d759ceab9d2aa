"""One Sinkhorn scaling of an entropic plan between points in single precision: rows made exact, columns summed.

Nothing of size n m is stored: a row of exponents lies in cache, its exponentials are summed, weighted, and forgotten.
"""

from __future__ import annotations

import numpy as np

from gwfast.kernels.pairs.flags import fast

_LOG2E = np.float32(1.4426950408889634)
_FLOOR = np.float32(-84.0)  # as in kernels.sinkhorn
_FLUSH = 64  # rows whose column sums are added up in single precision


@fast
def sweep_rows(U, V, g, p, right, f, columns, image):
    """Scale some rows.

    Parameters
    ----------
    U, V : float32 arrays (n, r), (r, m)
    g : float32 array (m,)
    p : float64 array (n,)
    right : float32 array (k, m)
    f : float64 array (n,)
        Receives the row potentials.
    columns : float64 array (m,)
        The masses of the columns are added to it.
    image : float64 array (n, k)
        Receives the plan times `right`.
    """
    n, r = U.shape
    m, k = V.shape[1], right.shape[0]
    row, power, held = np.empty(m, np.float32), np.empty(m, np.int32), np.zeros(m, np.float32)
    mantissa = power.view(np.float32)
    for i in range(n):
        for j in range(m):
            row[j] = g[j]
        for c in range(r):
            u, v = U[i, c], V[c]
            for j in range(m):
                row[j] += u * v[j]
        top = row[0]
        for j in range(m):
            top = max(top, row[j])
        for j in range(m):
            x = max((row[j] - top) * _LOG2E, _FLOOR)
            e = np.int32(x - np.float32(0.5))
            y = x - np.float32(e)
            z = np.float32(0.00133336) * y + np.float32(0.00961813)
            z = z * y + np.float32(0.0555041)
            z = z * y + np.float32(0.2402265)
            z = z * y + np.float32(0.6931472)
            row[j] = z * y + np.float32(1.0)
            power[j] = (e + np.int32(127)) << np.int32(23)
        total = np.float32(0.0)
        for j in range(m):
            row[j] *= mantissa[j]
            total += row[j]
        share = p[i] / np.float64(total)
        f[i] = np.log(share) - np.float64(top)
        weight = np.float32(share)
        for j in range(m):
            held[j] += weight * row[j]
        for c in range(k):
            w, s = right[c], np.float32(0.0)
            for j in range(m):
                s += w[j] * row[j]
            image[i, c] = share * np.float64(s)
        if i % _FLUSH == _FLUSH - 1 or i == n - 1:
            for j in range(m):
                columns[j] += held[j]
                held[j] = np.float32(0.0)
