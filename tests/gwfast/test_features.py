"""Feature costs from features: the matrix they stand for, and what is proved without it."""

from fractions import Fraction

import numpy as np
import ot
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gwfast
from gwfast.method import OutsideTheorem
from gwfast.methods import METHODS
from gwfast.problem import Problem


def drawn(seed, n=None, m=None):
    rng = np.random.default_rng(seed)
    n, m, r = n or int(rng.integers(1, 7)), m or int(rng.integers(1, 7)), int(rng.integers(1, 5))
    offset = rng.normal(size=r) * 10.0 ** rng.choice([0, 3, 8])
    F, G = rng.normal(size=(n, r)) + offset, rng.normal(size=(m, r)) * rng.choice([0.1, 1.0, 5.0]) + offset
    p, q = (rng.dirichlet(np.ones(k)) for k in (n, m))
    return gwfast.FeatureCost(F, G), p, q


@given(st.integers(0, 10**6))
def test_entries_are_those_of_the_matrix(seed):
    M, _, _ = drawn(seed)
    dense = M.dense()
    n, m = M.shape
    rows, cols = np.repeat(np.arange(n), m), np.tile(np.arange(m), n)
    np.testing.assert_allclose(M.at(rows, cols).reshape(n, m), dense, rtol=1e-14)
    exact = [
        [sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(f, g)) for g in M.second.tolist()]
        for f in M.first.tolist()
    ]
    for i in range(n):
        for k in range(m):
            assert abs(Fraction(dense[i, k]) - exact[i][k]) <= Fraction(M.share_lost) * exact[i][k]
            assert exact[i][k] <= M.largest


@given(st.integers(0, 10**6))
def test_the_bound_from_covariances_is_below_the_transport(seed):
    M, p, q = drawn(seed)
    dense = M.dense()
    assert M.cheapest(p, q) <= ot.emd2(p, q, dense, check_marginals=False) * (1 + 1e-12) + 1e-12 * dense.max()


def test_the_bound_is_the_transport_of_two_scaled_copies():
    rng = np.random.default_rng(0)
    F, p = rng.normal(size=(8, 2)), np.full(8, 1 / 8)
    M = gwfast.FeatureCost(F, 3 * F + 1)
    assert M.cheapest(p, p) == pytest.approx(ot.emd2(p, p, M.dense()), rel=1e-9)


@given(st.integers(0, 10**6))
def test_small_problems_are_those_of_the_matrix(seed):
    rng = np.random.default_rng(seed)
    M, p, q = drawn(seed)
    C, D = rng.normal(size=(M.shape[0],) * 2), rng.normal(size=(M.shape[1],) * 2)
    one, other = (gwfast.exact_gw(C, D, p, q, M=cost, alpha=0.3) for cost in (M, M.dense()))
    assert one.value == other.value
    assert one.lower <= other.upper


def large(seed=1, n=1050, m=1000):
    rng = np.random.default_rng(seed)
    x, y = (gwfast.PointCloud(rng.normal(size=(k, 2)), metric="sqeuclidean") for k in (n, m))
    return x, y, gwfast.FeatureCost(rng.normal(size=(n, 3)), rng.normal(size=(m, 3)))


def test_large_problems_keep_features_and_their_intervals_hold(monkeypatch):
    x, y, M = large()
    problem = Problem.of(x, y, M=M, alpha=0.4)
    assert problem.M is M
    plan = gwfast.sorted_gw(problem)
    dense = gwfast.certify(x, y, plan.plan, M=M.dense(), alpha=0.4, effort="sort")
    assert plan.upper == pytest.approx(dense.upper, rel=1e-9)
    assert plan.lower <= dense.upper
    found = gwfast.exact_gw(problem)
    assert found.value < plan.value
    assert found.lower <= found.value


def test_methods_that_need_a_matrix_are_refused():
    x, y, M = large()
    problem = Problem.of(x, y, M=M)
    allowed = {method.name for method in METHODS if method.applies(problem)}
    assert allowed == {"sorting", "closed", "subspace"}
    for method in METHODS:
        if method.name not in allowed:
            with pytest.raises(OutsideTheorem):
                method.start(problem)
    with pytest.raises(gwfast.InputError, match='solver: found "PPA" with a FeatureCost'):
        gwfast.entropic_gw(problem, solver="PPA")


def test_what_is_no_pair_of_features_is_refused():
    with pytest.raises(gwfast.InputError, match="second: expected 2 columns"):
        gwfast.FeatureCost(np.ones((3, 2)), np.ones((3, 1)))
    with pytest.raises(gwfast.InputError, match="first: "):
        gwfast.FeatureCost(np.full((3, 2), np.nan), np.ones((3, 2)))
    with pytest.raises(gwfast.InputError, match="M: expected features of 2 and 2 points"):
        gwfast.exact_gw(np.eye(2), np.eye(2), M=gwfast.FeatureCost(np.ones((3, 1)), np.ones((2, 1))))


def test_torch_features_keep_the_tape_of_small_problems_and_are_refused_in_large_ones():
    torch = pytest.importorskip("torch")
    F = torch.rand(4, 2, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    C = torch.eye(4, dtype=torch.float64)
    gwfast.exact_gw(C, C, M=gwfast.FeatureCost(F, F.detach() + 1)).value.backward()
    assert F.grad is not None
    x, y, _ = large()
    x, y = (gwfast.PointCloud(torch.tensor(z.points), metric="sqeuclidean") for z in (x, y))
    taped = gwfast.FeatureCost(torch.ones(1050, 1, dtype=torch.float64, requires_grad=True), torch.ones(1000, 1))
    with pytest.raises(gwfast.InputError, match="M: found features that ask for a gradient"):
        gwfast.exact_gw(x, y, M=taped)
