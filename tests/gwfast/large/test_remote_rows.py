"""Rows of costs on an executor: the values of this process, also where a worker dies or has lost the function."""

import multiprocessing
import os
import pickle
import signal
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import networkx as nx
import numpy as np
import pytest

import gwfast

N = 150


def rows_of(i):
    x = np.linspace(0, 1, N) ** 2
    return np.abs(x[i, None] - x)


def dying(i):
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return rows_of(i)


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def graph(seed):
    return nx.connected_watts_strogatz_graph(N, 6, 0.1, seed=seed)


def test_processes_give_the_rows_of_this_process(pool):
    here = gwfast.GraphRows(graph(0))
    there = gwfast.GraphRows(graph(0), executor=pool)
    np.testing.assert_array_equal(there.dense(), here.dense())
    other = gwfast.Rows(N, rows_of, executor=pool)
    np.testing.assert_array_equal(other.dense(), rows_of(np.arange(N)))
    options = {"method": "multiscale"}
    found = gwfast.exact_gw(there, gwfast.GraphRows(graph(1), executor=pool), **options)
    same = gwfast.exact_gw(here, gwfast.GraphRows(graph(1)), **options)
    assert (found.value, found.lower) == (same.value, same.lower)


def test_a_space_that_travels_computes_its_rows_itself(pool):
    space = pickle.loads(pickle.dumps(gwfast.GraphRows(graph(0), executor=pool)))
    np.testing.assert_array_equal(space.rows(3, 40), gwfast.GraphRows(graph(0)).rows(3, 40))


def test_a_worker_that_has_lost_the_function_gets_it_again():
    from gwfast.spaces import remote_rows

    with ThreadPoolExecutor(2) as threads:
        space = gwfast.Rows(N, rows_of, executor=threads)
        remote_rows._functions.clear()
        np.testing.assert_array_equal(space.dense(), rows_of(np.arange(N)))


def test_a_worker_that_dies_is_told_of():
    told = pytest.raises(gwfast.WorkerError, match="a worker process died at the rows of points 0 to ")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as mortal, told:
        gwfast.Rows(N, dying, executor=mortal).dense()


def test_what_is_no_executor_is_refused():
    with pytest.raises(gwfast.InputError, match="executor: expected a concurrent"):
        gwfast.Rows(N, rows_of, executor="dask")


def test_functions_that_do_not_fit_an_executor_are_one_line(pool):
    with pytest.raises(gwfast.InputError, match="function: it cannot travel to other processes"):
        gwfast.Rows(N, lambda i: rows_of(i), executor=pool).dense()
    with ThreadPoolExecutor(2) as threads:
        with pytest.raises(gwfast.InputError, match="expected as many rows, found shape"):
            gwfast.Rows(N, lambda i: rows_of(i)[1:], executor=threads).dense()
        space = gwfast.Rows(N, rows_of, executor=threads)
    with pytest.raises(gwfast.InputError, match="executor: found one that is shut down"):
        space.dense()
    with pytest.raises(gwfast.InputError, match="executor: expected a concurrent"):
        gwfast.Rows(N, rows_of, executor=ThreadPoolExecutor)
