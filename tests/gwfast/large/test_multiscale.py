"""The search from coarse to fine: copies are found, values are no worse than dense ones, intervals hold."""

import numpy as np
import pytest

import gwfast
from gwfast.budget import Budget
from gwfast.large.multiscale import multiscale, sides_of
from gwfast.presolve import presolve
from gwfast.problem import Problem
from gwfast.solve import _last_pass


def cloud(rng, n, d=3):
    return rng.normal(size=(n, d)) * [1.5, 1.0, 0.6, 0.4][:d] + 2 * rng.integers(0, 3, size=(n, 1)) * [1, 0.3, 0, 0][:d]


def spaces(kind, x, y):
    if kind == "cloud":
        return gwfast.PointCloud(x, metric="sqeuclidean"), gwfast.PointCloud(y, metric="sqeuclidean")
    return gwfast.Gram(np.ascontiguousarray(x.T)), gwfast.Gram(np.ascontiguousarray(y.T))


@pytest.mark.parametrize("kind", ["cloud", "gram"])
@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_a_moved_copy_is_found(kind, d):
    rng = np.random.default_rng(d)
    x, target = cloud(rng, 1200, d), rng.permutation(1200)
    y = np.empty_like(x)
    y[target] = x @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    if kind == "cloud":
        y += 5
    result = gwfast.exact_gw(*spaces(kind, x, y), method="multiscale")
    assert (result.plan.permutation == target).mean() > (0.98 if d > 1 else 0.5)
    assert result.value < 1e-6 * float((x**2).sum(1).mean()) ** 2
    assert result.lower <= result.value <= result.upper


@pytest.mark.parametrize("case", ["noise", "resample", "unrelated", "weights", "sizes"])
def test_values_are_near_those_of_the_dense_search(case):
    rng = np.random.default_rng(0)
    n, m = 300, 200 if case == "sizes" else 300
    x, p, q = cloud(rng, n), None, None
    y = {"noise": x + 0.1 * rng.normal(size=x.shape), "resample": cloud(rng, n)}.get(case)
    y = rng.uniform(-1, 1, size=(m, 3)) * [3, 2, 1] if y is None else y
    if case == "weights":
        p, q = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
    x, y = spaces("cloud", x, y)
    found = gwfast.exact_gw(x, y, p, q, method="multiscale")
    dense = gwfast.exact_gw(x, y, p, q, method="dense")
    assert found.value <= 1.05 * dense.value
    rows, cols = found.plan.marginals()
    np.testing.assert_allclose(rows, np.full(n, 1 / n) if p is None else p, rtol=1e-12)
    np.testing.assert_allclose(cols, np.full(m, 1 / m) if q is None else q, rtol=1e-12)
    assert found.lower <= dense.value


def test_it_is_taken_from_a_thousand_points_on():
    rng = np.random.default_rng(1)
    x, y = spaces("cloud", cloud(rng, 1000), cloud(rng, 1000))
    assert not gwfast.exact_gw(x, y).plan.is_dense
    assert gwfast.exact_gw(x, y).start == "block means"
    assert gwfast.exact_gw(x.restricted(np.arange(900)), y).start != "block means"


def test_calls_repeat():
    rng = np.random.default_rng(2)
    x, y = spaces("cloud", cloud(rng, 1500), cloud(rng, 1500))
    first, second = (gwfast.exact_gw(x, y) for _ in range(2))
    np.testing.assert_array_equal(first.plan.cols, second.plan.cols)


def test_levels_have_blocks_of_equal_mass():
    """Unequal ones would be shared out by an auction of masses, which takes many times as long."""
    rng = np.random.default_rng(3)
    X, Y = rng.normal(size=(1500, 3)), rng.normal(size=(1100, 3))
    weights = rng.random(1500) + 0.2
    problem = Problem.of(*(gwfast.PointCloud(z, metric="sqeuclidean") for z in (X, Y)), weights / weights.sum())
    sides = sides_of(problem)
    level = sides.quotient(200)
    assert level.uniform
    for whole, part in ((sides.x, level.x), (sides.y, level.y)):
        assert abs(part.p @ part.effect - whole.p @ whole.effect) <= 0.02 * whole.effect.std()
        spread = np.trace(part.moment) / np.trace(whole.moment)
        assert 0.8 < spread < 1


def test_little_time_is_kept_for_the_value_of_a_plan_between_points():
    n = 100_000
    cloud = gwfast.PointCloud(np.random.default_rng(0).normal(size=(n, 3)), metric="sqeuclidean")
    assert _last_pass(Problem.of(cloud, cloud)) < 2


def test_units_do_not_matter():
    rng = np.random.default_rng(3)
    x, y = cloud(rng, 600), cloud(rng, 600)
    one = gwfast.exact_gw(*spaces("cloud", x, y), method="multiscale")
    other = gwfast.exact_gw(*spaces("cloud", x * 2.0**40, y * 2.0**40), method="multiscale")
    assert other.value == pytest.approx(one.value * 2.0**160, rel=1e-9)


def test_features_decide_between_mirror_images():
    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, size=(1500, 2)) * [2, 1]
    target = rng.permutation(1500)
    y = np.empty_like(x)
    y[target] = x @ np.array([[0.6, 0.8], [-0.8, 0.6]])
    f = np.hstack([x, rng.normal(size=(1500, 28)) * 0.01])  # the place, which a mirror image has elsewhere
    g = np.empty_like(f)
    g[target] = f
    result = gwfast.exact_gw(*spaces("cloud", x, y), M=gwfast.FeatureCost(f, g), alpha=0.5)
    assert (result.plan.permutation == target).mean() > 0.99
    assert result.lower <= result.upper


def test_a_time_limit_and_an_interruption_keep_the_best_plan():
    rng = np.random.default_rng(5)
    x, y = spaces("cloud", cloud(rng, 3000), cloud(rng, 3000))
    problem = presolve(Problem.of(x, y)).problem
    limited = multiscale(problem, Budget().within(1e-9), lambda line: None)
    assert limited.stop is gwfast.Stop.TIME_LIMIT
    np.testing.assert_allclose(limited.plan.marginals()[1], 1 / 3000, rtol=1e-12)

    def stop(line):
        if "256 blocks" in line:
            raise KeyboardInterrupt

    stopped = multiscale(problem, Budget(), stop)
    assert stopped.stop is gwfast.Stop.INTERRUPTED
    np.testing.assert_allclose(stopped.plan.marginals()[1], 1 / 3000, rtol=1e-12)


@pytest.mark.parametrize(
    "points", [np.zeros((1100, 3)), np.ones((1100, 1)), np.repeat(np.arange(11.0), 100)[:, None] * [1.0, 2.0]]
)
def test_points_that_coincide_or_lie_on_a_line(points):
    rng = np.random.default_rng(6)
    x, y = spaces("cloud", points, rng.normal(size=(1100, 2)))
    result = gwfast.exact_gw(x, y)
    assert result.lower <= result.value <= result.upper
    np.testing.assert_allclose(result.plan.marginals()[1], 1 / 1100, rtol=1e-12)


def test_other_spaces_are_refused():
    rng = np.random.default_rng(7)
    x = gwfast.PointCloud(rng.normal(size=(5, 2))).dense()
    with pytest.raises(gwfast.InputError, match='method: "multiscale" takes two PointClouds'):
        gwfast.exact_gw(x, x, method="multiscale")
    with pytest.raises(gwfast.InputError, match="method: expected one of"):
        gwfast.exact_gw(x, x, method="sparse")


def test_every_effort_keeps_to_what_fits():
    rng = np.random.default_rng(8)
    x, y = spaces("cloud", cloud(rng, 1100), rng.uniform(-1, 1, size=(1000, 3)))
    result = gwfast.exact_gw(x, y, effort="prove", memory_limit=1e6)
    assert {bound.theorem for bound in result.certificate.bounds} >= {"closed-bound", "anova-std"}
    assert "third-lower-bound" not in {bound.theorem for bound in result.certificate.bounds}
    assert result.stop is gwfast.Stop.MEMORY_LIMIT
    assert result.lower <= result.value
