"""Lower bounds of barycentres: no point of any Hilbert space is below them, and they are as good as their programs."""

import numpy as np
import pytest
from scipy.optimize import minimize

from gwfast.barycenters.bounds import lower_bounds, pair_prices, pairs, spectral


def squares_of(points):
    return ((points[:, None] - points) ** 2).sum(axis=2)


def values(squares, w):
    return {b.theorem.removeprefix("barycenter-"): b.value for b in lower_bounds(squares, w)}


@pytest.mark.parametrize("seed", range(6))
def test_no_point_is_below_a_bound(seed):
    """With no tolerance but the margins: the mean of the points has the least value there is."""
    rng = np.random.default_rng(seed)
    count, dim = int(rng.integers(2, 9)), int(rng.integers(1, 4))
    points = rng.normal(size=(count, dim)) * 10.0 ** rng.integers(-60, 60)
    w = rng.dirichlet(np.full(count, 0.5))
    known = squares_of(points) * (rng.random((count, count)) < 0.7)
    known = np.minimum(known, known.T)
    centre = w @ points
    least = float(w @ ((points - centre) ** 2).sum(axis=1)) * (1 + 1e-13)
    for squares in (known, known * rng.random(known.shape), squares_of(points)):
        squares = np.minimum(squares, squares.T)
        assert max(values(squares, w).values()) <= least
    assert values(squares_of(points), w)["variance"] >= least * (1 - 1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_any_prices_and_edges_are_below_the_points(seed):
    rng = np.random.default_rng(seed)
    points, w = rng.normal(size=(5, 2)), rng.dirichlet(np.ones(5))
    centre = w @ points
    least = float(w @ ((points - centre) ** 2).sum(axis=1))
    for _ in range(50):
        prices = rng.exponential(size=(5, 5)) * rng.exponential()
        assert pairs(squares_of(points), w, prices)[0] <= least
        assert spectral(squares_of(points), w, prices)[0] <= least * (1 + 1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_prices_come_near_the_quadratic_program(seed):
    rng = np.random.default_rng(seed)
    w = rng.dirichlet(np.ones(4))
    squares = rng.exponential(size=(4, 4))
    squares = np.triu(squares, 1) + np.triu(squares, 1).T
    i, j = np.triu_indices(4, 1)
    inside = {"type": "ineq", "fun": lambda d: d[i] + d[j] - np.sqrt(squares[i, j])}
    best = minimize(lambda d: w @ d**2, np.ones(4), bounds=[(0, None)] * 4, constraints=[inside], tol=1e-12)
    assert pairs(squares, w, pair_prices(squares, w))[0] == pytest.approx(best.fun, rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_gram_program_holds_both_others(seed):
    rng = np.random.default_rng(seed)
    w = rng.dirichlet(np.ones(6))
    squares = rng.exponential(size=(6, 6)) * (rng.random((6, 6)) < 0.6)
    squares = np.triu(squares, 1) + np.triu(squares, 1).T
    found = values(squares, w)
    assert found["spectral"] >= 0.99 * max(found["variance"], found["pairs"])


def test_one_known_pair_gives_the_value_of_its_middle():
    w, squares = np.array([0.5, 0.3, 0.2]), np.zeros((3, 3))
    squares[0, 1] = squares[1, 0] = 4.0
    found = values(squares, w)
    assert found["pairs"] == pytest.approx(4 * 0.15 / 0.8, rel=1e-6)
    assert found["spectral"] == pytest.approx(4 * 0.15 / 0.8, rel=1e-3)
    assert found["variance"] == pytest.approx(4 * 0.15, rel=1e-9)


def test_nothing_known_proves_nothing_and_spaces_without_weight_count_nothing():
    assert values(np.zeros((3, 3)), np.full(3, 1 / 3)) == {"variance": 0.0}
    squares = np.ones((3, 3)) - np.eye(3)
    alone = values(squares[:2, :2], np.array([0.5, 0.5]))
    assert values(squares, np.array([0.5, 0.5, 0.0])) == alone
