"""The kernels of pairs against numpy, scipy and POT: products, assignments, transport, values."""

import os
import subprocess
import sys

import numpy as np
import ot
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from gwfast.kernels.pairs import layout
from gwfast.kernels.pairs.program import vertex
from gwfast.kernels.pairs.tile import plain_product, product
from gwfast.packed.pack import flows


@pytest.mark.parametrize("kernel", [product, plain_product], ids=["tiles", "plain"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
def test_products(kernel, dtype, n, m, seed):
    rng = np.random.default_rng(seed)
    width, wide = layout.padded(m), layout.padded(n)
    A = np.zeros((n, wide), dtype)
    A[:, :n] = rng.normal(size=(n, n))
    B = np.zeros((n, width), dtype)
    B[:, :m] = rng.normal(size=(n, m))
    out = np.full((n, width), 7, dtype)
    kernel(A, B, out, n)
    np.testing.assert_allclose(out, A[:, :n] @ B, rtol=0, atol=n * 30 * np.finfo(dtype).eps)


def scratch(n, m):
    """Work space of a pair."""
    width, length = layout.padded(m), layout.padded(n) + layout.padded(m)
    matrix = np.zeros((layout.MATRICES, n, width))
    return matrix, np.zeros((layout.DOUBLES, length)), np.zeros((layout.WHOLE, length), np.int64)


def costs(rng, n, m, kind):
    if kind == "ties":
        return rng.integers(0, 3, (n, m)).astype(float)
    if kind == "constant":
        return np.full((n, m), -2.0)
    return rng.normal(size=(n, m)) * 10.0 ** rng.integers(-3, 4)


@given(st.integers(1, 30), st.sampled_from(["ties", "constant", "normal"]), st.integers(0, 10**6), st.booleans())
def test_assignments_are_those_of_scipy(n, kind, seed, hint):
    rng = np.random.default_rng(seed)
    matrix, vector, whole = scratch(n, n)
    C = np.zeros((n, layout.padded(n)))
    C[:, :n] = costs(rng, n, n, kind)
    if hint:
        vector[layout.PRICES, :n] = rng.normal(size=n)
    p = np.full(n, 1 / n)
    vertex(C, n, n, p, p, True, 1.0, False, 1.0, matrix, vector, whole)
    plan = matrix[layout.VERTEX, :, :n]
    rows, cols = linear_sum_assignment(C[:, :n])
    best, size = C[rows, cols].mean(), np.abs(C).max()
    np.testing.assert_allclose(plan.sum(axis=0), p)
    np.testing.assert_allclose(plan.sum(axis=1), p)
    assert np.sum(plan * C[:, :n]) == pytest.approx(best, abs=1e-11 * size)
    v = vector[layout.PRICES, :n]
    assert (C[:, :n] - v).min(axis=1).mean() + v.mean() == pytest.approx(best, abs=1e-11 * size)


@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from(["ties", "constant", "normal"]), st.integers(0, 10**6))
def test_transport_is_that_of_pot(n, m, kind, seed):
    rng = np.random.default_rng(seed)
    matrix, vector, whole = scratch(n, m)
    C = np.zeros((n, layout.padded(m)))
    C[:, :m] = costs(rng, n, m, kind)
    p, q = (np.maximum(rng.dirichlet(np.full(k, 0.3)), 1e-9) for k in (n, m))
    p, q = p / p.sum(), q / q.sum()
    big = 2 * n + 3
    whole[layout.SUPPLY, :n] = big * flows(p) + 1
    whole[layout.SUPPLY, n : n + m] = big * flows(q)
    whole[layout.SUPPLY, n + m - 1] += n
    vertex(C, n, m, p, q, False, 0.0, False, float(np.abs(C).max()), matrix, vector, whole)
    plan = matrix[layout.VERTEX, :, :m]
    best, size = ot.emd2(p, q, C[:, :m] - C.min()) + C.min(), max(np.abs(C).max(), 1.0)
    np.testing.assert_allclose(plan.sum(axis=0), q, atol=1e-13)
    np.testing.assert_allclose(plan.sum(axis=1), p, atol=1e-13)
    assert plan.min() >= 0
    assert np.sum(plan * C[:, :m]) == pytest.approx(best, abs=1e-10 * size)
    v = vector[layout.POTENTIAL, n : n + m]
    assert (C[:, :m] - v).min(axis=1) @ p + v @ q == pytest.approx(best, abs=1e-10 * size)


PLAIN = """
import numpy as np, gwfast
from gwfast.kernels.pairs import tile
assert tile.product is tile.plain_product
rng = np.random.default_rng(0)
spaces = [np.abs(np.subtract.outer(x, x)) for x in rng.normal(size=(4, 6))]
print(gwfast.pairwise_gw(spaces, quality="best", effort="rows").values.tolist())
"""


@pytest.mark.nightly
def test_tables_without_the_tiles(tmp_path):
    import gwfast

    environment = {**os.environ, "GWFAST_PLAIN_KERNELS": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", PLAIN], capture_output=True, text=True, timeout=300, env=environment)
    rng = np.random.default_rng(0)
    spaces = [np.abs(np.subtract.outer(x, x)) for x in rng.normal(size=(4, 6))]
    values = gwfast.pairwise_gw(spaces, quality="best", effort="rows").values
    np.testing.assert_allclose(eval(done.stdout), values, rtol=1e-9)
