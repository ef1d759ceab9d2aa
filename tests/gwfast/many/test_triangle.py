"""Ends of distances that the triangle inequality tightens hold the distances."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gwfast


def distances(spaces):
    """Exact distances between uniform spaces whose optimal plans are permutations."""
    count, n = len(spaces), len(spaces[0])
    out = np.zeros((count, count))
    for i in range(count):
        for j in range(i + 1, count):
            C, D = spaces[i], spaces[j]
            best = min(((C - D[np.ix_(s, s)]) ** 2).mean() for s in map(list, permutations(range(n))))
            out[i, j] = out[j, i] = best**0.5
    return out


def paths(scales):
    path = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
    return [scale * path for scale in scales]


@given(st.integers(0, 10**6), st.sampled_from(["sort", "rows"]))
def test_ends_hold_the_distances(seed, effort):
    # squared distances of points: the optimum is at a permutation
    rng = np.random.default_rng(seed)
    points = [rng.normal(size=(4, 2)) * rng.choice([1.0, 2.0]) for _ in range(5)]
    spaces = [((x[:, None] - x) ** 2).sum(-1) for x in points]
    asked = [(i, j) for i in range(5) for j in range(i + 1, 5) if rng.random() < 0.7] or [(0, 1)]
    low, high = gwfast.pairwise_gw(spaces, pairs=asked, effort=effort).interval
    exact = distances(spaces)
    assert (low <= exact).all()
    assert (exact <= high).all()


def test_a_pair_that_was_not_asked_for_is_known_from_the_others():
    spaces = paths([1.0, 2.0, 4.0])
    table = gwfast.pairwise_gw(spaces, pairs=[(0, 2), (1, 2)], effort="rows")
    low, high = table.interval
    exact = distances(spaces)
    assert np.isnan(table.value[0, 1])
    assert low[0, 1] == pytest.approx(exact[0, 1], rel=1e-4)  # 3 - 2 = 1 on a ray
    assert high[0, 1] == pytest.approx(exact[0, 2] + exact[1, 2], rel=1e-4)


def test_pairs_on_both_sides_move():
    spaces = paths([1.0, 1.0, 4.0, 4.0])
    low, _ = gwfast.pairwise_gw(spaces, pairs=[(0, 1), (0, 2), (2, 3)], effort="rows").interval
    assert low[1, 3] == pytest.approx(distances(spaces)[1, 3], rel=1e-4)


def test_features_make_no_metric():
    spaces, features = paths([1.0, 2.0, 4.0]), [np.zeros((4, 1))] * 3
    low, high = gwfast.pairwise_gw(spaces, features=features, pairs=[(0, 2), (1, 2)]).interval
    assert (low[0, 1], high[0, 1]) == (0.0, np.inf)


def test_what_a_time_limit_left_out_is_open():
    low, high = gwfast.pairwise_gw(paths([1.0, 2.0, 4.0]), time_limit=1e-9).interval
    assert (low == 0).all()
    assert np.isinf(high[~np.eye(3, dtype=bool)]).all()
