"""Bounds where a marginal is free: against labels, interior plans and descents, with no tolerance but their margin."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize

import gwfast
import reference
from gwfast.heuristics.labels import field_of
from gwfast.methods import METHODS
from gwfast.presolve import presolve
from gwfast.searches.label_search import Ascent, own_cost
from strategies import KINDS, cost

SEMI = gwfast.SemiRelaxed()


def zeroed(C):
    C = C.copy()
    np.fill_diagonal(C, 0.0)
    return C


def best_labels(C1, C2, p, M=None, alpha=1.0):
    n, m = len(C1), len(C2)
    tables = [np.eye(m)[list(labels)] * p[:, None] for labels in itertools.product(range(m), repeat=n)]
    return min(reference.objective(C1, C2, T, M, alpha) for T in tables)


@pytest.mark.parametrize("seed", range(6))
def test_no_plan_is_below_a_bound_of_semi_relaxed_problems(seed):
    rng = np.random.default_rng(seed)
    for k in range(6):
        n, m = (int(x) for x in rng.integers(1, 5, 2))
        kind, zero = KINDS[(seed + k) % len(KINDS)], k % 2 == 0
        C1, C2 = cost(rng, n, kind, k % 3 > 0), cost(rng, m, kind, k % 3 > 0)
        C1, C2 = (zeroed(C1), zeroed(C2)) if zero else (C1, C2)
        if kind == "scaled":
            C2 = C2 * (np.abs(C1).max() + 1e-30) / (np.abs(C2).max() + 1e-30)
        size = float(np.abs(C1).max()) ** 2 + 1e-300
        M, alpha = (rng.normal(size=(n, m)) * size, 0.6) if seed % 2 else (None, 1.0)
        p = rng.dirichlet(np.ones(n))
        options = {"M": M, "alpha": None if M is None else alpha, "marginals": SEMI}
        proved = gwfast.lower_bound(C1, C2, p, effort="prove", time_limit=0.5, **options)
        least = best_labels(C1, C2, p, M, alpha)
        for _ in range(60):
            T = p[:, None] * rng.dirichlet(np.ones(m) * rng.choice([0.1, 0.5, 1]), n)
            least = min(least, reference.objective(C1, C2, T, M, alpha))
        found = gwfast.exact_gw(C1, C2, p, **options)
        for bound in proved.bounds:
            assert bound.value <= least * (1 + 1e-14 * np.sign(least)), bound
            assert bound.value <= found.upper, bound
        assert "sign" in {b.theorem for b in proved.bounds}
        if zero:
            assert proved.lower == pytest.approx(least, rel=1e-9, abs=1e-11 * size)


def test_labels_are_not_enough_for_a_partition_and_the_search_is_refused():
    C1, C2 = np.zeros((3, 3)), np.eye(2)  # three points without an edge in two parts: halves beat two and one
    found = gwfast.exact_gw(C1, C2, marginals=SEMI, rtol=1e-6, time_limit=2)
    assert found.value == pytest.approx(0.5)
    assert best_labels(C1, C2, np.full(3, 1 / 3)) == pytest.approx(5 / 9)
    assert "semi-relaxed-search" not in {b.theorem for b in found.certificate.bounds}
    assert found.lower <= 0.5
    problem = presolve(gwfast.Problem.of(C1, C2, marginals=SEMI)).problem
    assert not own_cost(problem, field_of(problem))[1]


def local_polytope(C1, C2, p):
    """The linear program over marginals of labels and of pairs of labels."""
    n, m = len(C1), len(C2)
    L, pairs = (C1[:, :, None, None] - C2) ** 2, list(itertools.combinations(range(n), 2))
    c, rows, right = np.zeros(n * m + len(pairs) * m * m), [], []
    for i in range(n):
        c[i * m : i * m + m] = p[i] ** 2 * np.diag(L[i, i])
        row = np.zeros(len(c))
        row[i * m : i * m + m] = 1
        rows.append(row)
        right.append(1.0)
    for e, (i, j) in enumerate(pairs):
        at = n * m + e * m * m
        c[at : at + m * m] = (p[i] * p[j] * (L[i, j] + L[j, i].T)).ravel()
        for k in range(m):
            for place, own in ((slice(at + k * m, at + k * m + m), i), (slice(at + k, at + m * m, m), j)):
                row = np.zeros(len(c))
                row[place], row[own * m + k] = 1, -1
                rows.append(row)
                right.append(0.0)
    return scipy.optimize.linprog(c, A_eq=np.array(rows), b_eq=right, method="highs").fun


def test_the_dual_reaches_its_linear_program():
    rng = np.random.default_rng(1)
    for k in range(6):
        C1, C2 = (zeroed(cost(rng, n, ("cloud", "normal")[k % 2])) for n in (5, 4))
        p = rng.dirichlet(np.ones(5))
        proved = gwfast.lower_bound(C1, C2, p, marginals=SEMI, effort="dual", time_limit=5)["semi-relaxed-dual"]
        least = local_polytope(C1, C2, p)
        assert 0.98 * least <= proved.value <= least * (1 + 1e-12)


def test_any_messages_prove_no_more_than_the_optimum():
    rng = np.random.default_rng(2)
    C1, C2, p = zeroed(cost(rng, 4, "normal")), zeroed(cost(rng, 3, "normal")), rng.dirichlet(np.ones(4))
    least = best_labels(C1, C2, p)
    for scale in (0.0, 1e-3, 0.1, 1.0, 1e3):
        ascent = Ascent(presolve(gwfast.Problem.of(C1, C2, p, marginals=SEMI)).problem)
        ascent.messages = rng.normal(size=ascent.messages.shape) * scale
        ascent.certify()
        assert ascent.best.value <= least


@pytest.mark.parametrize("seed", range(4))
def test_no_plan_is_below_the_bound_of_partial_problems(seed):
    rng = np.random.default_rng(seed)
    for k in range(2):
        n, m, s = int(rng.integers(2, 6)), int(rng.integers(2, 6)), float(rng.uniform(0.1, 1))
        C1, C2 = (cost(rng, size, KINDS[(2 * seed + k) % 6], k % 3 > 0) for size in (n, m))
        M, alpha = (rng.normal(size=(n, m)), 0.6) if seed % 2 else (None, 1.0)
        p, q = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
        marginals = gwfast.Partial(s)
        options = {"M": M, "alpha": None if M is None else alpha, "marginals": marginals}
        proved = gwfast.lower_bound(C1, C2, p, q, effort="dual", **options)
        values = {b.theorem: b.value for b in proved.bounds}
        assert values["partial-pairs"] >= values["partial-rows"] * (1 - 1e-9 * np.sign(values["partial-rows"])) - 1e-12
        for _ in range(100):
            step = marginals.minimum(rng.normal(size=(n, m)), p, q)
            T = np.zeros((n, m))
            np.add.at(T, (step.rows, step.cols), step.mass)
            value = reference.objective(C1, C2, T, M, alpha)
            assert proved.lower <= value + 1e-15 * abs(value)
        found = gwfast.exact_gw(C1, C2, p, q, effort="dual", **options)
        assert proved.lower <= found.upper
        assert found.lower == proved.lower


def test_the_best_partial_match_of_few_points():
    rng = np.random.default_rng(3)
    shares, reached = [], 0
    for _ in range(10):
        n, k = 4, int(rng.integers(2, 5))
        C1, C2 = (cost(rng, n, "cloud") for _ in range(2))
        best = np.inf
        for rows in itertools.combinations(range(n), k):
            for cols in itertools.permutations(range(n), k):
                T = np.zeros((n, n))
                T[list(rows), list(cols)] = 1 / n
                best = min(best, reference.objective(C1, C2, T))
        result = gwfast.exact_gw(C1, C2, marginals=gwfast.Partial(k / n), effort="rows")
        assert result.lower <= best
        reached += result.value <= best * (1 + 1e-6) + 1e-12
        shares.append(result.lower / best if best > 1e-9 else 1.0)
    assert np.mean(shares) > 0.3
    assert reached >= 9


def test_certificates_of_free_marginals_are_proved_again():
    rng = np.random.default_rng(4)
    C1, C2, p = zeroed(cost(rng, 5, "cloud")), zeroed(cost(rng, 4, "cloud")), rng.dirichlet(np.ones(5))
    found = gwfast.exact_gw(C1, C2, p, marginals=SEMI, rtol=1e-6)
    assert found.gap <= 1e-6
    again = gwfast.verify(found.certificate, C1, C2, p, marginals=SEMI, plan=found.plan)
    assert {b.theorem for b in again.bounds} == {"sign", "semi-relaxed-rows"}
    assert again.upper == found.upper
    assert "semi-relaxed-search" in again.unverified
    for method in METHODS:  # and no bound of couplings enters
        whole = presolve(gwfast.Problem.of(C1, C2, marginals=gwfast.Partial(0.5))).problem
        assert method.applies(whole) == (method.name in ("sign", "partial rows", "partial pairs"))


def exact_objective(C1, C2, T):
    """Squared loss of a plan in rational numbers."""
    T = [[Fraction(float(v)) for v in row] for row in T]
    rows, cols = range(len(T)), range(len(T[0]))
    atoms = [(i, k, T[i][k]) for i in rows for k in cols if T[i][k]]
    return sum(s * t * (C1[i][j] - C2[k][l]) ** 2 for i, k, s in atoms for j, l, t in atoms)


@pytest.mark.parametrize("kind", ["sqeuclidean", "gram", "rows"])
@pytest.mark.parametrize("marginals", [SEMI, gwfast.Partial(1.0), gwfast.Unbalanced(1e-20)], ids=lambda s: s.name)
def test_costs_that_are_rounded_keep_their_error_where_a_marginal_is_free(kind, marginals):
    """Both ends against rational numbers: near copies, far from the origin."""
    rng = np.random.default_rng(5)
    for _ in range(4):
        X = rng.normal(size=(4, 2)) * 8 + (1e6 if kind == "gram" else 0.0)
        Y = X + 1e-7 * rng.normal(size=X.shape)
        exact = [[[Fraction(float(v)) for v in point] for point in Z] for Z in (X, Y)]
        if kind == "gram":
            costs = [[[sum(a * b for a, b in zip(x, y)) for y in Z] for x in Z] for Z in exact]
            given = [gwfast.Gram(Z.T) for Z in (X, Y)]
        else:
            costs = [[[sum((a - b) ** 2 for a, b in zip(x, y)) for y in Z] for x in Z] for Z in exact]
            given = [gwfast.PointCloud(Z, "sqeuclidean") for Z in (X, Y)]
        if kind == "rows":
            rounded = [np.round(space.dense(), 3) for space in given]
            given = [gwfast.Rows(4, lambda i, C=C: C[i], rounding=1e-3) for C in rounded]
        T = np.eye(4) / 4
        audit = gwfast.certify(*given, T, marginals=marginals, effort="rows")
        value = exact_objective(*costs, T)
        assert Fraction(float(audit.upper)) >= value
        assert Fraction(float(audit.lower)) <= value
        one = np.zeros((1, 1))  # the only plan of couplings
        found = gwfast.exact_gw(given[0], one, marginals=SEMI, effort="rows")
        only = sum(c * c for row in costs[0] for c in row) / 16
        assert Fraction(float(found.lower)) <= only <= Fraction(float(found.upper))
