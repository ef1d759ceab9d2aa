"""Tables on a real dask cluster and on MPI: the values of threads, also where a worker dies in the middle."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import gwfast
from gwfast.many import executors

dask = pytest.importorskip("dask", reason="dask is not installed")
distributed = pytest.importorskip("distributed", reason="distributed is not installed")


def spaces(count=140, most=6, seed=5):
    rng = np.random.default_rng(seed)
    points = [rng.normal(size=(int(rng.integers(2, most)), 2)) for _ in range(count)]
    return [np.linalg.norm(x[:, None] - x, axis=2) for x in points]


@pytest.fixture
def client():
    """Two workers, each a process of its own; a task is given up where two of them died on it."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def slow(*arguments):
    """A block that takes its time, so that a worker can die in the middle of the table."""
    from gwfast.many.blocks import answer

    time.sleep(0.3)
    return answer(*arguments)


def test_dask_gives_the_table_of_threads(client):
    given = spaces()
    table = gwfast.pairwise_gw(given, quality="fast", effort="rows")
    for executor in ("dask", client.get_executor(pure=False)):
        other = gwfast.pairwise_gw(given, quality="fast", effort="rows", executor=executor)
        np.testing.assert_array_equal(other.values, table.values)
        np.testing.assert_array_equal(other.lowers, table.lowers)


def test_a_cluster_that_is_started_for_a_table_ends_with_it():
    table = gwfast.pairwise_gw(spaces(6), quality="fast", executor="dask")
    np.testing.assert_array_equal(table.values, gwfast.pairwise_gw(spaces(6), quality="fast").values)
    with pytest.raises(ValueError, match="No global client found"):
        distributed.get_client()


@pytest.mark.nightly
def test_a_worker_that_dies_changes_nothing(client, tmp_path, monkeypatch):
    given = spaces(260)
    table = gwfast.pairwise_gw(given, quality="fast")
    victim = next(iter(client.run(os.getpid).values()))
    out = tmp_path / "table"
    monkeypatch.setattr(executors, "answer", slow)

    def kill():
        for _ in range(400):
            if list(out.glob("block-*.npy")):
                break
            time.sleep(0.05)
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    other = gwfast.pairwise_gw(given, quality="fast", executor="dask", out=out)
    killer.join()
    np.testing.assert_array_equal(other.values, table.values)
    np.testing.assert_array_equal(other.lowers, table.lowers)
    assert victim not in client.run(os.getpid).values()


def fatal(*arguments):
    """A block that kills the worker it runs on."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.nightly
def test_a_block_that_kills_every_worker_is_one_line_and_the_table_goes_on(client, tmp_path, monkeypatch):
    given, solve, count = spaces(), executors.answer, [0]
    out = tmp_path / "table"

    def submitted(executor, block):
        count[0] += 1
        task = fatal if count[0] == 3 else solve
        return executor.submit(task, *executors._travelling(data[0], block), asked[0])

    data, asked, how = [], [], executors._how

    def patched(given_data, given_asked, executor, stack):
        start, _, own = how(given_data, given_asked, executor, stack)
        data.append(given_data)
        asked.append(given_asked)
        return start, submitted, own

    monkeypatch.setattr(executors, "_how", patched)
    with pytest.raises(gwfast.WorkerError, match="dask: a worker process died at every try of a block"):
        gwfast.pairwise_gw(given, quality="fast", executor="dask", out=out)
    monkeypatch.undo()
    whole = gwfast.pairwise_gw(given, quality="fast")
    again = gwfast.pairwise_gw(given, quality="fast", executor="dask", out=out)
    np.testing.assert_array_equal(again.values, whole.values)


MPI = """
import sys, numpy as np, gwfast
from test_dask import spaces
if __name__ == "__main__":
    table = gwfast.pairwise_gw(spaces(), quality="fast", executor="mpi")
    np.save(sys.argv[1], np.stack([table.values, table.lowers]))
"""


def launcher():
    """The command that starts MPI processes, None where there is none."""
    beside = os.path.join(os.path.dirname(sys.executable), "mpiexec")
    return beside if os.path.exists(beside) else shutil.which("mpiexec")


@pytest.mark.nightly
def test_mpi_gives_the_table_of_threads(tmp_path):
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    if launcher() is None:
        pytest.skip("no MPI runtime on this machine: mpiexec was not found")
    script, out = tmp_path / "script.py", tmp_path / "table.npy"
    script.write_text(MPI)
    command = [launcher(), "-n", "2", sys.executable, "-m", "mpi4py.futures", str(script), str(out)]
    path = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    table = gwfast.pairwise_gw(spaces(), quality="fast")
    np.testing.assert_array_equal(np.load(out), np.stack([table.values, table.lowers]))


def test_rows_of_a_graph_on_a_cluster(client):
    import networkx as nx

    graph = nx.connected_watts_strogatz_graph(150, 6, 0.1, seed=0)
    space = gwfast.GraphRows(graph, executor=client.get_executor(pure=False))
    np.testing.assert_array_equal(space.dense(), gwfast.GraphRows(graph).dense())
