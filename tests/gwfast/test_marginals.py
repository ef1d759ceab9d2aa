"""Plans other than couplings: feasible sets, solvers, values."""

import itertools

import numpy as np
import ot
import pytest
import scipy.optimize

import gwfast
import reference
from gwfast.arrays import to_numpy
from gwfast.partial_scaling import filled, project_partial
from strategies import cost, weights

SETS = [gwfast.SemiRelaxed(), gwfast.Partial(0.35), gwfast.Partial(0.8), gwfast.Partial(1.0)]


def feasible(marginals, T, p, q):
    rows, columns = T.sum(axis=1), T.sum(axis=0)
    assert (T >= 0).all()
    if marginals.name == "semi_relaxed":
        np.testing.assert_allclose(rows, p, atol=1e-12)
    else:
        assert (rows <= p + 1e-12).all()
        assert (columns <= q + 1e-12).all()
        assert T.sum() == pytest.approx(marginals.mass, abs=1e-12)


def draw(rng, n, m, kind="cloud", symmetric=True):
    return (
        cost(rng, n, kind, symmetric),
        cost(rng, m, kind, symmetric),
        weights(rng, n, "spread"),
        weights(rng, m, "spread"),
    )


@pytest.mark.parametrize("marginals", SETS, ids=lambda s: f"{s.name}-{s.mass}")
@pytest.mark.parametrize("fused", [False, True])
def test_plans_are_feasible_and_values_are_theirs(marginals, fused, xp):
    rng = np.random.default_rng(0)
    for symmetric in (not fused,):
        C1, C2, p, q = draw(rng, 6, 4, symmetric=symmetric)
        M, alpha = (rng.normal(size=(6, 4)), 0.6) if fused else (None, None)
        given = (xp(C1), xp(C2), xp(p), None if marginals.name == "semi_relaxed" else xp(q))
        options = {"M": xp(M), "alpha": alpha, "marginals": marginals}
        exact = gwfast.exact_gw(*given, max_iter=5, **options)  # plans of any quality
        smooth = gwfast.entropic_gw(*given, epsilon=0.5, tol=1e-3, **options)
        for result in (exact, smooth):
            T = to_numpy(result.plan.toarray())
            feasible(marginals, T, p, q)
            expected = reference.objective(C1, C2, T, M, 0.6 if fused else 1.0)
            assert float(result.value) == pytest.approx(expected, rel=1e-10, abs=1e-12)
            assert expected <= float(result.upper)
            assert float(result.lower) <= expected
        audit = gwfast.certify(*given[:2], smooth.plan, *given[2:], effort="sort", **options)
        assert float(audit.upper) == pytest.approx(float(smooth.upper), rel=1e-9)


def test_values_are_no_higher_than_those_of_pot():
    rng = np.random.default_rng(1)
    ratios = {"semi": [], "partial": [], "fused": []}
    for _ in range(6):
        C1, C2, p, q = draw(rng, 11, 9)
        M, s = rng.random((11, 9)), float(rng.uniform(0.3, 0.9))
        pairs = {
            "semi": (
                gwfast.exact_gw(C1, C2, p, marginals=gwfast.SemiRelaxed()).value,
                reference.objective(C1, C2, ot.gromov.semirelaxed_gromov_wasserstein(C1, C2, p)),
            ),
            "partial": (
                gwfast.exact_gw(C1, C2, p, q, marginals=gwfast.Partial(s)).value,
                reference.objective(C1, C2, ot.gromov.partial_gromov_wasserstein(C1, C2, p, q, m=s)),
            ),
            "fused": (
                gwfast.exact_gw(C1, C2, p, q, M=M, alpha=0.5, marginals=gwfast.Partial(s)).value,
                reference.objective(
                    C1, C2, ot.gromov.partial_fused_gromov_wasserstein(M, C1, C2, p, q, m=s, alpha=0.5), M, 0.5
                ),
            ),
        }
        for kind, (ours, theirs) in pairs.items():
            ratios[kind].append(ours / max(theirs, 1e-12))
    for kind, found in ratios.items():
        assert np.mean(found) <= 1.0, kind
        assert max(found) <= 1.02, kind


def test_small_problems_are_solved_to_the_best_vertex():
    rng = np.random.default_rng(2)
    for _ in range(6):
        n, m = (int(k) for k in rng.integers(2, 5, 2))
        C1, C2, p, q = draw(rng, n, m)
        best = np.inf
        for labels in itertools.product(range(m), repeat=n):
            T = np.zeros((n, m))
            T[np.arange(n), labels] = p
            best = min(best, reference.objective(C1, C2, T))
        found = gwfast.exact_gw(C1, C2, p, marginals=gwfast.SemiRelaxed()).value
        assert found == pytest.approx(best, rel=1e-9, abs=1e-12)
        whole = gwfast.exact_gw(C1, C2, p, q).value
        assert found <= whole + 1e-12
        assert gwfast.exact_gw(C1, C2, p, q, marginals=gwfast.Partial(1.0)).value <= whole * (1 + 1e-6)
        some = [gwfast.exact_gw(C1, C2, p, q, marginals=gwfast.Partial(s)).value for s in (0.3, 0.6, 0.9)]
        assert some[0] <= some[1] * (1 + 1e-6) + 1e-9  # a share of a plan is a plan of less mass
        assert some[1] <= some[2] * (1 + 1e-6) + 1e-9


def test_the_linear_step_of_partial_plans_is_optimal_and_its_bound_is_proved():
    rng = np.random.default_rng(3)
    for _ in range(20):
        n, m, s = int(rng.integers(1, 6)), int(rng.integers(1, 6)), float(rng.uniform(0.05, 1.0))
        p, q, C = (
            rng.dirichlet(np.ones(n)),
            rng.dirichlet(np.ones(m)),
            rng.normal(size=(n, m)) * 10.0 ** rng.integers(-3, 4),
        )
        found = gwfast.Partial(s).minimum(C, p, q)
        A = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
        least = scipy.optimize.linprog(C.ravel(), A, np.append(p, q), np.ones((1, n * m)), [s]).fun
        value = float(C[found.rows, found.cols] @ found.mass)
        assert value == pytest.approx(least, rel=1e-7, abs=1e-9 * np.abs(C).max())
        assert found.lower <= value
        assert found.lower == pytest.approx(value, rel=1e-9, abs=1e-12 * np.abs(C).max())


def test_entropic_partial_transport_meets_its_conditions(xp):
    rng = np.random.default_rng(4)
    p, q, C = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(5)), rng.normal(size=(6, 5))
    for s, epsilon in itertools.product((0.2, 0.7, 0.99), (0.05, 1.0)):
        found = project_partial(xp(C), xp(p), xp(q), xp(np.zeros(5)), s, epsilon, 1e-12, 20_000)
        T, f, g = (to_numpy(x) for x in (found.plan, found.f, found.g))
        rows, columns = T.sum(axis=1), T.sum(axis=0)
        assert T.sum() == pytest.approx(s, abs=1e-10)
        assert (rows <= p + 1e-10).all()
        assert (columns <= q + 1e-10).all()
        level = epsilon * np.log(T) - (f[:, None] + g[None, :] - C)
        np.testing.assert_allclose(level, level[0, 0], atol=1e-9)  # T = exp((f + g + c - C) / epsilon)
        assert max(f.max(), g.max()) <= 1e-12
        np.testing.assert_allclose(f * (p - rows), 0, atol=1e-9)
        np.testing.assert_allclose(g * (q - columns), 0, atol=1e-9)


def test_filling_keeps_to_the_caps():
    rng = np.random.default_rng(5)
    for _ in range(50):
        n = int(rng.integers(1, 8))
        caps, logs = rng.dirichlet(np.ones(n)), rng.normal(size=n) * 10.0 ** rng.uniform(-1, 2)
        mass = float(rng.uniform(0, 1))
        found = np.exp(filled(logs, caps, mass))
        assert (found <= caps * (1 + 1e-12)).all()
        assert found.sum() == pytest.approx(mass, rel=1e-9)
    np.testing.assert_allclose(np.exp(filled(logs, caps, 1.0)), caps)


def test_what_does_not_go_together_is_one_line():
    C, p = np.ones((3, 3)) - np.eye(3), np.full(3, 1 / 3)
    with pytest.raises(gwfast.InputError, match=r"^q: found weights beside semi_relaxed plans"):
        gwfast.exact_gw(C, C, p, p, marginals=gwfast.SemiRelaxed())
    with pytest.raises(gwfast.InputError, match=r"^mass: expected a share"):
        gwfast.Partial(1.5)
    with pytest.raises(gwfast.InputError, match=r"^marginals: found a class, SemiRelaxed"):
        gwfast.exact_gw(C, C, marginals=gwfast.SemiRelaxed)
    with pytest.raises(gwfast.InputError, match=r"^marginals: expected a set of feasible plans, found 3"):
        gwfast.lower_bound(C, C, marginals=3)
    with pytest.raises(gwfast.InputError, match=r'^loss: found "inner" with partial plans'):
        gwfast.exact_gw(C, C, loss="inner", marginals=gwfast.Partial(0.5))
    with pytest.raises(gwfast.InputError, match=r"sorted_gw matches balanced ones"):
        gwfast.sorted_gw(gwfast.Problem.of(C, C, marginals=gwfast.Partial(0.5)))
    with pytest.raises(gwfast.InputError, match=r"^permutations: "):
        gwfast.exact_gw(C, C, marginals=gwfast.Partial(0.5), permutations=True)
    balanced = gwfast.exact_gw(C, C, marginals=gwfast.Balanced())
    assert balanced.lower == gwfast.exact_gw(C, C).lower
