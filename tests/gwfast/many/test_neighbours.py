"""Neighbours are those of the full table, always, and most pairs are not solved."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gwfast


def clouds(seed, count, n=8):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(3, n, 2)) * np.array([1, 2, 4])[:, None, None]
    points = [centres[k % 3] + 0.3 * rng.normal(size=(n, 2)) for k in range(count)]
    return [np.linalg.norm(x[:, None] - x, axis=2) for x in points]


@given(st.integers(0, 10**6), st.sampled_from(["sorted", "fast", "default"]), st.integers(1, 6), st.booleans())
def test_neighbours_are_those_of_the_table(seed, quality, k, ties):
    spaces = clouds(seed, 12, n=5)
    if ties:
        spaces[4:8] = spaces[0:4]
    table = gwfast.pairwise_gw(spaces, quality=quality)
    far = np.where(np.eye(12, dtype=bool), np.inf, table.value)
    found = gwfast.neighbours(spaces, k, quality=quality)
    index = np.argsort(far, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_array_equal(found.value, np.take_along_axis(far, index, 1))
    assert found.solved <= found.pairs == 66


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_nearest_to_a_query_are_those_of_the_table(seed, k):
    spaces = clouds(seed, 9, n=5)
    table = gwfast.pairwise_gw(spaces)
    found = gwfast.nearest(spaces[0], spaces[1:], k)
    order = np.argsort(table.value[0, 1:], kind="stable")[:k]
    np.testing.assert_array_equal(found.index, order)
    np.testing.assert_array_equal(found.value, table.value[0, 1:][order])


def test_most_pairs_are_ruled_out():
    found = gwfast.neighbours(clouds(0, 60), 3)
    assert found.solved < 0.6 * found.pairs
    one = gwfast.nearest(clouds(0, 60)[7], clouds(0, 60), 1)
    assert one.index[0] == 7
    assert one.value[0] == pytest.approx(0, abs=1e-12)
    assert one.solved < 30


def test_features_take_part():
    spaces = [np.zeros((2, 2))] * 3
    features = [[0.0, 1.0], [5.0, 6.0], [0.1, 1.1]]
    found = gwfast.neighbours(spaces, 1, features=features, alpha=0.5)
    assert found.index[:, 0].tolist() == [2, 2, 0]
    one = gwfast.nearest(spaces[0], spaces, 1, features=features, query_features=[5.0, 5.9], alpha=0.5)
    assert one.index.tolist() == [1]


def test_bad_input():
    with pytest.raises(gwfast.InputError, match="k: expected at most the number of spaces, 1"):
        gwfast.nearest(np.eye(2), [np.eye(2)], k=2)
    with pytest.raises(gwfast.InputError, match="k: expected at most the number of other spaces, 1"):
        gwfast.neighbours([np.eye(2)] * 2, k=2)
    with pytest.raises(gwfast.InputError, match="query: expected a square matrix"):
        gwfast.nearest(np.ones((2, 3)), [np.eye(2)], k=1)
    with pytest.raises(gwfast.InputError, match=r"spaces\[1\]: expected a square"):
        gwfast.nearest(np.eye(2), [np.eye(2), np.ones((2, 3))], k=1)
    with pytest.raises(gwfast.InputError, match="spaces: expected a list"):
        gwfast.nearest(np.eye(2), gwfast.Dense(np.eye(2)), k=1)
    with pytest.raises(gwfast.InputError, match="query_features"):
        gwfast.nearest(np.eye(2), [np.eye(2)], k=1, features=[[0, 1]])
