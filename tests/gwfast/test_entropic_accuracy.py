"""Entropic runs at small temperatures: they meet their tolerance, in both libraries alike, and give their duals."""

import numpy as np
import pytest

import gwfast
from gwfast.heuristics.annealing import loss_scale
from gwfast.presolve import presolve
from strategies import cost


def pairs(count):
    rng = np.random.default_rng(0)
    for k in range(count):
        n, m = ((10, 10), (14, 11), (20, 20))[k % 3]
        kind = ("cloud", "graph")[k % 2]
        yield cost(rng, n, kind), cost(rng, m, kind)


@pytest.mark.parametrize("share", [0.01, 0.005])
def test_cold_runs_converge_and_the_libraries_agree(share):
    torch = pytest.importorskip("torch", reason="torch is an extra")
    for C1, C2 in pairs(4):  # a warning that the tolerance was not met is an error here
        ours = gwfast.entropic_gw(C1, C2, epsilon=share, relative=True)
        theirs = gwfast.entropic_gw(torch.tensor(C1), torch.tensor(C2), epsilon=share, relative=True)
        assert ours.stop is theirs.stop is gwfast.Stop.MARGINALS
        assert ours.value == pytest.approx(float(theirs.value), rel=1e-6)
        assert ours.regularised == pytest.approx(float(theirs.regularised), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(("share", "scale"), [(0.2, 1.0), (0.2, 1e6), (0.025, 1.0)])
def test_potentials_give_the_plan_back_and_a_relative_temperature_has_no_unit(share, scale):
    C1, C2 = (scale * C for C in next(pairs(1)))
    result = gwfast.entropic_gw(C1, C2, epsilon=share, relative=True, tol=1e-7, max_iter=5000)
    problem = gwfast.Problem.of(C1, C2)
    epsilon = share * loss_scale(presolve(problem).problem) * presolve(problem).unit
    same = gwfast.entropic_gw(C1, C2, epsilon=epsilon, tol=1e-7, max_iter=5000)
    assert float(same.value) == pytest.approx(float(result.value), rel=1e-6)
    T = result.plan.toarray()
    f, g = (np.asarray(x) for x in result.potentials)
    logs = (f[:, None] + g[None, :] - np.asarray(problem.gradient(T))) / epsilon
    T = np.asarray(T)
    heavy = T > 1e-6
    np.testing.assert_allclose(logs[heavy], np.log(T[heavy]), atol=2e-3)
    entropy = (T[T > 0] * np.log(T[T > 0])).sum()
    assert float(result.regularised) == pytest.approx(float(result.value) + epsilon * entropy, rel=1e-9)


def test_proximal_steps_meet_their_tolerance_and_give_no_duals():
    C1, C2 = next(pairs(1))
    result = gwfast.entropic_gw(C1, C2, epsilon=0.2, relative=True, solver="PPA")
    assert result.stop is gwfast.Stop.MARGINALS
    assert np.isnan(result.regularised)
    assert result.potentials is None
    assert result.value <= gwfast.entropic_gw(C1, C2, epsilon=0.2, relative=True).value


def test_steps_that_would_rise_are_shortened():
    rng = np.random.default_rng(1)
    for _ in range(2):  # with a free marginal the objective is not concave, and full steps cycle
        C1, C2 = cost(rng, 8, "normal"), cost(rng, 6, "normal")
        result = gwfast.entropic_gw(C1, C2, epsilon=0.02, relative=True, marginals=gwfast.Partial(0.4))
        assert result.stop is gwfast.Stop.MARGINALS
