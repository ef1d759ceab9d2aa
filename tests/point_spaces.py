"""Awkward points, and pairs of spaces made of them."""

import numpy as np

import gwfast

KINDS = ("normal", "ties", "line", "one point", "twins", "flat", "scaled")


def points(rng, n, d, kind):
    """Points (n, d) of a kind."""
    z = rng.normal(size=(n, d))
    if kind == "ties":
        z = rng.integers(0, 3, size=(n, d)).astype(float)
    elif kind == "line":
        z = np.outer(rng.normal(size=n), rng.normal(size=d))
    elif kind == "one point":
        z[1:] = z[0]
    elif kind == "twins" and n > 1:
        z[1] = z[0]
    elif kind == "flat":
        z[:, 1:] *= 1e-6
    elif kind == "scaled":
        z *= 10.0 ** rng.integers(-9, 9)
    return z


def spaces(rng, n, m, dimensions, mixed=False, far=True):
    """Two spaces of points, sometimes copies of one another, with up to 1e9 from the origin where `far`."""
    d, e = (int(k) for k in rng.integers(1, dimensions + 1, size=2))
    x, y = (points(rng, k, dim, KINDS[rng.integers(len(KINDS))]) for k, dim in ((n, d), (m, e)))
    if n == m and rng.random() < 0.3:
        y = x[rng.permutation(n)] + (0 if rng.random() < 0.5 else 1e-9 * rng.normal(size=x.shape))
    if far:
        x, y = (z + (rng.random() < 0.4) * 10.0 ** rng.uniform(0, 9) * rng.normal(size=z.shape[1]) for z in (x, y))
    gram = [bool(k) for k in rng.random(2) < 0.5]
    gram = gram if mixed else gram[:1] * 2
    return [gwfast.Gram(z.T) if g else gwfast.PointCloud(z, "sqeuclidean") for z, g in zip((x, y), gram)]
