"""Spaces answer what their dense cost would, in both libraries."""

import tracemalloc

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import gwfast
from gwfast.arrays import to_numpy

MAKERS = {
    "sqeuclidean": lambda rng, n: gwfast.PointCloud(rng.normal(size=(n, 2)) + 3, metric="sqeuclidean"),
    "euclidean": lambda rng, n: gwfast.PointCloud(rng.normal(size=(n, 3))),
    "gram": lambda rng, n: gwfast.Gram(rng.normal(size=(2, n))),
    "sparse gram": lambda rng, n: gwfast.Gram(sp.random_array((4, n), density=0.4, rng=rng)),
    "flat": lambda rng, n: gwfast.PointCloud(np.ones((n, 2)), metric="sqeuclidean"),
}


def plain(space):
    """Cost by its definition."""
    if isinstance(space, gwfast.PointCloud):
        x = to_numpy(space.points)
        d = ((x[:, None] - x) ** 2).sum(2)
        return d if space.metric == "sqeuclidean" else np.sqrt(d)
    h = space.factor.toarray() if space.is_sparse else to_numpy(space.factor)
    return h.T @ h


@pytest.mark.parametrize("kind", MAKERS)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 9))
def test_space_is_its_dense_cost(kind, seed, n):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(n))
    space = MAKERS[kind](rng, n).weighted(p)
    C = plain(space)
    i, j = rng.integers(0, n, 3), rng.integers(0, n, 4)
    scale = 1e-60 + np.abs(C).max()
    np.testing.assert_allclose(space.dense(), C, atol=1e-12 * scale)
    np.testing.assert_allclose(space.gather(i, j), C[np.ix_(i, j)], atol=1e-12 * scale)
    np.testing.assert_allclose(
        space.restricted(np.unique(i)).dense(), C[np.ix_(np.unique(i), np.unique(i))], atol=1e-12 * scale
    )
    x = rng.normal(size=(n, 2))
    np.testing.assert_allclose(space.times(x), C @ x, atol=1e-11 * scale)
    np.testing.assert_allclose(space.scaled(2.0).dense(), 4 * C, atol=1e-12 * scale)
    moments, dense = space.moments, gwfast.Dense(C).weighted(p).moments
    error = float(moments.error + dense.error)
    assert abs(float(moments.total - dense.total)) <= error
    np.testing.assert_allclose(moments.second, dense.second, rtol=1e-9, atol=error**2)
    for name in ("mean", "comean"):
        gap = getattr(moments, name) - getattr(dense, name)
        assert np.sqrt(p @ gap**2) <= error
    for name in ("std", "centred_std"):
        gap = getattr(moments, name) - getattr(dense, name)
        assert np.sqrt(p @ gap**2) <= float(moments.std_error + dense.std_error)


@pytest.mark.parametrize("kind", MAKERS)
def test_front_doors_take_spaces_as_they_take_their_matrices(kind):
    rng = np.random.default_rng(0)
    a, b = MAKERS[kind](rng, 12), MAKERS[kind](rng, 9)
    p = rng.dirichlet(np.ones(12))
    scale = np.abs(plain(a)).max() ** 2 + 1e-300
    for door in (gwfast.sorted_gw, gwfast.exact_gw):
        by_space, by_matrix = door(a, b, p), door(plain(a), plain(b), p)
        values = {bound.theorem: bound.value for bound in by_space.certificate.bounds}
        for bound in by_matrix.certificate.bounds:  # both have bounds of their own besides
            if bound.theorem in values:
                assert values[bound.theorem] == pytest.approx(bound.value, abs=1e-6 * scale)
        assert by_space.lower >= by_matrix.lower - 1e-6 * scale
        assert by_space.value <= by_matrix.value + 1e-6 * scale or door is gwfast.exact_gw


def test_torch_spaces():
    torch = pytest.importorskip("torch", reason="torch is an extra")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(10, 2)), rng.normal(size=(8, 2))
    for metric in ("euclidean", "sqeuclidean"):
        here = gwfast.sorted_gw(gwfast.PointCloud(x, metric), gwfast.PointCloud(y, metric))
        there = gwfast.sorted_gw(gwfast.PointCloud(torch.tensor(x), metric), gwfast.PointCloud(torch.tensor(y), metric))
        assert float(there.value) == pytest.approx(here.value, rel=1e-12)
        assert float(there.lower) == pytest.approx(here.lower, rel=1e-9)


@pytest.mark.parametrize("make", [lambda x: gwfast.PointCloud(x, "sqeuclidean"), lambda x: gwfast.Gram(x.T)])
def test_factored_torch_spaces_of_many_points(make):
    torch = pytest.importorskip("torch", reason="torch is an extra")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 2)), rng.normal(size=(45, 2))
    result = gwfast.exact_gw(make(torch.tensor(x)), make(torch.tensor(y)))
    assert result.value.dtype is torch.float64
    assert float(result.value) <= 1.2 * gwfast.exact_gw(make(x), make(y)).value


def test_large_sparse_gram_in_little_memory():
    rng = np.random.default_rng(0)
    n, rows, per_row = 200_000, 2_000, 10

    def factor():
        columns = rng.integers(0, n, rows * per_row)
        return sp.csr_array((rng.random(rows * per_row), columns, np.arange(0, rows * per_row + 1, per_row)), (rows, n))

    first, second = gwfast.Gram(factor()), gwfast.Gram(factor())
    tracemalloc.start()
    result = gwfast.sorted_gw(first, second)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400e6  # a dense cost would take 320 GB
    assert 0 <= result.lower <= result.value


@pytest.mark.parametrize("scale", [1e-45, 1e-30, 1e30, 1e45])
def test_clouds_of_extreme_scales(scale):
    x, y = np.random.default_rng(1).normal(size=(2, 5, 2))
    first, second = (gwfast.PointCloud(scale * z, "sqeuclidean") for z in (x, y))
    result = gwfast.sorted_gw(first, second)
    plain = gwfast.sorted_gw(gwfast.PointCloud(x, "sqeuclidean"), gwfast.PointCloud(y, "sqeuclidean"))
    assert result.lower == pytest.approx(scale**4 * plain.lower, rel=1e-9)
    assert result.value == pytest.approx(scale**4 * plain.value, rel=1e-9)


def test_distances_of_a_large_cloud_are_never_all_in_memory():
    points = np.random.default_rng(0).normal(size=(3000, 3))
    first, second = gwfast.PointCloud(points), gwfast.PointCloud(points + points[::-1])
    tracemalloc.start()
    gwfast.sorted_gw(first, second)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.3 * 8 * 3000**2


def test_graph_costs():
    graph = nx.Graph()
    graph.add_edge("a", "b", length=2.0)
    graph.add_edge("b", "c", length=0.5)
    assert gwfast.Graph(graph).cost[0, 2] == 2
    assert gwfast.Graph(graph, weight="length").cost[0, 2] == 2.5
    np.testing.assert_array_equal(gwfast.Graph(graph, "adjacency", weight="length").cost[1], [2, 0, 0.5])
    directed = nx.DiGraph([(0, 1), (1, 2), (2, 0)])
    assert not gwfast.Graph(directed).symmetric
    matrix = np.array([[0, 3.0], [3.0, 0]])
    assert gwfast.Graph(matrix).cost[0, 1] == 1
    assert gwfast.Graph(matrix, weight=True).cost[0, 1] == 3
    assert gwfast.Graph(sp.csr_array(matrix)).cost[0, 1] == 1


def test_zero_length_edges_are_edges():
    graph = nx.Graph()
    graph.add_edge(0, 1, length=0.0)
    graph.add_edge(1, 2, length=1.0)
    np.testing.assert_array_equal(gwfast.Graph(graph, weight="length").cost[0], [0, 0, 1])
