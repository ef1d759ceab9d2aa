"""Transport between large sets of points, against exact solvers on small ones."""

import itertools
import math

import numpy as np
import ot
import pytest
from scipy.optimize import linear_sum_assignment

from gwfast.budget import Budget
from gwfast.errors import InputError
from gwfast.large import transport as module
from gwfast.large.prices import dual_value
from gwfast.large.transport import Prices, c_transform, coarse_prices, local_scale, transport


def points(rng, n, d):
    """Points of many kinds: generic, on a grid with ties, few places, one place, on a line, in clusters far apart."""
    kind = rng.integers(8)
    if kind == 0:
        return rng.integers(0, 3, size=(n, d)).astype(float)
    if kind == 1:
        return rng.normal(size=(3, d))[rng.integers(3, size=n)]
    if kind == 2:
        return np.tile(rng.normal(size=d), (n, 1))
    if kind == 3:
        return np.outer(rng.normal(size=n), rng.normal(size=d)) + rng.normal(size=d)
    if kind == 4:
        return rng.normal(size=(n, d)) + 1e3 * rng.integers(0, 2, size=(n, 1))
    if kind == 5:
        return rng.normal(size=(n, d)) * np.exp(3 * rng.normal(size=d))
    return rng.normal(size=(n, d))


def weights(rng, n):
    kind = rng.integers(4)
    if kind == 0:
        return None
    p = (rng.random(n), rng.integers(1, 4, n).astype(float), np.exp(8 * rng.normal(size=n)))[kind - 1]
    return p / p.sum()


def problem(rng):
    d = int(rng.integers(1, 17)) if rng.random() < 0.5 else int(rng.integers(1, 4))
    n = int(rng.integers(1, 40))
    m = n if rng.random() < 0.4 else int(rng.integers(1, 40))
    U, V = points(rng, n, d), points(rng, m, d)
    if n == m and rng.random() < 0.3:
        V = U[rng.permutation(n)] + rng.choice([0.0, 1e-3]) * rng.normal(size=U.shape)
    unit = 2.0 ** rng.integers(-300, 300) * rng.random() if rng.random() < 0.3 else 1.0
    return U * unit, V * unit, weights(rng, n), weights(rng, m)


def least(U, V, p, q):
    """The optimal value by an exact solver, and the largest cost."""
    unit = 2.0 ** math.frexp(max(np.abs(U).max(), np.abs(V).max()))[1]
    gaps = U[:, None] / unit - V[None] / unit
    M = 0.5 * (gaps**2).sum(axis=-1)
    n, m = M.shape
    if p is None and q is None and n == m:
        value = M[linear_sum_assignment(M)].sum() / n
    else:
        p, q = (np.full(k, 1 / k) if w is None else w for w, k in ((p, n), (q, m)))
        value = float((ot.emd(p, q, M, numItermax=10**7) * M).sum())
    return value * unit**2, M.max() * unit**2


def check(U, V, p, q, accuracy, found):
    n, m = len(U), len(V)
    P, Q = (np.full(k, 1 / k) if w is None else w for w, k in ((p, n), (q, m)))
    assert (found.mass >= 0).all()
    np.testing.assert_allclose(np.bincount(found.rows, found.mass, n), P, rtol=1e-8, atol=1e-16)
    np.testing.assert_allclose(np.bincount(found.cols, found.mass, m), Q, rtol=1e-8, atol=1e-16)
    if p is None and q is None and n == m:
        assert (found.rows == np.arange(n)).all()
        assert (np.sort(found.cols) == np.arange(n)).all()
    optimum, largest = least(U, V, p, q)
    rounding = 1e-13 * largest  # of the solver that is compared with
    assert found.finished
    assert found.dual <= optimum + rounding
    assert optimum <= found.value + rounding
    assert found.value <= optimum + accuracy * local_scale(V) + 2.0**-33 * largest


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("seed", range(250))
def test_plan_and_dual_hold_the_optimum(monkeypatch, seed, dense):
    rng = np.random.default_rng(seed)
    if not dense:
        monkeypatch.setattr(module, "DENSE", 0)
        monkeypatch.setattr(module, "COARSE", int(rng.choice([16, 10**9])))
    U, V, p, q = problem(rng)
    accuracy = float(rng.choice([1.0, 0.1, 1e-3]))
    found = transport(U, V, p, q, accuracy=accuracy, certify=True)
    check(U, V, p, q, accuracy, found)


@pytest.mark.parametrize("d", [1, 3, 8])
def test_c_transform_is_the_minimum_over_all_points(d):
    rng = np.random.default_rng(d)
    U, V, w = rng.normal(size=(300, d)), rng.normal(size=(170, d)), rng.normal(size=170)
    totals = 0.5 * ((U[:, None] - V) ** 2).sum(axis=-1) + w
    for target in (None, U[:170], 100 * rng.normal(size=(170, d))):
        values, argmin = c_transform(U, V, w, target)
        np.testing.assert_allclose(values, totals.min(axis=1), atol=1e-9 if target is None else 1e-6)
        np.testing.assert_allclose(totals[np.arange(300), argmin], totals.min(axis=1), atol=1e-6)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_dual_is_a_lower_bound_for_any_prices(size):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        U, V = points(rng, 12, 3), points(rng, 12, 3)
        w, target = size * rng.normal(size=12), size * rng.normal(size=(12, 3)) if seed % 2 else None
        p = np.full(12, 1 / 12)
        assert dual_value(U, V, p, p, w, target) <= least(U, V, None, None)[0]
        optimal = transport(U, V, accuracy=1e-3, certify=True)
        assert optimal.dual <= least(U, V, None, None)[0]


@pytest.mark.parametrize("m", [900, 700])
def test_prices_of_a_call_start_the_next(monkeypatch, m):
    rng = np.random.default_rng(0)
    U, V = rng.normal(size=(900, 3)), rng.random((m, 3))
    cold = transport(U, V, accuracy=1e-2, certify=True)
    warm = transport(U, V, accuracy=1e-3, warm=cold.prices, certify=True)
    assert warm.finished
    assert warm.value - warm.dual <= 1.1e-3 * local_scale(V)
    for w in (np.full(m, np.nan), 1e30 * rng.normal(size=m), rng.normal(size=m)):
        wrong = transport(U, V, accuracy=1e-2, warm=Prices(w), certify=True)
        assert wrong.value - wrong.dual <= 1.1e-2 * local_scale(V)


def test_prices_of_block_means_prove_most_of_the_value():
    rng = np.random.default_rng(1)
    U, V = rng.normal(size=(2000, 3)), rng.random((1500, 3))
    p, q = np.full(2000, 1 / 2000), rng.random(1500)
    q /= q.sum()
    prices = coarse_prices(U, V, None, q)
    found = transport(U, V, p, q, accuracy=1e-2, certify=True)
    assert dual_value(U, V, p, q, prices.w, prices.target) > found.value - 2 * local_scale(V)
    assert found.value - found.dual <= 1.1e-2 * local_scale(V)


@pytest.mark.parametrize("m", [3000, 2500])
def test_a_deadline_leaves_a_coupling(m):
    rng = np.random.default_rng(2)
    U, V = rng.normal(size=(3000, 3)), rng.random((m, 3))
    for moment in (0, 3, 8):
        budget = Budget(moment, clock=map(float, itertools.count()).__next__)
        found = transport(U, V, accuracy=1e-4, budget=budget, certify=True)
        assert not found.finished
        assert found.dual <= found.value
        np.testing.assert_allclose(np.bincount(found.rows, found.mass, 3000), 1 / 3000, rtol=1e-12)
        np.testing.assert_allclose(np.bincount(found.cols, found.mass, m), 1 / m, rtol=1e-12)


def test_unequal_masses_are_sold_without_a_price_war():
    """Above the size where a matrix of costs is the way out."""
    rng = np.random.default_rng(7)
    U, V = rng.normal(size=(1300, 3)), rng.normal(size=(1000, 3))
    p, q = (w / w.sum() for w in (rng.random(1300) + 0.2, rng.random(1000) + 0.2))
    assert len(U) * len(V) > module.RESCUED
    found = transport(U, V, p, q, accuracy=0.05, certify=True)
    assert found.finished
    assert found.dual <= found.value <= found.dual + 0.05 * local_scale(V)
    for own, weights in ((found.rows, p), (found.cols, q)):
        np.testing.assert_allclose(np.bincount(own, found.mass, len(weights)), weights, rtol=1e-9)


@pytest.mark.parametrize("m", [1100, 1300])
def test_points_that_coincide_are_one_point_with_their_mass(m):
    """Many equal bidders outbid each other by eps only."""
    rng = np.random.default_rng(8)
    U, V = rng.integers(3, size=(1100, 2)).astype(float), rng.integers(4, size=(m, 2)) / 2
    assert len(U) * len(V) > module.RESCUED
    found = transport(U, V, accuracy=1e-6, certify=True)
    assert found.finished
    assert found.dual <= found.value <= found.dual + 1e-6
    if m == 1100:
        np.testing.assert_array_equal(np.sort(found.cols), np.arange(m))
    for own, n in ((found.rows, 1100), (found.cols, m)):
        np.testing.assert_allclose(np.bincount(own, found.mass, n), 1 / n, rtol=1e-12)


def test_units_do_not_matter():
    rng = np.random.default_rng(3)
    U, V = rng.normal(size=(400, 2)), rng.normal(size=(400, 2))
    plain = transport(U, V, accuracy=0.1, certify=True)
    for unit in (2.0**-400, 2.0**400):
        other = transport(U * unit, V * unit, accuracy=0.1, certify=True)
        assert (other.cols == plain.cols).all()
        assert math.isclose(other.value, plain.value * unit**2)
        assert math.isclose(other.dual, plain.dual * unit**2)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"U": np.zeros(3)}, "U"),
        ({"V": np.full((3, 2), np.nan)}, "V"),
        ({"V": np.zeros((3, 4))}, "V"),
        ({"p": np.ones(3)}, "p"),
        ({"q": np.array([1.5, -0.5, 0.0])}, "q"),
        ({"accuracy": 0.0}, "accuracy"),
        ({"warm": Prices(np.zeros(2))}, "warm"),
    ],
)
def test_bad_input_is_named(monkeypatch, arguments, name):
    monkeypatch.setattr(module, "DENSE", 0)
    with pytest.raises(InputError, match=f"^{name}: "):
        transport(**({"U": np.zeros((3, 2)), "V": np.zeros((3, 2)), "accuracy": 0.1} | arguments))
