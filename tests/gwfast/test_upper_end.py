"""Both ends of the interval hold the exact cost of the plan, in rational numbers, whatever the size of the costs."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

import gwfast
import reference
import strategies

KINDS = ("normal", "cloud", "graph", "gram", "ties", "low-rank")


def exact_cost(C1, C2, plan, M=None, alpha=1.0):
    """Objective of a plan in rational numbers; O(N^2) for N atoms."""
    rows, cols, mass = plan.atoms()
    mass = [Fraction(float(w)) for w in mass]
    a, b = ([[Fraction(float(x)) for x in row] for row in np.asarray(C)] for C in (C1, C2))
    total = Fraction(0)
    for i, k, w in zip(rows.tolist(), cols.tolist(), mass):
        total += w * sum((a[i][j] - b[k][l]) ** 2 * v for j, l, v in zip(rows.tolist(), cols.tolist(), mass))
    if M is None:
        return total
    share = Fraction(float(alpha))
    linear = sum(w * Fraction(float(M[i, k])) for i, k, w in zip(rows.tolist(), cols.tolist(), mass))
    return (1 - share) * linear + share * total


def problem(rng):
    """Costs with a common offset of 0 to 1e15 and a scale of 1e-150 to 1e150; sometimes weights, features, copies."""
    n, m = rng.integers(1, 7, size=2)
    symmetric, weighted = rng.random(2) < 0.5
    first, second = rng.choice(KINDS, size=2)
    C1, C2 = strategies.cost(rng, n, first, symmetric), strategies.cost(rng, m, second, symmetric)
    if rng.random() < 0.2:
        order = rng.permutation(n)
        C2, m = C1[np.ix_(order, order)], n
    offset = rng.choice([0.0, 1.0, -1.0]) * 10.0 ** rng.uniform(0, 15)
    scale = 10.0 ** (rng.uniform(-150, 134) if rng.random() < 0.5 else 0)
    C1, C2 = (scale * (C + offset) for C in (C1, C2))
    kind = rng.choice(["spread", "decades"]) if weighted else "uniform"
    p, q = strategies.weights(rng, n, kind), strategies.weights(rng, m, kind)
    M, alpha = None, 1.0
    if rng.random() < 0.3:
        M, alpha = rng.normal(size=(n, m)) * scale**2 * 10.0 ** rng.uniform(-3, 3), rng.choice([0.0, 0.3, 0.9])
    return C1, C2, p, q, M, alpha


def door(rng):
    return rng.choice(["sorted", "exact", "rows", "entropic", "certify"], p=[0.35, 0.2, 0.15, 0.2, 0.1])


def solve(name, C1, C2, p, q, M, alpha):
    share = None if M is None else float(alpha)
    if name == "entropic":
        size = max(np.abs(C1 - C1.mean()).max(), np.abs(C2 - C2.mean()).max()) ** 2 or 1.0
        return gwfast.entropic_gw(C1, C2, p, q, M=M, alpha=share, epsilon=max(0.05 * size, 1e-300), max_iter=20)
    if name == "sorted":
        return gwfast.sorted_gw(C1, C2, p, q, M=M, alpha=share)
    return gwfast.exact_gw(C1, C2, p, q, M=M, alpha=share, effort="rows" if name == "rows" else "sort")


@pytest.mark.filterwarnings("ignore:entropic_gw stopped:gwfast.ConvergenceWarning")
@pytest.mark.parametrize("seed", range(8))
def test_the_exact_cost_of_the_plan_lies_in_the_interval(seed):
    rng = np.random.default_rng(seed)
    for number in range(125):
        C1, C2, p, q, M, alpha = problem(rng)
        name = door(rng)
        result = solve("sorted" if name == "certify" else name, C1, C2, p, q, M, alpha)
        certificate = result.certificate
        if name == "certify":
            share = None if M is None else float(alpha)
            certificate = gwfast.certify(C1, C2, result.plan, p, q, M=M, alpha=share, effort="sort")
        exact = exact_cost(C1, C2, result.plan, M, alpha)
        assert Fraction(float(certificate.lower)) <= exact <= Fraction(float(certificate.upper)), (number, name)
        if number % 4:
            continue
        again = gwfast.verify(
            certificate, C1, C2, p, q, M=M, alpha=None if M is None else float(alpha), plan=result.plan
        )
        assert Fraction(float(again.lower)) <= exact <= Fraction(float(again.upper)), (number, name)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e7, 1e12, -1e9, 1e15])
def test_an_offset_that_both_costs_share_changes_no_answer(offset):
    rng = np.random.default_rng(0)
    # an eighth is the unit in the last place at 1e15: the offset itself rounds nothing
    C1, C2 = (np.round(8 * strategies.cost(rng, n, "normal")) / 8 for n in (6, 6))
    plain = gwfast.exact_gw(C1, C2, effort="rows")
    moved = gwfast.exact_gw(C1 + offset, C2 + offset, effort="rows")
    assert moved.value == pytest.approx(plain.value, rel=1e-12)
    assert moved.lower == pytest.approx(plain.lower, rel=1e-9)
    assert moved.upper == pytest.approx(plain.upper, rel=1e-12)
    assert moved.gap == pytest.approx(plain.gap, rel=1e-9)
    assert not moved.optimal
    assert f"{100 * moved.gap:.3g} %" in str(moved)


@pytest.mark.parametrize("spaces", ["dense", "torch", "fused", "weighted", "asymmetric"])
def test_offsets_of_every_kind_of_problem(spaces):
    rng = np.random.default_rng(1)
    C1, C2 = (np.round(8 * strategies.cost(rng, n, "normal", spaces != "asymmetric")) / 8 for n in (5, 6))
    M = rng.random((5, 6)) if spaces == "fused" else None
    p = np.array([1, 2, 3, 1, 1]) / 8 if spaces == "weighted" else None
    convert = (lambda x: x) if spaces != "torch" else pytest.importorskip("torch", reason="an extra").tensor
    answers = [
        gwfast.exact_gw(convert(C1 + shift), convert(C2 + shift), p, M=M, alpha=None if M is None else 0.5)
        for shift in (0.0, 1e14)
    ]
    assert float(answers[1].value) == pytest.approx(float(answers[0].value), rel=1e-12)
    assert float(answers[1].lower) == pytest.approx(float(answers[0].lower), rel=1e-8)


@pytest.mark.parametrize("offset", ["diagonal", "rows", "points", "constant of one side"])
def test_what_the_size_of_the_costs_hides_is_said(offset):
    # not shared by all costs, so it stays; a value near 1 drowns in the margins of bounds near 1e18
    rng = np.random.default_rng(2)
    large = (
        1e9
        * {
            "diagonal": 1 - np.eye(5),
            "rows": np.add.outer(np.arange(5.0), np.arange(5.0)),
            "points": np.outer(np.arange(5.0), np.ones(5)),
            "constant of one side": np.diag(np.arange(5.0)),
        }[offset]
    )
    noise = [np.round(8 * strategies.cost(rng, 5, "cloud")) / 8 for _ in range(2)]
    C1, C2 = (large + x for x in noise)
    result = gwfast.exact_gw(C1, C2, rtol=0.01, time_limit=1)
    exact = exact_cost(C1, C2, result.plan)
    assert Fraction(float(result.lower)) <= exact <= Fraction(float(result.upper))
    assert result.gap == (result.upper - result.lower) / result.upper > 0.01
    assert not result.optimal
    assert result.stop is gwfast.Stop.ROUNDING
    assert "hides the answer" in str(result)
    assert "optimal" not in str(result)


def test_a_gap_asked_for_is_a_gap_of_the_ends():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        C1, C2 = (strategies.cost(rng, 5, "normal") for _ in range(2))
        for offset in (0.0, 1e5, 1e9):
            result = gwfast.exact_gw(C1 + offset, C2 + offset, rtol=0.01, time_limit=20)
            assert result.stop in (gwfast.Stop.GAP_REACHED, gwfast.Stop.OPTIMAL, gwfast.Stop.EXHAUSTED)
            assert result.gap <= 0.01 or result.stop is gwfast.Stop.EXHAUSTED


def test_copies_are_optimal_whatever_their_weights_and_spaces():
    rng = np.random.default_rng(3)
    X, order = rng.normal(size=(9, 2)), rng.permutation(9)
    p = rng.dirichlet(np.ones(9))
    pairs = [
        (gwfast.PointCloud(X), gwfast.PointCloud(X[order])),
        (gwfast.PointCloud(X, "sqeuclidean"), gwfast.PointCloud(X[order], "sqeuclidean")),
        (gwfast.Gram(X.T), gwfast.Gram(X[order].T)),
        (gwfast.Dense(X @ X.T), gwfast.Dense((X @ X.T)[np.ix_(order, order)])),
    ]
    for x, y in pairs:
        for weights in (None, p):
            q = None if weights is None else weights[order]
            result = gwfast.exact_gw(x, y, weights, q)
            assert result.optimal, type(x).__name__
            assert result.upper <= 1e-20
            assert "none: optimal to rounding" in str(result)
    exact = gwfast.exact_gw(*pairs[0])
    assert exact.upper == exact.lower == exact.gap == 0


def test_a_gram_of_large_uncentred_factors_keeps_its_rounding_in_the_margin():
    # the costs themselves are rounded: their factors are given, and products of 1e7 and 1e7 lose .01
    rng = np.random.default_rng(4)
    H1, H2 = (np.round(8 * rng.normal(size=(2, 4))) / 8 + 2.0**25 for _ in range(2))
    for sparse in (False, True):
        import scipy.sparse

        wrap = scipy.sparse.csc_array if sparse else np.asarray
        result = gwfast.sorted_gw(gwfast.Gram(wrap(H1)), gwfast.Gram(wrap(H2)))
        grams = (
            [
                [sum(Fraction(float(u)) * Fraction(float(v)) for u, v in zip(H[:, i], H[:, j])) for j in range(4)]
                for i in range(4)
            ]
            for H in (H1, H2)
        )
        a, b = grams
        rows, cols, mass = result.plan.atoms()
        exact = sum(
            Fraction(float(w)) * Fraction(float(v)) * (a[i][j] - b[k][l]) ** 2
            for i, k, w in zip(rows, cols, mass)
            for j, l, v in zip(rows, cols, mass)
        )
        assert Fraction(float(result.lower)) <= exact <= Fraction(float(result.upper))


def test_an_entropic_plan_near_a_permutation_keeps_its_value():
    # the expanded form of a dense plan cancels to 1e-16 of the costs; the sum over its atoms does not
    rng = np.random.default_rng(5)
    C = strategies.cost(rng, 6, "cloud")
    noisy = C + 1e-9 * strategies.cost(rng, 6, "cloud")
    result = gwfast.entropic_gw(C, noisy, epsilon=1e-3)
    T = np.asarray(result.plan)
    assert result.value == pytest.approx(reference.objective(C, noisy, T), rel=1e-9)
    assert result.upper <= result.value * (1 + 1e-9)


COSTS, FEATURES, SHARES = (
    (-150, -120, -60, 0, 60, 120, 150),
    (-300, -24, -8, 0, 100, 250),
    (0.0, 1.0, 0.5, 1e-12, 1e-300),
)


def permutation_cost(C, D, target, M, alpha):
    """Objective of a permutation of equal weights, in fractions."""
    n = len(C)
    gaps = (Fraction(C[i, j]) - Fraction(D[target[i], target[j]]) for i in range(n) for j in range(n))
    structure = sum((gap * gap for gap in gaps), Fraction(0)) / n**2
    linear = sum((Fraction(M[i, target[i]]) for i in range(n)), Fraction(0)) / n
    return Fraction(alpha) * structure + (1 - Fraction(alpha)) * linear


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.filterwarnings("ignore:entropic_gw stopped:gwfast.ConvergenceWarning")
def test_costs_and_features_of_any_two_sizes(seed):
    """No unit of one term loses the other; a term without weight does not matter."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([1, 2, 4]))
    size, alpha = 10.0 ** rng.choice(COSTS), float(rng.choice(SHARES))
    C = rng.normal(size=(n, n)) * size
    D = C if rng.random() < 0.3 else rng.normal(size=(n, n)) * size
    M = (rng.normal(size=(n, n)) if rng.random() < 0.6 else rng.uniform(1, 2, (n, n))) * 10.0 ** rng.choice(FEATURES)
    best = min(permutation_cost(C, D, target, M, alpha) for target in itertools.permutations(range(n)))
    entropic = gwfast.entropic_gw(C, D, M=M, alpha=alpha, max_iter=10, solver="PPA" if seed % 2 else "PGD")
    for result in (gwfast.sorted_gw(C, D, M=M, alpha=alpha), gwfast.exact_gw(C, D, M=M, alpha=alpha), entropic):
        assert np.isfinite([result.value, result.upper]).all()
        assert Fraction(result.lower) <= best
        assert result.lower <= result.upper
        if not result.plan.is_dense and (target := result.plan.permutation) is not None:
            assert Fraction(result.upper) >= permutation_cost(C, D, target.tolist(), M, alpha)


def test_features_keep_their_value_beside_huge_costs_without_weight():
    rng = np.random.default_rng(0)
    C, D = rng.normal(size=(2, 4, 4)) * 1e150
    M = rng.uniform(1, 2, size=(4, 4)) * 1e-24
    result = gwfast.exact_gw(C, D, M=M, alpha=0.0)
    best = min(permutation_cost(C, D, target, M, 0.0) for target in itertools.permutations(range(4)))
    assert result.value == pytest.approx(float(best), rel=1e-12)
    assert result.gap < 1e-12


@pytest.mark.parametrize("offset", [1e6, 1e10, 1e13, 1e14, 1e15])
def test_an_offset_inside_factors_hides_the_answer_and_that_is_said(offset):
    rng = np.random.default_rng(0)
    x, y = (gwfast.Gram(rng.normal(size=(3, 6)) + offset) for _ in range(2))
    for _ in range(5):
        certificate = gwfast.certify(x, y, np.eye(6)[rng.permutation(6)] / 6)
        assert not certificate.optimal
