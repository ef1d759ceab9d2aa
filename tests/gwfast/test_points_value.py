"""Plans between points valued through moments: the exact rational objective lies within the margin."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gwfast
from gwfast.plan_value import plan_value
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.spaces.points_value import points_value, takes_points, taped_points


def exact(cloud, X, Y, rows, cols, mass):
    """The objective of a plan in fractions."""

    def costs(P, picked):
        P = [[Fraction(float(c)) for c in P[i]] for i in picked]
        if cloud:
            return [[sum((a - b) ** 2 for a, b in zip(x, y)) for y in P] for x in P]
        return [[sum(a * b for a, b in zip(x, y)) for y in P] for x in P]

    C, D, w = costs(X, rows), costs(Y, cols), [Fraction(float(m)) for m in mass]
    count = range(len(w))
    return sum(w[s] * w[t] * (C[s][t] - D[s][t]) ** 2 for s in count for t in count)


def spaces(cloud, X, Y):
    if cloud:
        return gwfast.PointCloud(X, metric="sqeuclidean"), gwfast.PointCloud(Y, metric="sqeuclidean")
    return gwfast.Gram(np.ascontiguousarray(X.T)), gwfast.Gram(np.ascontiguousarray(Y.T))


@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_the_exact_value_is_within_the_margin(seed, cloud, copy):
    rng = np.random.default_rng(seed)
    n, m, d, e = rng.integers(1, 7, size=4)
    offset = rng.normal(size=d) * 10.0 ** rng.choice([-3, 0, 4, 9])
    X = rng.normal(size=(n, d)) * 10.0 ** rng.choice([-3, 0, 4]) + offset
    if copy:
        turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
        Y = X @ turn + 10.0 ** rng.choice([-16, -8, -2]) * rng.normal(size=X.shape)
        rows = cols = np.arange(n)
        mass = np.full(n, 1 / n)
    else:
        Y, count = rng.normal(size=(m, e)), int(rng.integers(1, 9))
        rows, cols, mass = rng.integers(0, n, count), rng.integers(0, m, count), rng.dirichlet(np.ones(count))
    x, y = spaces(cloud, X, Y)
    found = points_value(x, y, gwfast.Plan((x.n, y.n), rows, cols, mass))
    margin = found.rounding + found.doubt * (2 * found.value**0.5 + found.doubt)
    assert abs(Fraction(found.value) - exact(cloud, X, Y, rows, cols, mass)) <= Fraction(float(margin))


@pytest.mark.parametrize("cloud", [True, False])
def test_copies_keep_their_digits(cloud):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3))
    x, y = spaces(cloud, X, X + 1e-9 * rng.normal(size=X.shape))
    p = np.full(2000, 1 / 2000)
    value = points_value(x, y, gwfast.Plan.from_permutation(np.arange(2000), p))
    C, D = x.dense(), y.dense()
    assert value.value == pytest.approx(p @ (C - D) ** 2 @ p, rel=1e-4)  # the matrices have lost digits themselves
    assert value.rounding < 1e-9 * value.value


@pytest.mark.parametrize("cloud", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_large_plans_agree_with_pairs_of_atoms(cloud, weighted, monkeypatch):
    rng = np.random.default_rng(1)
    n, m = 1500, 1400
    p, q = (rng.dirichlet(np.ones(k)) if weighted else None for k in (n, m))
    problem = Problem.of(*spaces(cloud, rng.normal(size=(n, 2)), rng.normal(size=(m, 3)) + 5), p, q)
    plan = gwfast.sorted_gw(problem).plan
    moments = plan_value(problem, plan)
    monkeypatch.setattr("gwfast.problem.POLICY", POLICY.__class__(point_atoms=10**9))
    pairs = plan_value(problem, plan)
    assert moments.value == pytest.approx(pairs.value, rel=1e-12)
    assert abs(moments.value - pairs.value) <= moments.bound.margin + pairs.bound.margin


def test_the_same_points_have_the_value_zero():
    rng = np.random.default_rng(2)
    x = gwfast.PointCloud(rng.normal(size=(1200, 3)), metric="sqeuclidean")
    problem = Problem.of(x, x)
    found = plan_value(problem, gwfast.Plan.from_permutation(np.arange(1200), problem.p))
    assert found.value == 0


def test_other_spaces_are_left_alone():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(4, 2))
    cloud, gram = gwfast.PointCloud(X, metric="sqeuclidean"), gwfast.Gram(X.T.copy())
    assert takes_points(cloud, cloud)
    assert takes_points(gram, gram)
    assert not takes_points(cloud, gram)
    assert not takes_points(cloud, gwfast.PointCloud(X))


@pytest.mark.parametrize("cloud", [True, False])
def test_gradients_of_large_plans_are_those_of_pairs(cloud):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    X, Y = rng.normal(size=(1200, 2)), rng.normal(size=(1100, 3)) + 2
    rows, cols = rng.integers(0, 1200, 1300), rng.integers(0, 1100, 1300)
    plan = gwfast.Plan((1200, 1100), *map(torch.tensor, (rows, cols, rng.dirichlet(np.ones(1300)))))
    grads = []
    for moments in (True, False):
        points = [torch.tensor(z, requires_grad=True) for z in (X, Y)]
        x, y = (gwfast.PointCloud(z, metric="sqeuclidean") if cloud else gwfast.Gram(z.T) for z in points)
        if moments:
            value = taped_points(x, y, plan)
        else:
            gap = x.gather(plan.rows, plan.rows) - y.gather(plan.cols, plan.cols)
            value = plan.mass @ (gap * gap) @ plan.mass
        value.backward()
        grads.append((value.item(), *(z.grad.numpy() for z in points)))
    for one, other in zip(*grads):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
