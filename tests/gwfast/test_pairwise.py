"""Many problems at once."""

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
