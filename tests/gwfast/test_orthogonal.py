"""The orthogonal bound: below brute force, its laws, its cells, and the inequalities it is made of."""

import itertools
import math

import numpy as np
import pytest
from point_spaces import spaces

import gwfast
import reference
from gwfast.bounds.scaled import scaled
from gwfast.budget import Budget
from gwfast.kernels.rotations import frame, halves
from gwfast.plan import Plan
from gwfast.result import Stop
from gwfast.searches import low_dimension
from gwfast.searches.low_dimension import moment_form
from gwfast.searches.orthogonal import METHOD, first_cells, frames_of, orthogonal_search, suits
from gwfast.transport import solve_linear
from strategies import weights


class Steps:
    """A clock on which every look takes a thousandth of a second."""

    def __init__(self):
        self.seconds = 0.0

    def now(self):
        self.seconds += 1e-3
        return self.seconds

    def budget(self, seconds):
        return Budget(clock=self.now).within(seconds)


@pytest.mark.parametrize("chunk", range(6))
def test_no_bound_is_above_the_best_permutation(chunk):
    rng = np.random.default_rng(chunk)
    close = []
    for _ in range(50):
        n = int(rng.integers(2, 6))
        x, y = spaces(rng, n, n, dimensions=3)
        M, alpha = (rng.normal(size=(n, n)), 0.3) if rng.random() < 0.2 else (None, None)
        problem = reference.problem_of(x, y, M=M, alpha=alpha)
        best = reference.best_permutation(problem.x.dense(), problem.y.dense(), M, 1.0 if alpha is None else alpha)
        result = orthogonal_search(problem, 1e-9, Steps().budget(1.0))
        assert result.bound.value <= best, (chunk, x, y)
        assert float(problem.objective(result.plan)) >= best - 1e-12 * problem.size - 1e-15 * abs(best)
        if M is None and best > 1e-6 * problem.size:
            close.append(result.bound.value / best)
    assert np.median(close) > 0.9


@pytest.mark.parametrize("kind", ["uniform", "spread", "decades"])
@pytest.mark.parametrize("fused", [False, True])
def test_no_bound_is_above_a_plan_of_any_weights(kind, fused):
    rng = np.random.default_rng(1)
    for _ in range(6):
        n, m = (int(k) for k in rng.integers(2, 9, size=2))
        x, y = spaces(rng, n, m, dimensions=3, far=False)
        M, alpha = (rng.normal(size=(n, m)), 0.4) if fused else (None, None)
        problem = reference.problem_of(x, y, weights(rng, n, kind), weights(rng, m, kind), M, alpha)
        result = orthogonal_search(problem, 1e-9, Steps().budget(1.0))
        value = min(gwfast.exact_gw(problem, effort="sort").value, float(problem.objective(result.plan)))
        assert result.bound.value <= value
        np.testing.assert_allclose(result.plan.marginals()[0], problem.p, atol=1e-12)


def turned(space, rng):
    """The same space by other points: turned, moved where that changes nothing, in another order."""
    order = rng.permutation(space.n)
    if isinstance(space, gwfast.Gram):
        turn = np.linalg.qr(rng.normal(size=(space.factor.shape[0],) * 2))[0]
        return gwfast.Gram(turn @ space.factor[:, order])
    turn = np.linalg.qr(rng.normal(size=(space.points.shape[1],) * 2))[0]
    return gwfast.PointCloud(space.points[order] @ turn + 3, "sqeuclidean")


@pytest.mark.parametrize("seed", range(4))
def test_laws(seed):
    rng = np.random.default_rng(seed)
    d = int(rng.integers(2, 4))
    z, w = rng.normal(size=(9, d)), rng.normal(size=(9, 3))
    make = [lambda v: gwfast.PointCloud(v, "sqeuclidean"), lambda v: gwfast.Gram(v.T)][seed % 2]
    x, y = make(z), make(w)

    def bound(a, b):
        result = orthogonal_search(reference.problem_of(a, b), 0.0, Steps().budget(60.0))
        assert result.stop is Stop.STALLED
        return float(result.bound.value)

    plain = bound(x, y)
    assert plain > 0
    # every search ends in its own cells, some thousandths above the limit
    same = [bound(turned(x, rng), turned(y, rng)), bound(y, x), bound(make(2 * z), make(2 * w)) / 16]
    np.testing.assert_allclose(same, plain, rtol=0.03)


@pytest.mark.parametrize(("size", "rank"), [(1, 1), (2, 2), (3, 3), (3, 2)])
def test_cells_cover_all_rotations(size, rank):
    rng = np.random.default_rng(2)
    cells, R = list(first_cells(size, rank)), np.empty((size, size))
    for _ in range(0 if size == 1 else 2):
        cells = [part for cell in cells for part in halves(cell, size)]
    frames = []
    for cell in cells:
        cosine = frame(cell, size, R)
        np.testing.assert_allclose(R @ R.T, np.eye(size), atol=1e-14)
        assert np.linalg.det(R) == pytest.approx(cell[0])
        assert 0 < cosine <= 1
        frames.append((R.copy(), cosine))
    centres, cosines = np.array([f for f, _ in frames]), np.array([c for _, c in frames])
    for _ in range(2000):
        O = np.linalg.qr(rng.normal(size=(size, size)))[0] * rng.choice([-1, 1], size)
        if size != rank and np.linalg.det(O) < 0:
            O[:, -1] *= -1
        trace = np.einsum("tab,ab->t", centres, O)
        same = np.sign(np.linalg.det(O)) == np.array([c[0] for c in cells])
        # the cosine of the angle of R'O, a rotation where both have one determinant
        angles = np.where(same, (trace - (size - 2)) / 2 if size > 1 else trace, -2)
        assert (angles >= cosines - 1e-12).any()


def test_the_angle_of_a_cell_is_that_of_its_farthest_rotation():
    rng = np.random.default_rng(3)
    R, O = np.empty((3, 3)), np.empty((3, 3))
    for _ in range(200):
        half = float(rng.choice([0.5, 0.25, 0.03]))
        cell = np.array([1.0, rng.integers(4), *rng.uniform(half - 1, 1 - half, size=3), half])
        cosine = frame(cell, 3, R)
        inside = []
        for corner in itertools.product((-1, 1), repeat=3):
            for depth in (1.0, rng.random()):
                point = cell.copy()
                point[2:5] += depth * half * np.array(corner)
                frame(np.array([*point[:5], 1e-9]), 3, O)
                inside.append((np.sum(R * O) - 1) / 2)
        assert min(inside) >= cosine
        assert min(inside) <= cosine + 1e-9


def test_the_cross_moment_obeys_the_inequality():
    rng = np.random.default_rng(4)
    for _ in range(100):
        n, m = (int(k) for k in rng.integers(2, 9, size=2))
        x, y = spaces(rng, n, m, dimensions=3, far=False)
        problem = reference.problem_of(x, y, weights(rng, n, "spread"), weights(rng, m, "spread"))
        s = scaled(problem)
        form = moment_form(problem, s)
        frames = frames_of(form, s)
        atoms = solve_linear(rng.random((n, m)), problem.p, problem.q)
        T = Plan((n, m), atoms.rows, atoms.cols, atoms.mass).toarray()
        M = form.X.T @ T @ form.Y
        N = frames.first[:, None] * M * frames.second
        nuclear = np.linalg.svd(N, compute_uv=False).sum()
        room = 1e-13 * frames.trace
        assert nuclear <= frames.trace + room
        assert np.sum(M * M) <= nuclear + room
        if min(frames.first.min(), frames.second.min()) <= 1e-6 * max(frames.first.max(), frames.second.max()):
            continue
        k = np.linalg.svd(M / frames.outer, compute_uv=False)
        assert k[0] <= 1 + 1e-9
        assert np.sum(M * M) <= nuclear - frames.least * np.sum(k * (1 - k)) + room
        for most in (k.sum(), min(frames.rank, k.sum() + 0.1)):
            whole = math.floor(most)
            assert np.sum(k * (1 - k)) >= (1 - most + whole) * (k.sum() - whole) - 1e-9


def test_more_cells_prove_more_and_what_it_stops_for():
    rng = np.random.default_rng(5)
    x, y = (gwfast.PointCloud(rng.normal(size=(24, 3)), "sqeuclidean") for _ in range(2))
    problem = reference.problem_of(x, y)
    run = METHOD.start(problem)
    found = run.step(length=0.0)
    lower = [float(found.bounds[0].value)]
    while found.stop is None:
        found = run.step(length=0.0)
        lower.append(float(found.bounds[0].value))
    assert len(lower) > 3
    assert found.stop is Stop.STALLED
    assert all(b >= a for a, b in itertools.pairwise(lower))
    value = gwfast.exact_gw(problem, effort="rows").value
    assert lower[-1] > 0.6 * value
    short = orthogonal_search(problem, budget=Budget().within(0.0))
    assert short.stop is Stop.TIME_LIMIT
    assert short.bound.value <= value
    assert orthogonal_search(problem, gap=0.9).stop is Stop.GAP_REACHED


def test_the_nuclear_norm_takes_something_off():
    rng = np.random.default_rng(6)
    x, y = (gwfast.PointCloud(rng.normal(size=(40, 3)), "sqeuclidean") for _ in range(2))
    result = orthogonal_search(reference.problem_of(x, y), 0.0)
    assert 2 < result.nuclear < 2.95


def test_which_problems_it_is_for():
    rng = np.random.default_rng(7)

    def pair(d, e, metric="sqeuclidean"):
        return reference.problem_of(*(gwfast.PointCloud(rng.normal(size=(9, k)), metric) for k in (d, e)))

    assert suits(pair(3, 3))
    assert METHOD.settles(pair(3, 3))
    assert not METHOD.settles(pair(2, 2))
    assert low_dimension.METHOD.settles(pair(2, 2))
    for other in (pair(4, 3), pair(2, 2, "euclidean"), reference.problem_of(np.eye(3), np.eye(3))):
        assert not suits(other)
        assert orthogonal_search(other) is None
        assert METHOD.start(other).step().bounds == ()
    mixed = reference.problem_of(pair(2, 2).x, gwfast.Gram(rng.normal(size=(2, 9))))
    assert not suits(mixed)
