"""The search along sampled rows: copies are found, values are near the dense ones, intervals hold, limits are kept."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.spatial import cKDTree

import gwfast
from gwfast.budget import Budget
from gwfast.large.sampled import sampled, takes_rows
from gwfast.presolve import presolve
from gwfast.problem import Problem


def cloud(rng, n):
    return rng.normal(size=(n, 3)) * [1.5, 1.0, 0.6] + 2 * rng.integers(0, 3, size=(n, 1)) * [1, 0.3, 0]


def sheet(rng, n):
    return rng.uniform(size=(n, 2)) * [3, 1] + 0.3 * rng.uniform(size=(n, 1)) ** 4


def neighbours(x, k=8):
    length, j = cKDTree(x).query(x, k + 1)
    i = np.repeat(np.arange(len(x)), k)
    A = sp.csr_array((length[:, 1:].ravel(), (i, j[:, 1:].ravel())), shape=(len(x), len(x)))
    return A.maximum(A.T)


def space(kind, x):
    if kind == "cloud":
        return gwfast.PointCloud(x)
    if kind == "graph":
        return gwfast.GraphRows(neighbours(x), weight=True)
    return gwfast.Rows(len(x), lambda i: np.abs(x[i, None] - x).sum(axis=2))


@pytest.mark.parametrize("kind", ["cloud", "graph", "rows"])
def test_a_copy_is_found_up_to_noise(kind):
    rng = np.random.default_rng(0)
    n = 1100
    x, target = (sheet if kind == "graph" else cloud)(rng, n), rng.permutation(n)
    y = np.empty_like(x)
    y[target] = x + 0.003 * rng.normal(size=x.shape)
    x, y = space(kind, x), space(kind, y)
    found = gwfast.exact_gw(x, y)
    assert found.start == "landmarks"
    true = Problem.of(x, y).objective(gwfast.Plan.from_permutation(target, np.full(n, 1 / n)))
    assert found.value <= 1.2 * true
    assert found.lower <= found.value <= found.upper
    np.testing.assert_array_equal(np.sort(found.plan.permutation), np.arange(n))


@pytest.mark.parametrize("case", ["noise", "resample", "weights", "sizes"])
def test_values_are_near_those_of_the_dense_search(case):
    rng = np.random.default_rng(1)
    n, m = 400, 300 if case == "sizes" else 400
    x, p, q = cloud(rng, n), None, None
    y = x + 0.1 * rng.normal(size=x.shape) if case == "noise" else cloud(rng, m)
    if case == "weights":
        p, q = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
    x, y = gwfast.PointCloud(x), gwfast.PointCloud(y)
    found, dense = (gwfast.exact_gw(x, y, p, q, method=method) for method in ("multiscale", "dense"))
    assert found.value <= 1.1 * dense.value
    rows, cols = found.plan.marginals()
    np.testing.assert_allclose(rows, np.full(n, 1 / n) if p is None else p, rtol=1e-12)
    np.testing.assert_allclose(cols, np.full(m, 1 / m) if q is None else q, rtol=1e-12)
    assert found.lower <= dense.value
    assert found.value == pytest.approx(float(Problem.of(x, y, p, q).objective(found.plan)), rel=1e-12)


def test_where_it_is_taken():
    x = np.random.default_rng(2).normal(size=(1000, 2))
    large = gwfast.PointCloud(x)
    small = gwfast.PointCloud(x[:900])
    squared = gwfast.PointCloud(x, metric="sqeuclidean")
    assert takes_rows(Problem.of(large, large), "auto")
    assert not takes_rows(Problem.of(large, small), "auto")
    assert takes_rows(Problem.of(large, small), "multiscale")
    assert not takes_rows(Problem.of(large, large), "dense")
    assert not takes_rows(Problem.of(squared, squared), "multiscale")
    with pytest.raises(gwfast.InputError, match=r"method: .*Rows, GraphRows"):
        gwfast.exact_gw(np.eye(3), np.eye(3), method="multiscale")


def test_calls_repeat():
    rng = np.random.default_rng(3)
    x, y = gwfast.PointCloud(cloud(rng, 1000)), gwfast.PointCloud(cloud(rng, 1000))
    first, second = (gwfast.exact_gw(x, y) for _ in range(2))
    np.testing.assert_array_equal(first.plan.cols, second.plan.cols)


def test_a_time_limit_and_an_interruption_keep_a_plan():
    rng = np.random.default_rng(4)
    x, y = gwfast.PointCloud(cloud(rng, 1500)), gwfast.PointCloud(cloud(rng, 1500))
    problem = presolve(Problem.of(x, y)).problem
    limited = sampled(problem, Budget().within(1e-9), lambda line: None)
    assert limited.stop is gwfast.Stop.TIME_LIMIT
    np.testing.assert_allclose(limited.plan.marginals()[1], 1 / 1500, rtol=1e-12)

    for word in ("landmarks", "all points"):

        def stop(line, word=word):
            if word in line:
                raise KeyboardInterrupt

        stopped = sampled(problem, Budget(), stop)
        assert stopped.stop is gwfast.Stop.INTERRUPTED
        np.testing.assert_allclose(stopped.plan.marginals()[1], 1 / 1500, rtol=1e-12)


def test_spaces_whose_value_would_not_end_are_refused():
    x = gwfast.PointCloud(np.zeros((200_001, 1)))
    with pytest.raises(gwfast.InputError, match="C1: found 200001 points, at most 200000"):
        gwfast.exact_gw(x, gwfast.PointCloud(np.zeros((10, 1))))


@pytest.mark.parametrize("points", [np.zeros((1100, 3)), np.repeat(np.arange(11.0), 100)[:, None] * [1.0, 2.0]])
def test_points_that_coincide_or_lie_on_a_line(points):
    x, y = gwfast.PointCloud(points), gwfast.PointCloud(np.random.default_rng(5).normal(size=(1000, 2)))
    result = gwfast.exact_gw(x, y)
    assert result.lower <= result.value <= result.upper
    np.testing.assert_allclose(result.plan.marginals()[1], 1 / 1000, rtol=1e-12)
