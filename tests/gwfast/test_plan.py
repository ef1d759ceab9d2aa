"""Plans: the three kinds agree."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gwfast
from gwfast.transport import monotone_atoms, round_to_marginals
from strategies import weights


def test_atoms_and_matrix_agree(xp):
    rows, cols, mass = np.array([0, 0, 1]), np.array([1, 2, 0]), np.array([0.25, 0.25, 0.5])
    sparse = gwfast.Plan((2, 3), xp(rows), xp(cols), xp(mass))
    dense = gwfast.Plan((2, 3), matrix=xp(np.array([[0, 0.25, 0.25], [0.5, 0, 0]])))
    np.testing.assert_array_equal(np.asarray(sparse), np.asarray(dense))
    np.testing.assert_array_equal(np.asarray(sparse.T), np.asarray(dense).T)
    x = xp(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    for plan in (sparse, dense):
        np.testing.assert_allclose(np.asarray(plan.apply(x)), np.asarray(dense) @ np.asarray(x))
        np.testing.assert_allclose(np.asarray(plan.apply(x[:, 0])), np.asarray(dense) @ np.asarray(x)[:, 0])
        np.testing.assert_allclose(np.asarray(plan.marginals()[0]), [0.5, 0.5])
        np.testing.assert_allclose(np.asarray(plan.marginals()[1]), [0.5, 0.25, 0.25])
        assert plan.permutation is None


def test_permutation_round_trip(xp):
    target = np.array([2, 0, 1])
    plan = gwfast.Plan.from_permutation(xp(target), xp(np.full(3, 1 / 3)))
    np.testing.assert_array_equal(np.asarray(plan.permutation), target)
    dense = gwfast.Plan((3, 3), matrix=plan.toarray())
    np.testing.assert_array_equal(np.asarray(dense.permutation), target)


@pytest.mark.parametrize("kind", ["spread", "decades"])
@given(seed=st.integers(0, 10**6), n=st.integers(1, 12), m=st.integers(1, 12))
def test_monotone_atoms_keep_light_masses_at_both_ends(kind, seed, n, m):
    rng = np.random.default_rng(seed)
    p, q = weights(rng, n, kind), weights(rng, m, kind)
    i, k, mass = monotone_atoms(p, q)
    assert len(mass) <= n + m + 1
    assert mass.min() > 0
    assert (np.diff(i) >= 0).all()
    assert (np.diff(k) >= 0).all()
    found = np.bincount(i, mass, minlength=n)
    below = np.minimum(np.cumsum(p), np.cumsum(p[::-1])[::-1])
    assert (np.abs(found - p) <= 1e-14 * np.minimum(below, 1)).all()


@given(seed=st.integers(0, 10**6), n=st.integers(1, 8), m=st.integers(1, 8))
def test_rounding_gives_couplings(seed, n, m):
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
    T = rng.random((n, m)) * rng.integers(0, 2, (n, m))
    rounded = round_to_marginals(T, p, q)
    np.testing.assert_allclose(rounded.sum(1), p, atol=1e-14)
    np.testing.assert_allclose(rounded.sum(0), q, atol=1e-14)
    assert rounded.min() >= 0


def test_marginal_errors_show_in_the_result():
    result = gwfast.sorted_gw(np.eye(3), np.eye(4))
    assert result.certificate.marginal_error == pytest.approx(0, abs=1e-15)


def test_names_of_the_points_are_kept_and_tabulated():
    pd = pytest.importorskip("pandas")
    C = np.abs(np.subtract.outer(np.arange(3.0), np.arange(3.0)))
    first = pd.DataFrame(C, index=list("abc"), columns=list("abc"))
    second = gwfast.Graph(nx.relabel_nodes(nx.path_graph(3), dict(enumerate("xyz"))))
    plan = gwfast.exact_gw(first, second).plan
    table = plan.to_frame()
    assert (list(table.index), list(table.columns)) == (list("abc"), list("xyz"))
    assert np.array_equal(table.to_numpy(), plan.toarray())
    turned = plan.T.to_frame(long=True)
    assert [table.loc[k, i] for i, k in zip(turned["first"], turned["second"])] == list(turned["mass"])
    half = gwfast.sorted_gw(first, C, p=[0.5, 0.0, 0.5]).plan.to_frame()
    assert (half.loc["b"] == 0).all()
    assert list(half.columns) == [0, 1, 2]
    points = gwfast.PointCloud(pd.DataFrame(C, index=[7, 8, 9]))
    assert gwfast.entropic_gw(points, points, epsilon=1.0).plan.labels == ((7, 8, 9), (7, 8, 9))
    assert gwfast.exact_gw(C, C).plan.labels is None
