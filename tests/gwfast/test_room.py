"""Memory is said before a call starts, and what does not fit is refused; time limits hold for large problems."""

import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import gwfast
import reference
from gwfast import memory
from gwfast.schedule import bounds_bytes
from strategies import cost

CALLS = {
    "exact_gw": lambda a, b: gwfast.exact_gw(a, b),
    "entropic_gw": lambda a, b: gwfast.entropic_gw(a, b, epsilon=1.0, max_iter=30),
    "lower_bound": lambda a, b: gwfast.lower_bound(a, b),
    "certify": lambda a, b: gwfast.certify(a, b, np.full((a.shape[0], b.shape[0]), 1 / (a.shape[0] * b.shape[0]))),
}


def spaces(n, m):
    rng = np.random.default_rng(0)
    return cost(rng, n, "cloud"), cost(rng, m, "cloud")


@pytest.mark.parametrize("call", CALLS)
def test_what_does_not_fit_is_refused_in_one_line(call, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10_000)
    monkeypatch.setattr(memory, "POLICY", replace(memory.POLICY, checked_bytes=0))
    with pytest.raises(gwfast.InputError, match=rf"^C1, C2: {call} on 40 x 30 points takes about .* GB .* available"):
        CALLS[call](*spaces(40, 30))
    assert gwfast.sorted_gw(*spaces(40, 30)).value > 0


@pytest.mark.parametrize("call", CALLS)
def test_what_takes_much_is_said_before(call, monkeypatch, capsys):
    monkeypatch.setattr(memory, "POLICY", replace(memory.POLICY, said_bytes=1000))
    monkeypatch.setattr(memory, "POLICY", replace(memory.POLICY, checked_bytes=0))
    CALLS[call](*spaces(12, 9))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"gwfast: {call} on 12 x 9 points takes about ")


@pytest.mark.parametrize("kind", ["dense", "points", "factors"])
def test_the_estimate_of_a_solver_holds(kind):
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(500, 2)), rng.normal(size=(400, 2))
    make = {
        "dense": lambda x: np.linalg.norm(x[:, None] - x, axis=2),
        "points": gwfast.PointCloud,
        "factors": lambda x: gwfast.Gram(x.T),
    }[kind]
    first, second = make(X), make(Y)
    gwfast.exact_gw(make(X[:9]), make(Y[:9]))
    estimate = memory.solver_bytes(reference.problem_of(first, second, None, None, None, None))
    tracemalloc.start()
    gwfast.exact_gw(first, second, max_iter=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.2 * estimate < peak < 1.1 * estimate


def test_the_estimate_of_the_bounds_holds():
    first, second = spaces(400, 300)
    estimate = bounds_bytes(reference.problem_of(first, second, None, None, None, None))
    tracemalloc.start()
    gwfast.lower_bound(first, second)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.2 * estimate < peak < 1.1 * estimate


def test_what_the_system_tells():
    found = memory.available()
    assert found is None or found > 1e6


@pytest.mark.parametrize(("n", "m"), [(900, 900), (1500, 700)])
def test_a_limit_holds_where_one_linear_program_would_pass_it(n, m):
    first, second = spaces(n, m)
    a, b = n // 5, m // 5
    gwfast.exact_gw(first[:a, :a], second[:b, :b])  # compiled
    begin = time.process_time()
    result = gwfast.exact_gw(first, second, time_limit=0.4)
    # processor seconds, which other work does not stretch; several threads may work at a time
    assert time.process_time() - begin < 4
    assert result.stop is gwfast.Stop.TIME_LIMIT
    assert result.value <= gwfast.sorted_gw(first, second).value


def test_bounds_that_a_memory_limit_leaves_out_are_said():
    rng = np.random.default_rng(0)
    C1, C2 = (np.linalg.norm(x[:, None] - x, axis=2) for x in rng.normal(size=(2, 12, 3)))
    result = gwfast.exact_gw(C1, C2, effort="dual", time_limit=60, memory_limit=1e4)
    assert result.stop is gwfast.Stop.MEMORY_LIMIT
    assert "raise memory_limit" in str(result)
    assert "reformulation" not in {b.theorem for b in result.certificate.bounds}
