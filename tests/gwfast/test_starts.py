"""Starts that the caller gives, and plans that have to be permutations."""

import numpy as np
import ot
import pytest
import scipy.sparse as sp

import gwfast
import reference
from strategies import cost


@pytest.mark.parametrize("door", ["exact", "entropic"])
def test_a_start_never_makes_the_answer_worse_and_the_result_says_whether_it_won(door, xp):
    rng = np.random.default_rng(0)
    C1, C2 = cost(rng, 9, "cloud"), cost(rng, 9, "cloud")
    options = {"entropic": {"epsilon": 0.2}, "exact": {}}[door]
    call = gwfast.exact_gw if door == "exact" else gwfast.entropic_gw
    known = gwfast.exact_gw(C1, C2)
    alone = call(xp(C1), xp(C2), **options)
    for T in (np.asarray(known.plan), ot.emd(np.full(9, 1 / 9), np.full(9, 1 / 9), rng.random((9, 9)))):
        result = call(xp(C1), xp(C2), start=xp(T), **options)
        if door == "exact":
            assert float(result.value) <= float(alone.value) + 1e-12
            assert float(result.value) <= reference.objective(C1, C2, T) + 1e-12
        won = result.start.startswith("the given plan")
        assert result.notes[-1] == "start: it led to this plan" if won else "led to a better plan" in result.notes[-1]
        assert result.notes[-1] in str(result)
    assert not alone.notes


def test_a_start_at_the_optimum_wins():
    rng = np.random.default_rng(1)
    C = np.triu(rng.random((30, 30)) < 0.2, 1).astype(float)
    C, order = C + C.T, rng.permutation(30)
    copy = C[np.ix_(np.argsort(order), np.argsort(order))]
    result = gwfast.exact_gw(C, copy, start=np.eye(30)[order] / 30)
    assert result.value == 0
    assert result.start == "the given plan"
    assert result.notes == ("start: it led to this plan",)


@pytest.mark.parametrize("kind", ["array", "plan", "coo", "csr", "float32"])
def test_starts_of_all_kinds_are_repaired_with_a_note(kind):
    rng = np.random.default_rng(2)
    C1, C2, p = cost(rng, 5, "cloud"), cost(rng, 4, "cloud"), np.array([0.3, 0.2, 0.5, 0.0, 0.0])
    T = ot.emd(p, np.full(4, 0.25), rng.random((5, 4)))
    T[0] *= 1.01
    rows, cols = np.nonzero(T)
    start = {
        "array": T,
        "plan": gwfast.Plan((5, 4), rows, cols, T[rows, cols]),
        "coo": sp.coo_array(T),
        "csr": sp.csr_matrix(T),
        "float32": T.astype(np.float32),
    }[kind]
    result = gwfast.exact_gw(C1, C2, p, start=start)
    assert "marginals were off by up to 0.003" in result.notes[0]
    np.testing.assert_allclose(result.plan.toarray().sum(axis=1), p, atol=1e-12)


def test_what_is_no_start_is_one_line():
    C = np.ones((3, 3)) - np.eye(3)
    with pytest.raises(gwfast.InputError, match=r"^start: expected shape \(3, 3\)"):
        gwfast.exact_gw(C, C, start=np.eye(2) / 2)
    with pytest.raises(gwfast.InputError, match=r"^start: its marginals differ"):
        gwfast.entropic_gw(C, C, start=np.eye(3))
    with pytest.raises(gwfast.InputError, match=r"^G0: exact_gw has no such argument; pass start"):
        gwfast.exact_gw(C, C, G0=np.eye(3) / 3)
    cloud = gwfast.PointCloud(np.zeros((1001, 2)), "sqeuclidean")
    plan = gwfast.Plan((1001, 1001), np.arange(1001), np.arange(1001), np.full(1001, 1 / 1001))
    with pytest.raises(gwfast.InputError, match=r"^start: a search without"):
        gwfast.exact_gw(cloud, cloud, start=plan)


@pytest.mark.parametrize("seed", range(8))
def test_the_best_permutation_is_found_and_proved(seed):
    rng = np.random.default_rng(seed)
    n, kind = 4 + seed % 4, ("normal", "graph", "cloud", "ties")[seed % 4]
    C1, C2 = cost(rng, n, kind, seed % 3 > 0), cost(rng, n, kind, seed % 3 > 0)
    M, alpha = (rng.normal(size=(n, n)), 0.5) if seed % 2 else (None, None)
    best = reference.best_permutation(C1, C2, M, 1.0 if alpha is None else alpha)
    quick = gwfast.exact_gw(C1, C2, M=M, alpha=alpha, permutations=True, effort="rows")
    assert quick.plan.permutation is not None
    assert quick.value == pytest.approx(best, rel=1e-9, abs=1e-12)
    assert quick.lower <= best
    proved = gwfast.exact_gw(C1, C2, M=M, alpha=alpha, permutations=True, rtol=1e-6, time_limit=5)
    assert proved.lower <= best + 1e-15 * abs(best)
    assert proved.gap <= 1e-6 or best == pytest.approx(proved.lower, abs=1e-9)
    assert "permutations" in proved.notes[0]


def test_permutations_are_above_couplings_and_their_bound_has_its_own_name():
    u = np.array([1.0, -1.0, 0.0])
    C1, C2 = np.outer(u, u), -np.outer(u, u)
    over = gwfast.exact_gw(C1, C2, permutations=True, rtol=1e-6)
    free = gwfast.exact_gw(C1, C2)
    assert over.lower > free.upper  # proved: here couplings are better
    assert over.certificate.best.theorem == "permutations"
    with pytest.raises(gwfast.InputError, match=r"^permutations: found 3 x 2 points"):
        gwfast.exact_gw(C1, np.eye(2), permutations=True)


def test_a_published_assignment_problem():
    ship = pytest.importorskip("scipy.optimize.tests.test_quadratic_assignment", reason="scipy without its tests")
    A, B, plan = ship.chr12c()
    least = float((A * B[np.ix_(plan, plan)]).sum())  # the published optimum
    n = len(A)
    result = gwfast.exact_gw(-A.astype(float), B.astype(float), loss="inner", permutations=True, effort="rows")
    value = result.value * n * n / 2
    assert least - 1e-6 <= value <= 1.05 * least
    assert result.lower * n * n / 2 <= least
