"""Spaces that compute rows on demand: the costs, statistics, values and refusals of the dense ones."""

import numpy as np
import pytest
import scipy.sparse as sp

import gwfast
from gwfast.spaces.pair_sums import pair_sum
from gwfast.spaces.space import Space

N = 1100


def points(seed, n=N):
    return np.random.default_rng(seed).normal(size=(n, 3)) * [1.5, 1.0, 0.5]


def rows_of(x):
    return gwfast.Rows(len(x), lambda i: np.sqrt(((x[i, None] - x) ** 2).sum(axis=2)))


def ring(n, seed=0, chords=2):
    """A weighted cycle with some chords."""
    rng = np.random.default_rng(seed)
    i = np.concatenate([np.arange(n), rng.integers(0, n, chords * n // 10)])
    j = np.concatenate([(np.arange(n) + 1) % n, rng.integers(0, n, chords * n // 10)])
    keep = i != j
    A = sp.coo_array((rng.uniform(0.1, 1, keep.sum()), (i[keep], j[keep])), shape=(n, n)).tocsr()
    return A.maximum(A.T)


def dense_of(space):
    return gwfast.Dense(space.dense(), space.weights)


@pytest.mark.parametrize("kind", ["cloud", "rows", "graph"])
def test_statistics_are_within_their_errors_of_the_dense_ones(kind):
    p = np.random.default_rng(1).dirichlet(np.ones(N))
    spaces = {"cloud": gwfast.PointCloud(points(0)), "rows": rows_of(points(0))}
    space = (spaces.get(kind) or gwfast.GraphRows(ring(N), weight=True)).weighted(p)
    found, dense = space.moments, Space.moments.func(space)
    error, std_error = found.error + dense.error, found.std_error + dense.std_error
    assert abs(found.total - dense.total) <= error
    assert found.second == pytest.approx(dense.second, rel=1e-12)
    for name, most in (("mean", error), ("comean", error), ("std", std_error), ("centred_std", std_error)):
        assert np.sqrt(p @ (getattr(found, name) - getattr(dense, name)) ** 2) <= most
    np.testing.assert_allclose(space.times(p[:, None])[:, 0], dense.mean, rtol=1e-12)


@pytest.mark.parametrize("kind", ["cloud", "rows", "graph", "mixed"])
def test_values_are_those_of_the_sum_over_pairs(kind):
    rng = np.random.default_rng(2)
    m = N + 100
    x, y = {
        "cloud": lambda: (gwfast.PointCloud(points(3)), gwfast.PointCloud(points(4, m))),
        "rows": lambda: (rows_of(points(3)), rows_of(points(4, m))),
        "graph": lambda: (gwfast.GraphRows(ring(N), weight=True), gwfast.GraphRows(ring(m, 1), weight=True)),
        "mixed": lambda: (gwfast.PointCloud(points(3)), rows_of(points(4, m))),
    }[kind]()
    size = 1500
    mass = rng.dirichlet(np.ones(size))
    plan = gwfast.Plan((N, m), rng.integers(0, N, size), rng.integers(0, m, size), mass)
    gap = x.dense()[np.ix_(plan.rows, plan.rows)] - y.dense()[np.ix_(plan.cols, plan.cols)]
    assert pair_sum(x, y, plan) == pytest.approx(float(mass @ (gap * gap) @ mass), rel=1e-11)


@pytest.mark.parametrize("weight", [None, True])
def test_rows_of_graphs_are_those_of_the_matrix(weight):
    A = ring(N, chords=1)
    space, dense = gwfast.GraphRows(A, weight=weight), gwfast.Graph(A, weight=weight)
    np.testing.assert_array_equal(space.dense(), dense.cost)  # groups of near sources
    some = np.random.default_rng(0).integers(0, N, 40)
    np.testing.assert_array_equal(space.computed(some), dense.cost[some])
    np.testing.assert_array_equal(space.computed(some[::-1]), dense.cost[some[::-1]])  # some are kept
    part = space.restricted(some[:5])
    np.testing.assert_array_equal(part.dense(), dense.cost[np.ix_(some[:5], some[:5])])
    np.testing.assert_array_equal(part.scaled(2.0).dense(), 4 * part.dense())


@pytest.mark.parametrize(
    ("graph", "told"),
    [
        (sp.block_diag([ring(30), ring(20)]).tocsr(), "1200 of 2500 ordered pairs of nodes are joined by no path"),
        (sp.csr_array(np.triu(np.ones((4, 4)), 1)), "undirected"),
        (-ring(30), "must be >= 0"),
    ],
)
def test_graphs_that_have_no_distances_are_refused(graph, told):
    with pytest.raises(gwfast.InputError, match=told):
        gwfast.GraphRows(graph, weight=True)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_nodes(n):
    space = gwfast.GraphRows(sp.csr_array(np.ones((n, n)) - np.eye(n)))
    np.testing.assert_array_equal(space.dense(), np.ones((n, n)) - np.eye(n))


def spoilt(change):
    x = points(5, 40)

    def function(i):
        return change(np.sqrt(((x[i, None] - x) ** 2).sum(axis=2)), i)

    return function


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows, i: rows[:, :-1], r"expected rows of shape \(32, 40\), found \(32, 39\)"),
        (lambda rows, i: rows[:-1], "for 32 points, 0 to 39"),
        (lambda rows, i: np.where(i[:, None] == 39, np.nan, rows), "that of point 39 first"),
        (lambda rows, i: rows + i[:, None], "expected a symmetric cost"),
        (lambda rows, i: "rows", "expected an array of numbers"),
        (lambda rows, i: rows + 1j, "expected real numbers"),
    ],
)
def test_bad_functions_are_told_of(change, told):
    with pytest.raises(gwfast.InputError, match=told):
        gwfast.Rows(40, spoilt(change))


def test_other_bad_arguments():
    with pytest.raises(gwfast.InputError, match="function"):
        gwfast.Rows(3, np.eye(3))
    with pytest.raises(gwfast.InputError, match="count"):
        gwfast.Rows(0, lambda i: np.eye(3)[i])


def test_rows_that_turn_bad_later_are_told_of():
    calls = []

    def function(i):
        calls.append(len(i))
        return np.eye(50)[i] if len(calls) < 2 else np.eye(50)[i] * np.nan

    space = gwfast.Rows(50, function)
    with pytest.raises(gwfast.InputError, match="NaN"):
        gwfast.exact_gw(space, np.eye(50))


def test_small_spaces_have_the_answers_of_matrices():
    x, y = rows_of(points(6, 30)), gwfast.GraphRows(ring(25), weight=True)
    found, dense = gwfast.exact_gw(x, y, effort="rows"), gwfast.exact_gw(x.dense(), y.dense(), effort="rows")
    assert found.value == pytest.approx(dense.value, rel=1e-9)
    assert found.lower <= dense.value
