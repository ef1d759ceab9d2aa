"""Proved tables and neighbours: intervals get narrower and stay right."""

from itertools import permutations

import numpy as np
import pytest

import gwfast


def clouds(seed, count, n=5):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, n, 2))
    return [np.linalg.norm(x[:, None] - x, axis=2) for x in points]


def best(C, D):
    return min(((C - D[np.ix_(s, s)]) ** 2).mean() for s in map(list, permutations(range(len(C)))))


def test_deep_bounds_are_above_cheap_ones_and_below_the_optimum():
    spaces = clouds(0, 5)
    cheap = gwfast.pairwise_gw(spaces, quality="best", effort="rows")
    table = gwfast.pairwise_gw(spaces, quality="best", effort="dual", rtol=1e-3)
    np.testing.assert_array_equal(table.values, cheap.values)
    assert (table.lowers >= cheap.lowers).all()
    assert np.median(table.gap) < 0.5 * np.median(cheap.gap)
    for i, j, lower in zip(table.i, table.j, table.lowers):
        assert lower <= best(spaces[i], spaces[j])


def test_searches_close_small_pairs():
    table = gwfast.pairwise_gw(clouds(1, 3, n=4), quality="best", effort="prove", rtol=0.02, time_limit=6)
    assert (table.gap <= 0.03).all()


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "labels"])
def test_features_take_part_in_proofs(metric):
    rng = np.random.default_rng(2)
    spaces = clouds(2, 3)
    features = [rng.integers(0, 2, 5) if metric == "labels" else 0.3 * rng.normal(size=(5, 2)) for _ in spaces]
    options = {"features": features, "metric": metric, "quality": "best", "alpha": 0.6}
    cheap, table = (gwfast.pairwise_gw(spaces, effort=effort, **options) for effort in ("rows", "dual"))
    assert (table.lowers >= cheap.lowers).all()
    assert (table.lowers <= table.values).all()
    assert table.gap.mean() < cheap.gap.mean()


def test_proved_neighbours_are_those_by_the_optimum():
    spaces = clouds(3, 7, n=4)
    exact = np.array([[best(C, D) for D in spaces] for C in spaces])
    np.fill_diagonal(exact, np.inf)
    found = gwfast.neighbours(spaces, 2, quality="best", proved=True, time_limit=20)
    assert found.proved.any()
    for query, (row, known) in enumerate(zip(found.index, found.proved)):
        for place in np.flatnonzero(known):
            assert set(row[: place + 1]) == set(np.argsort(exact[query])[: place + 1])


def test_no_time_leaves_the_cheap_bounds():
    spaces = clouds(4, 4)
    cheap = gwfast.pairwise_gw(spaces, effort="rows")
    table = gwfast.pairwise_gw(spaces, effort="dual", rtol=0.0, time_limit=1e9)
    assert (table.lowers > cheap.lowers).any()
    alone, none = gwfast.neighbours(spaces, 1), gwfast.neighbours(spaces, 1, proved=True, time_limit=1e-9)
    np.testing.assert_array_equal(none.proved, alone.proved)
    np.testing.assert_array_equal(none.index, alone.index)
