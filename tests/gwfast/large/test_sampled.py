"""The search along sampled rows: copies are found, values are near the dense ones, intervals hold, limits are kept."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.spatial import cKDTree

import gwfast
from gwfast.budget import Budget
from gwfast.heuristics.sampled import sampled, takes_rows
from gwfast.large.estimate import Judge
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


def test_a_limit_shorter_than_a_pass_over_all_rows_is_refused():
    x = gwfast.PointCloud(np.zeros((200_001, 1)))
    with pytest.raises(gwfast.InputError, match="time_limit: found 5 s, the value of a plan alone takes about"):
        gwfast.exact_gw(x, gwfast.PointCloud(np.zeros((10, 1))), time_limit=5)


def test_spaces_whose_value_would_not_end_are_refused():
    x = gwfast.PointCloud(np.zeros((200_001, 1)))
    with pytest.raises(gwfast.InputError, match="C1: found 200001 points, at most 200000"):
        gwfast.exact_gw(x, gwfast.PointCloud(np.zeros((10, 1))))


def test_an_estimate_of_a_copy_is_as_small_as_its_value():
    """In single precision it would be a share 1e-14 of the squared costs."""
    x = np.random.default_rng(11).normal(size=(300, 2))
    found = gwfast.sampled_gw(gwfast.PointCloud(x), gwfast.PointCloud(x))
    assert 0 <= found.mean < 1e-28


def test_a_search_and_the_value_of_its_plan_compute_each_row_once_more():
    """Bounds take what the pass for the value has gathered."""
    rng, asked = np.random.default_rng(9), []

    def space(x):
        def rows(i):
            asked.append(len(i))
            return np.abs(x[i, None] - x).sum(axis=2)

        return gwfast.Rows(len(x), rows)

    n = 1500
    x, y = space(cloud(rng, n)), space(cloud(rng, n))
    before = sum(asked)
    gwfast.sampled_gw(x, y)
    searched = sum(asked) - before
    before = sum(asked)
    gwfast.exact_gw(x, y)
    assert sum(asked) - before <= searched + 2 * n + 2 * 256


@pytest.mark.parametrize("kind", ["cloud", "graph", "rows"])
def test_estimates_are_unbiased(kind):
    """Over many samples the mean is the value, and the standard error that of the means."""
    rng = np.random.default_rng(4)
    x = sheet(rng, 500)
    y, weights = sheet(rng, 400), rng.random(500) + 0.1
    found = gwfast.sampled_gw(space(kind, x), space(kind, y), weights / weights.sum(), rows=200)
    problem = Problem.of(space(kind, x), space(kind, y), weights / weights.sum())
    order = np.argsort(found.plan.rows, kind="stable")
    atoms = [a[order] for a in (found.plan.rows, found.plan.cols, found.plan.mass)]
    means = [Judge(problem.x, problem.y, 200, seed).values(*atoms).mean() for seed in range(10, 40)]
    value = float(problem.objective(found.plan))
    assert abs(np.mean(means) - value) <= 4 * found.standard_error / 30**0.5
    assert 0.5 < np.std(means) / found.standard_error < 2
    assert abs(found.mean - value) <= 4 * found.standard_error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": 1}, "rows: found 1, expected at least 2"),
        ({"C2": np.zeros((3, 3)), "C1": np.zeros((3, 3))}, "C1, C2: sampled_gw takes two symmetric spaces"),
        ({"time_limit": -1}, "time_limit: "),
    ],
)
def test_bad_input_of_an_estimate_is_named(arguments, message):
    x = gwfast.PointCloud(np.arange(6.0).reshape(3, 2))
    with pytest.raises(gwfast.InputError, match=message):
        gwfast.sampled_gw(**({"C1": x, "C2": x} | arguments))


@pytest.mark.parametrize("points", [np.zeros((1100, 3)), np.repeat(np.arange(11.0), 100)[:, None] * [1.0, 2.0]])
def test_points_that_coincide_or_lie_on_a_line(points):
    x, y = gwfast.PointCloud(points), gwfast.PointCloud(np.random.default_rng(5).normal(size=(1000, 2)))
    result = gwfast.exact_gw(x, y)
    assert result.lower <= result.value <= result.upper
    np.testing.assert_allclose(result.plan.marginals()[1], 1 / 1000, rtol=1e-12)
