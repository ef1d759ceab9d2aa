"""The closed bound of spaces of points: below brute force, its laws, and the doubt of the form it is made of."""

import numpy as np
import pytest
from point_spaces import KINDS, points, spaces

import gwfast
import reference
from gwfast.bounds.closed import METHOD, closed_bound
from gwfast.spaces.form_doubt import doubted_form
from strategies import weights


def value(x, y, **more):
    return float(closed_bound(reference.problem_of(x, y, **more)).value)


@pytest.mark.parametrize("chunk", range(6))
def test_no_bound_is_above_the_best_permutation(chunk):
    rng = np.random.default_rng(chunk)
    for _ in range(100):
        n = int(rng.integers(2, 6))
        x, y = spaces(rng, n, n, dimensions=4, mixed=True)
        M, alpha = (rng.normal(size=(n, n)), 0.3) if rng.random() < 0.2 else (None, None)
        problem = reference.problem_of(x, y, M=M, alpha=alpha)
        best = reference.best_permutation(problem.x.dense(), problem.y.dense(), M, 1.0 if alpha is None else alpha)
        assert closed_bound(problem).value <= best, (chunk, x, y)


@pytest.mark.parametrize("kind", ["uniform", "spread", "decades"])
def test_no_bound_is_above_a_plan_of_any_weights(kind):
    rng = np.random.default_rng(1)
    for _ in range(12):
        n, m = (int(k) for k in rng.integers(2, 9, size=2))
        x, y = spaces(rng, n, m, dimensions=4, mixed=True, far=False)
        problem = reference.problem_of(x, y, weights(rng, n, kind), weights(rng, m, kind))
        assert closed_bound(problem).value <= gwfast.exact_gw(problem, effort="sort").value


@pytest.mark.parametrize("kind", KINDS)
def test_the_costs_of_a_form_are_within_their_doubt(kind):
    rng = np.random.default_rng(2)
    for offset in (0.0, 1.0, 1e6, 1e9):
        for _ in range(10):
            z = points(rng, 7, int(rng.integers(1, 5)), kind)
            z = z + offset * rng.normal(size=z.shape[1])
            for space in (gwfast.PointCloud(z, "sqeuclidean"), gwfast.Gram(z.T)):
                space = space.weighted(weights(rng, 7, "spread"))
                form, doubt = doubted_form(space)
                C = 2 * form.mean + form.effect[:, None] + form.effect + form.kappa * (form.X @ form.X.T)
                exact = np.array(exact_costs(space), dtype=np.longdouble)
                error = np.sqrt(float(form.p @ ((C - exact) ** 2).astype(float) @ form.p))
                summed = 8 * np.finfo(float).eps * np.sqrt(form.second)  # of C here
                assert error <= doubt.cost + summed
                assert doubt.cost <= 1e-12 * np.sqrt(float(space.moments.second)) + 1e-25 * np.abs(z).max() ** 2


def exact_costs(space):
    """Costs in extended precision, of the same points."""
    if isinstance(space, gwfast.Gram):
        h = space.factor.astype(np.longdouble)
        return h.T @ h
    z = space.points.astype(np.longdouble)
    return ((z[:, None] - z[None]) ** 2).sum(axis=2)


def test_it_is_tight_on_scaled_copies_and_zero_on_copies():
    rng = np.random.default_rng(3)
    for make in (lambda z: gwfast.PointCloud(z, "sqeuclidean"), lambda z: gwfast.Gram(z.T)):
        z = rng.normal(size=(30, 3))
        x, y = make(z), make(1.5 * z[::-1])
        gap = np.asarray(x.dense()) - 2.25 * np.asarray(x.dense())
        assert value(x, y) == pytest.approx(np.mean(gap**2), rel=1e-9)
        assert value(x, make(z[::-1])) == 0


def test_laws():
    rng = np.random.default_rng(4)
    for _ in range(20):
        n, m = (int(k) for k in rng.integers(3, 12, size=2))
        z, w = rng.normal(size=(n, 3)), rng.normal(size=(m, 2))
        p, q = weights(rng, n, "spread"), weights(rng, m, "spread")
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        order = rng.permutation(n)

        def cloud(points):
            return gwfast.PointCloud(points, "sqeuclidean")

        plain = value(cloud(z), cloud(w), p=p, q=q)
        assert plain > 0
        same = [
            value(cloud(z @ turn + 5), cloud(w - 3), p=p, q=q),
            value(cloud(z[order]), cloud(w), p=p[order], q=q),
            value(cloud(w), cloud(z), p=q, q=p),
            value(cloud(3 * z), cloud(3 * w), p=p, q=q) / 81,
            value(cloud(np.vstack([z, z])), cloud(w), p=np.concatenate([p, p]) / 2, q=q),
        ]
        np.testing.assert_allclose(same, plain, rtol=1e-9)
        turned = value(gwfast.Gram((z @ turn).T), gwfast.Gram(w.T), p=p, q=q)
        assert turned == pytest.approx(value(gwfast.Gram(z.T), gwfast.Gram(w.T), p=p, q=q), rel=1e-9)


def test_a_far_cloud_loses_nothing():
    rng = np.random.default_rng(5)
    z, w = (2.0**-10 * rng.integers(-900, 900, size=(20, 3)) for _ in range(2))  # few bits: the shift is exact
    near = value(gwfast.PointCloud(z, "sqeuclidean"), gwfast.PointCloud(w, "sqeuclidean"))
    far = value(gwfast.PointCloud(z + 2.0**30, "sqeuclidean"), gwfast.PointCloud(w - 2.0**30, "sqeuclidean"))
    assert far == pytest.approx(near, rel=1e-9)


def test_a_cloud_against_inner_products_adds_squares():
    rng = np.random.default_rng(6)
    z, w = rng.normal(size=(40, 2)), rng.normal(size=(40, 2))
    problem = reference.problem_of(gwfast.PointCloud(z, "sqeuclidean"), gwfast.Gram(w.T))
    (x, _), (y, _) = doubted_form(problem.x), doubted_form(problem.y)
    squares = 4 * np.sum(x.moment**2) + np.sum(y.moment**2)
    means = 4 * (x.mean - y.mean) ** 2
    effects = 2 * np.mean((np.sort(x.effect) - np.sort(y.effect)) ** 2)
    assert closed_bound(problem).value == pytest.approx(squares + means + effects, rel=1e-9)


def test_other_spaces_have_none():
    rng = np.random.default_rng(7)
    z = rng.normal(size=(6, 2))
    cloud, other = gwfast.PointCloud(z, "sqeuclidean"), gwfast.PointCloud(z)
    for pair in ((cloud, other), (other, cloud), (cloud, other.dense())):
        problem = reference.problem_of(*pair)
        assert closed_bound(problem) is None
        assert METHOD.start(problem).step().bounds == ()
    wide = gwfast.PointCloud(rng.normal(size=(6, 40)), "sqeuclidean")
    assert closed_bound(reference.problem_of(wide, cloud)) is None
