"""The bound from a few eigenvalues: never above a coupling, whatever subspace it takes, and near all eigenvalues'."""

import networkx as nx
import numpy as np
import pytest

import gwfast
import reference
from gwfast.bounds import subspace
from gwfast.bounds.spectral import PROJECTED, eigenvalue_bounds
from gwfast.presolve import presolve
from strategies import KINDS, cost, weights


def problem_of(C1, C2, p=None, q=None):
    return presolve(gwfast.Problem.of(C1, C2, p, q)).problem


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_no_coupling_is_below_the_bound(rank, monkeypatch):
    monkeypatch.setattr(subspace, "_RANK", rank)
    monkeypatch.setattr(subspace, "_LANDMARKS", rank + 1)
    rng, positive = np.random.default_rng(rank), 0
    for k in range(40):
        n = int(rng.integers(2, 7))
        m = n if k % 2 else int(rng.integers(2, 7))
        kind = KINDS[k % len(KINDS)]
        C1, C2 = cost(rng, n, kind, True), cost(rng, m, kind, True)
        if k % 5 == 0:
            C2 = C2[::-1, ::-1] * (1 + 1e-7)  # near copies: the bound has to be as small as the value
            C1 = C2[::-1, ::-1].copy()
        n = len(C1)
        p, q = (None, None) if k % 2 and n == m else (weights(rng, n, "spread"), weights(rng, m, "spread"))
        bound = subspace.subspace_bound(problem_of(C1, C2, p, q))
        least = gwfast.exact_gw(C1, C2, p, q).value
        p, q = (np.full(s, 1 / s) if w is None else w for s, w in ((n, p), (m, q)))
        for _ in range(30):
            vertex = gwfast.marginals.BALANCED.minimum(rng.normal(size=(n, m)), p, q)
            T = np.zeros((n, m))
            np.add.at(T, (vertex.rows, vertex.cols), vertex.mass)
            least = min(least, reference.objective(C1, C2, T))
        assert bound.value <= least * (1 + 1e-14)
        positive += bound.value > 0
    assert positive > 8


def test_it_is_no_more_than_all_eigenvalues_prove_and_not_much_less():
    rng, shares = np.random.default_rng(0), []
    for _ in range(4):
        X, Y = rng.normal(size=(300, 3)) * [3, 1, 1], rng.random(size=(280, 3)) * [1, 4, 4]
        C1, C2 = (np.linalg.norm(Z[:, None] - Z, axis=2) for Z in (X, Y))
        problem = problem_of(C1, C2)
        few = subspace.subspace_bound(problem).value
        whole = next(b.value for b in eigenvalue_bounds(problem) if b.theorem == PROJECTED)
        assert few <= whole * (1 + 1e-9)
        shares.append(few / whole)
    assert np.mean(shares) > 0.8


def test_the_error_of_a_subspace_is_the_distance_of_a_cost_with_its_spectrum():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(120, 2))
    C = np.linalg.norm(X[:, None] - X, axis=2)
    p = weights(rng, 120, "spread")
    x = problem_of(C, C, p, p).x
    found = subspace.ritz(x)
    centred = C - (C @ p)[:, None] - C @ p + p @ C @ p
    values = np.linalg.eigvalsh(np.sqrt(p)[:, None] * centred * np.sqrt(p))
    assert values @ values == pytest.approx(found.values @ found.values + found.rest**2, rel=0.05)
    near = np.sort(np.abs(values))[::-1][: len(found.values)]
    np.testing.assert_allclose(np.sort(np.abs(found.values))[::-1], near, atol=found.apart)


def test_spaces_that_compute_their_costs_prove_what_matrices_do():
    rng = np.random.default_rng(2)
    X, Y = rng.normal(size=(2, 90, 2))
    clouds = [gwfast.PointCloud(Z) for Z in (X, Y)]
    matrices = [c.dense() for c in clouds]
    graphs = [nx.connected_watts_strogatz_graph(90, 4, 0.2, seed=s) for s in (0, 1)]
    rows = [gwfast.GraphRows(g) for g in graphs]
    for given, dense in ((clouds, matrices), (rows, [r.dense() for r in rows])):
        one, other = (subspace.subspace_bound(problem_of(*pair)).value for pair in (given, dense))
        assert one == pytest.approx(other, rel=1e-6)


def test_large_spaces_have_it_at_the_effort_spectral_without_a_matrix():
    rng = np.random.default_rng(3)
    X, Y = rng.normal(size=(1600, 2)) * [2, 1], rng.random((1500, 2)) * 3
    clouds = [gwfast.PointCloud(Z) for Z in (X, Y)]
    proved = gwfast.lower_bound(*clouds, effort="spectral", memory_limit=2**26)
    assert proved.best.theorem == "subspace-eigenvalues"
    assert {b.theorem for b in gwfast.verify(proved, *clouds).bounds} >= {"subspace-eigenvalues"}
    small = gwfast.lower_bound(X[:30] @ X[:30].T, Y[:30] @ Y[:30].T, effort="spectral")
    assert "subspace-eigenvalues" not in {b.theorem for b in small.bounds}
