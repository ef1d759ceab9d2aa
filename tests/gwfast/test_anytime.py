"""Efforts, gaps, limits and interruptions of the anytime run."""

import signal
import threading

import numpy as np
import pytest

import gwfast
import reference
from gwfast import EFFORTS
from gwfast.anytime import Progress, prove
from gwfast.budget import Budget
from gwfast.heuristics.annealing import schedule_for
from gwfast.heuristics.descent import Descent
from strategies import cost


class Clock:
    """A clock on which time passes by looking at it."""

    def __init__(self):
        self.seconds = 0.0

    def now(self):
        self.seconds += 0.01
        return self.seconds


def noisy_pair(n, noise, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    return gwfast.PointCloud(x), gwfast.PointCloud(x[rng.permutation(n)] + noise * rng.normal(size=(n, 3)))


def test_more_effort_proves_no_less():
    rng = np.random.default_rng(1)
    C1, C2 = cost(rng, 8, "cloud"), cost(rng, 7, "cloud")
    lower = [gwfast.lower_bound(C1, C2, effort=e, time_limit=30).lower for e in EFFORTS]  # none needs a second
    assert lower == sorted(lower)
    assert lower[-1] > 1.1 * lower[0]


def test_a_proof_that_no_limit_cuts_repeats_to_the_bit():
    C1, C2 = (cost(np.random.default_rng(s), 9, "cloud") for s in (5, 6))
    first, second = (gwfast.exact_gw(C1, C2, effort="dual", time_limit=60).certificate for _ in range(2))
    assert first.lower == second.lower
    assert [b.value for b in first.bounds] == [b.value for b in second.bounds]


def test_a_lower_bound_is_as_good_without_the_callers_plan():
    x, y = noisy_pair(16, 0.1)
    value = gwfast.exact_gw(x, y).value
    assert 0.999 * value <= gwfast.lower_bound(x, y, effort="dual", time_limit=60).lower <= value


@pytest.mark.parametrize("weighted", [False, True])
def test_a_noisy_copy_is_proved(weighted):
    x, y = noisy_pair(12, 0.1)
    p = q = None
    if weighted:
        p = q = np.random.default_rng(2).dirichlet(np.full(12, 5.0))
    result = gwfast.exact_gw(x, y, p, q, rtol=1e-2, time_limit=30)
    assert result.stop in (gwfast.Stop.GAP_REACHED, gwfast.Stop.OPTIMAL)
    assert result.gap <= 1e-2


def test_small_clouds_are_solved_to_optimality():
    rng = np.random.default_rng(3)
    for _ in range(3):
        C1, C2 = cost(rng, 6, "cloud"), cost(rng, 6, "cloud")
        result = gwfast.exact_gw(C1, C2, rtol=1e-6, time_limit=30)
        optimum = reference.best_permutation(C1, C2)
        assert result.gap <= 1e-6
        assert result.lower <= optimum <= result.value * (1 + 1e-12)


def test_fused_and_asymmetric_problems_climb_too():
    rng = np.random.default_rng(4)
    C1, C2 = cost(rng, 6, "normal", symmetric=False), cost(rng, 5, "normal", symmetric=False)
    M = rng.normal(size=(6, 5))
    result = gwfast.exact_gw(C1, C2, M=M, alpha=0.6, rtol=1e-3, time_limit=8)
    p, q = np.full(6, 1 / 6), np.full(5, 1 / 5)
    found = reference.best_descent(C1, C2, p, q, 10, rng, M, 0.6)
    assert result.lower <= found + 1e-12
    assert result.value <= found + 1e-9


def test_each_bound_says_what_it_cost():
    x, y = noisy_pair(8, 0.3)
    result = gwfast.exact_gw(x, y, effort="dual", time_limit=3)
    assert all(bound.seconds >= 0 for bound in result.certificate.bounds)


@pytest.mark.parametrize("seconds", [1.0, 5.0, 20.0])
def test_the_time_limit_holds(seconds):
    """On a clock on which a hundredth of a second passes at every look: a piece of work takes a few looks."""
    rng = np.random.default_rng(5)
    problem = reference.problem_of(cost(rng, 12, "graph"), cost(rng, 12, "graph"))
    clock = Clock()
    budget = Budget(clock=clock.now).within(seconds)
    options = Descent(schedule_for(*problem.shape), budget=budget)
    found, _ = prove(problem, "prove", 0.0, budget, options, Progress(False, 0.0))
    assert found.stop is gwfast.Stop.TIME_LIMIT
    assert 0.5 * seconds <= clock.seconds <= seconds + 1.0


def test_the_memory_limit_holds():
    rng = np.random.default_rng(6)
    certificate = gwfast.lower_bound(
        cost(rng, 20, "cloud"), cost(rng, 20, "cloud"), effort="dual", memory_limit=1e5, time_limit=5
    )
    assert "reformulation" not in {b.theorem for b in certificate.bounds}


def test_progress_lines(capsys):
    x, y = noisy_pair(8, 0.1)
    gwfast.exact_gw(x, y, rtol=0.05, time_limit=10, verbose=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert all("incumbent" in line and "bound" in line and "gap" in line for line in lines)


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals reach the main thread")
def test_an_interruption_returns_the_best_so_far():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    rng = np.random.default_rng(7)
    C1, C2 = cost(rng, 60, "graph"), cost(rng, 60, "graph")
    gwfast.exact_gw(C1[:10, :10], C2[:10, :10], effort="dual", time_limit=2)  # compiled
    done = threading.Event()

    def interrupt():
        # again where it was lost: Python drops an interruption that falls into the compilation of a kernel
        while not done.wait(2.0):
            signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    result = gwfast.exact_gw(C1, C2, rtol=1e-9, time_limit=60)
    done.set()
    signal.signal(signal.SIGINT, before)
    assert result.stop is gwfast.Stop.INTERRUPTED
    assert 0 <= result.lower <= result.value


@pytest.mark.parametrize("argument", [{"rtol": -1.0}, {"rtol": "small"}, {"time_limit": 0.0}, {"memory_limit": -5.0}])
def test_bad_limits(argument):
    with pytest.raises(gwfast.InputError, match=next(iter(argument))):
        gwfast.exact_gw(np.eye(2), np.eye(2), **argument)
