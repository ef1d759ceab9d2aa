"""Many problems at once."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gwfast
from strategies import cost


def data(count=6, seed=0):
    rng = np.random.default_rng(seed)
    return [cost(rng, int(rng.integers(4, 9)), "cloud") for _ in range(count)]


@pytest.mark.parametrize("method", ["exact", "sorted"])
def test_every_pair_is_the_single_call(method):
    spaces = data()
    with ThreadPoolExecutor(2) as pool:
        table = gwfast.pairwise_gw(spaces, method=method, executor=pool)
    door = gwfast.exact_gw if method == "exact" else gwfast.sorted_gw
    assert table.value[1, 4] == door(spaces[1], spaces[4]).value
    np.testing.assert_array_equal(table.value, table.value.T)
    np.testing.assert_array_equal(np.diag(table.value), 0)
    assert (table.lower <= table.value).all()


def test_processes_give_the_same_table():
    spaces = data(3)
    with ThreadPoolExecutor(1) as pool:
        expected = gwfast.pairwise_gw(spaces, executor=pool)
    found = gwfast.pairwise_gw(spaces, progress=False)
    np.testing.assert_array_equal(found.value, expected.value)


def test_progress(capsys):
    with ThreadPoolExecutor(1) as pool:
        gwfast.pairwise_gw(data(3), method="sorted", executor=pool, progress=True)
    assert "3 of 3 pairs" in capsys.readouterr().err


def test_nearest_agrees_with_all_pairs_and_skips_some():
    rng = np.random.default_rng(1)
    spaces = data(8, seed=2)
    order = rng.permutation(len(spaces[3]))
    query = spaces[3][np.ix_(order, order)] + 1e-3
    found = gwfast.nearest(query, spaces, k=2)
    values = np.array([gwfast.exact_gw(query, s).value for s in spaces])
    np.testing.assert_array_equal(found.index, np.argsort(values)[:2])
    assert found.index[0] == 3
    assert 2 <= found.solved < len(spaces)


def test_bad_input():
    with pytest.raises(gwfast.InputError, match="spaces: expected at least two"):
        gwfast.pairwise_gw([np.eye(2)])
    with pytest.raises(gwfast.InputError, match="k: expected at most"):
        gwfast.nearest(np.eye(2), [np.eye(2)], k=2)
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(gwfast.InputError, match=r"spaces\[1\] as C2: C2: expected a square"),
    ):
        gwfast.pairwise_gw([np.eye(2), np.ones((2, 3))], executor=pool)
    with pytest.raises(gwfast.InputError, match=r"spaces\[1\] as C2: C2: expected a square"):
        gwfast.nearest(np.eye(2), [np.eye(2), np.ones((2, 3))], k=1)
    with pytest.raises(gwfast.InputError, match="spaces: expected a list"):
        gwfast.pairwise_gw(None)
    with pytest.raises(gwfast.InputError, match="spaces: expected a list"):
        gwfast.nearest(np.eye(2), gwfast.Dense(np.eye(2)), k=1)
    with pytest.raises(gwfast.InputError, match="executor: expected"):
        gwfast.pairwise_gw([np.eye(2), np.eye(3)], executor=2)


def test_tensors_on_the_tape():
    torch = pytest.importorskip("torch", reason="torch is an extra")
    plain = data(3)
    taped = [torch.tensor(C, requires_grad=True) for C in plain]
    with ThreadPoolExecutor(1) as pool:
        found = gwfast.pairwise_gw(taped, executor=pool, method="sorted")
        expected = gwfast.pairwise_gw(plain, executor=pool, method="sorted")
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-12)
    assert gwfast.nearest(taped[0], taped, k=1).index == [0]


class Counting(ThreadPoolExecutor):
    """An executor that counts the calls which have been handed over and not been answered."""

    most = 0

    def submit(self, fn, /, *args, **kwargs):
        future = super().submit(fn, *args, **kwargs)
        self.waiting = [f for f in getattr(self, "waiting", []) if not f.done()] + [future]
        self.most = max(self.most, len(self.waiting))
        return future


def test_calls_under_way_are_few():
    with Counting(1) as pool:
        gwfast.pairwise_gw([np.eye(2)] * 20, method="sorted", executor=pool)
    assert 1 < pool.most <= 8


DYING = """
import os, sys, numpy as np, gwfast
from gwfast import pairwise

def dying(method, first, second):
    marker = sys.argv[1]
    if len(first) == 3 and (sys.argv[2] == "always" or not os.path.exists(marker)):
        open(marker, "w").close()
        os.kill(os.getpid(), 9)
    return float(len(first)), 0.0

pairwise._solve = dying
try:
    print(gwfast.pairwise_gw([np.eye(n) for n in (2, 3, 4, 5)]).value[1, 2])
except gwfast.WorkerError as error:
    print("WorkerError", error)
"""
NO_GUARD = """
import multiprocessing, sys
multiprocessing.set_start_method(sys.argv[1])
import numpy as np, gwfast
print(gwfast.pairwise_gw([np.eye(n) for n in (2, 3)], method="sorted").value.shape)
"""
ORPHANS = """
import time, numpy as np, gwfast
from gwfast import pairwise, workers

def slow(*_):
    print(__import__("os").getpid(), flush=True)
    time.sleep(600)

pairwise._solve = slow
gwfast.pairwise_gw([np.eye(2)] * 4)
"""


def script(tmp_path, text, *arguments):
    path = tmp_path / "script.py"
    path.write_text(text)
    return [sys.executable, str(path), *map(str, arguments)]


@pytest.mark.skipif(multiprocessing.get_start_method() != "fork", reason="the fault is planted by a fork")
def test_a_dead_worker_is_one_line(tmp_path):
    run = lambda how: subprocess.run(
        script(tmp_path, DYING, tmp_path / how, how), capture_output=True, text=True, timeout=120
    )
    once, always = run("once"), run("always")
    assert once.stdout == "3.0\n"
    assert once.stderr.count("\n") == 1
    assert "a worker process died near spaces[" in once.stderr
    assert always.stdout.startswith("WorkerError a worker process died at spaces[1] as C1")
    assert always.stdout.count("\n") == 1
    assert always.returncode == 0


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_a_script_without_main_guard(tmp_path, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("not on this system")
    done = subprocess.run(script(tmp_path, NO_GUARD, method), capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("(2, 2)\n", "")


@pytest.mark.skipif(multiprocessing.get_start_method() != "fork", reason="the fault is planted by a fork")
def test_workers_end_with_a_killed_parent(tmp_path):
    parent = subprocess.Popen(script(tmp_path, ORPHANS), stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not _alive(worker):
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    raise AssertionError("a worker outlived its parent by ten seconds")


def _alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = f"/proc/{process}/stat"
    if not os.path.exists(status):
        return True
    with open(status) as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"
