"""Tables of pairs: laws of the values, of the bounds and of the plans, whatever the order and the executor."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from itertools import permutations

import networkx as nx
import numpy as np
import ot
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gwfast
from gwfast.packed.presets import QUALITY
from reference import best_descent


def space(rng, n, kind):
    x = rng.normal(size=(n, 2))
    if kind == "cloud":
        return np.linalg.norm(x[:, None] - x, axis=2)
    if kind == "whole numbers":
        a = np.triu(rng.integers(0, 5, (n, n)), 1).astype(float)
        return a + a.T
    a = rng.normal(size=(n, n))
    return a if kind == "asymmetric" else a + a.T


KINDS = ("cloud", "whole numbers", "signed", "asymmetric")


def collection(seed, count=8, most=9, weighted=True):
    rng = np.random.default_rng(seed)
    spaces = []
    for _ in range(count):
        n = int(rng.integers(1, most))
        weights = rng.dirichlet(np.full(n, rng.choice([0.5, 5.0]))) if weighted and rng.random() < 0.5 else None
        if weights is not None:
            weights = np.maximum(weights, 1e-6) / np.maximum(weights, 1e-6).sum()
        spaces.append(gwfast.Dense(space(rng, n, KINDS[rng.integers(4)]), weights))
    return spaces


def loss(x, y, T):
    C, D = (np.asarray(s.cost) for s in (x, y))
    return np.einsum("ik,jl,ijkl->", T, T, (C[:, :, None, None] - D[None, None]) ** 2)


def weights(x):
    return np.full(x.n, 1 / x.n) if x.weights is None else np.asarray(x.weights)


@given(st.integers(0, 10**6), st.sampled_from(sorted(QUALITY)), st.sampled_from(["sort", "rows"]))
def test_plans_have_their_weights_and_values_and_bounds_are_below(seed, quality, effort):
    spaces = collection(seed)
    table = gwfast.pairwise_gw(spaces, quality=quality, effort=effort, plans=True)
    scale = max(np.abs(s.cost).max() for s in spaces) ** 2
    for i, j, value, lower in zip(table.i, table.j, table.values, table.lowers):
        x, y = spaces[i], spaces[j]
        T = table.plan(i, j).toarray()
        assert T.min() >= 0
        np.testing.assert_allclose(T.sum(axis=1), weights(x), atol=1e-13)
        np.testing.assert_allclose(T.sum(axis=0), weights(y), atol=1e-13)
        assert loss(x, y, T) == pytest.approx(value, abs=1e-12 * scale)
        assert lower <= value


@given(st.integers(0, 10**6))
def test_bounds_are_below_the_optimum_over_permutations_and_best_finds_it(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 6))
    spaces = [space(rng, n, KINDS[rng.integers(4)]) for _ in range(4)]
    table = gwfast.pairwise_gw(spaces, quality="best", effort="rows")
    for i, j, value, lower in zip(table.i, table.j, table.values, table.lowers):
        C, D = spaces[i], spaces[j]
        best = min(((C - D[np.ix_(s, s)]) ** 2).mean() for s in map(list, permutations(range(n))))
        assert lower <= best
        assert value <= best * (1 + 1e-9) + 1e-12


def test_bounds_are_those_of_the_single_calls():
    spaces = collection(3, count=10)
    table = gwfast.pairwise_gw(spaces, effort="rows")
    for i, j, lower in zip(table.i, table.j, table.lowers):
        alone = gwfast.lower_bound(spaces[i], spaces[j], effort="spectral")
        names = {b.theorem: float(b.value) for b in alone.bounds}
        names.pop("eccentricity")
        names.pop("one-feature", None)
        if not (spaces[i].symmetric and spaces[j].symmetric):
            names.pop("projected-eigenvalues")  # the single call solves a linear program where the table sorts
        expected = max(names.values())
        size = max(np.abs(s.cost).max() for s in (spaces[i], spaces[j])) ** 2
        assert lower >= expected - 1e-9 * size


@given(st.integers(0, 10**6))
def test_values_do_not_depend_on_order_blocks_or_executor(seed):
    spaces = collection(seed, count=7)
    order = np.random.default_rng(seed).permutation(7)
    table = gwfast.pairwise_gw(spaces, effort="rows")
    other = gwfast.pairwise_gw([spaces[k] for k in order], effort="rows")
    np.testing.assert_array_equal(other.value, table.value[np.ix_(order, order)])
    np.testing.assert_array_equal(other.lower, table.lower[np.ix_(order, order)])
    some = gwfast.pairwise_gw(spaces, pairs=[(4, 2), (2, 4), (0, 6)], effort="rows", plans=True)
    assert some.values.tolist() == [table.value[4, 2], table.value[2, 4], table.value[0, 6]]
    assert some.lowers.tolist() == [table.lower[4, 2], table.lower[2, 4], table.lower[0, 6]]
    np.testing.assert_array_equal(some.plan(4, 2).toarray(), some.plan(2, 4).toarray().T)


def test_processes_and_other_executors_give_the_same_table():
    spaces = collection(5, count=70, most=6)  # two tiles a side
    table = gwfast.pairwise_gw(spaces, quality="fast")
    with ThreadPoolExecutor(3) as threads, ProcessPoolExecutor(2) as processes:
        for executor in ("threads", "processes", threads, processes):
            other = gwfast.pairwise_gw(spaces, quality="fast", executor=executor)
            np.testing.assert_array_equal(other.values, table.values)
            np.testing.assert_array_equal(other.lowers, table.lowers)


def test_relabelled_spaces_have_the_same_bounds_and_copies_the_value_0():
    spaces = collection(7, count=6)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(s.n) for s in spaces]
    copies = [
        gwfast.Dense(s.cost[np.ix_(o, o)], None if s.weights is None else s.weights[o]) for s, o in zip(spaces, orders)
    ]
    table, other = (gwfast.pairwise_gw(own, effort="rows") for own in (spaces, copies))
    size = max(np.abs(s.cost).max() for s in spaces) ** 2
    np.testing.assert_allclose(other.lowers, table.lowers, atol=1e-9 * size)
    both = gwfast.pairwise_gw(spaces + copies, quality="best", pairs=[(k, k + 6) for k in range(6)])
    np.testing.assert_allclose(both.values, 0, atol=1e-9 * size)


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "labels"])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_features_are_those_of_the_fused_problem(metric, alpha):
    rng = np.random.default_rng(2)
    spaces = collection(11, count=6)
    features = [rng.integers(0, 3, (s.n, 1)) if metric == "labels" else rng.normal(size=(s.n, 2)) for s in spaces]
    options = {"features": features, "metric": metric, "alpha": alpha}
    table = gwfast.pairwise_gw(spaces, quality="best", effort="rows", plans=True, **options)
    for i, j, value, lower in zip(table.i, table.j, table.values, table.lowers):
        x, y = spaces[i], spaces[j]
        if metric == "labels":
            M = (features[i] != features[j].T).astype(float)
        else:
            M = ot.dist(features[i].astype(float), features[j].astype(float), metric)
        T = table.plan(i, j).toarray()
        assert (1 - alpha) * np.sum(M * T) + alpha * loss(x, y, T) == pytest.approx(value, rel=1e-8, abs=1e-9)
        alone = gwfast.exact_gw(x, y, M=M, alpha=alpha, effort="rows")
        assert lower <= value <= alone.value * 1.02 + 1e-9
        assert lower <= alone.upper


def test_a_cost_between_labels_is_taken():
    spaces, labels = [np.zeros((2, 2)), np.zeros((2, 2))], [[0, 0], [1, 2]]
    cost = np.array([[0.0, 3.0, 5.0], [3.0, 0.0, 1.0], [5.0, 1.0, 0.0]])
    table = gwfast.pairwise_gw(spaces, features=labels, metric="labels", label_cost=cost, alpha=0.5)
    assert table.values[0] == pytest.approx(0.5 * 4.0)
    assert table.lowers[0] == pytest.approx(0.5 * 4.0)


def test_spaces_of_every_kind():
    graph = nx.path_graph(4)
    cost = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
    cloud = gwfast.PointCloud(np.arange(4.0)[:, None])
    H = np.eye(4)
    table = gwfast.pairwise_gw([graph, gwfast.Graph(graph), cost, cloud, gwfast.Gram(H)])
    np.testing.assert_allclose(table.value[:4, :4], 0, atol=1e-12)
    assert table.value[0, 4] > 0


def test_tensors_are_read():
    torch = pytest.importorskip("torch", reason="torch is an extra")
    spaces = [np.asarray(s.cost) for s in collection(1, count=4, weighted=False)]
    table = gwfast.pairwise_gw([torch.tensor(C, requires_grad=True) for C in spaces])
    np.testing.assert_array_equal(table.value, gwfast.pairwise_gw(spaces).value)


def test_points_without_mass_have_none_in_plans():
    cost = np.abs(np.subtract.outer(np.arange(3.0), np.arange(3.0)))
    heavy = gwfast.Dense(cost, np.array([0.5, 0.0, 0.5]))
    table = gwfast.pairwise_gw([heavy, cost[:2, :2] * 2], plans=True)
    np.testing.assert_allclose(table.plan(0, 1).toarray().sum(axis=1), [0.5, 0, 0.5])
    assert table.values[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("size", [2.0**-400, 2.0**-100, 2.0**100, 2.0**400])
def test_units_do_not_matter(size):
    spaces = [np.asarray(s.cost) for s in collection(9, count=4, weighted=False)]
    table, other = gwfast.pairwise_gw(spaces), gwfast.pairwise_gw([C * size for C in spaces])
    np.testing.assert_array_equal(other.values, table.values * size**2)
    np.testing.assert_array_equal(other.lowers, table.lowers * size**2)


def test_an_offset_that_all_share_does_not_matter():
    rng = np.random.default_rng(4)
    spaces = [space(rng, 5, "whole numbers") for _ in range(4)]
    table, other = gwfast.pairwise_gw(spaces), gwfast.pairwise_gw([C + 2.0**40 for C in spaces])
    np.testing.assert_allclose(other.values, table.values, rtol=1e-9, atol=1e-12)


def test_costs_that_single_precision_does_not_hold_together():
    rng = np.random.default_rng(5)
    small, large = space(rng, 6, "cloud") * 1e-25, space(rng, 6, "cloud") * 1e25
    table = gwfast.pairwise_gw([small, large], effort="rows")
    assert np.isfinite(table.values).all()
    assert 0 < table.lowers[0] <= table.values[0]


def test_what_a_table_gives():
    table = gwfast.pairwise_gw([np.eye(n) for n in (2, 3, 4)], effort="rows")
    np.testing.assert_allclose(table.distance, table.distance.T)
    np.testing.assert_allclose(table.condensed, table.distance[np.triu_indices(3, 1)])
    assert ((table.gap >= 0) & (table.gap <= 1)).all()
    pd = pytest.importorskip("pandas", reason="pandas is an extra")
    frame = table.to_frame(["a", "b", "c"])
    assert isinstance(frame, pd.DataFrame)
    assert frame.loc["a", "c"] == table.distance[0, 2]


def test_time_limit_leaves_out_what_it_did_not_reach():
    table = gwfast.pairwise_gw(collection(2, count=130, most=5), quality="fast", time_limit=1e-9)
    assert not table.complete
    assert np.isnan(table.values).any()


def test_progress(capsys):
    gwfast.pairwise_gw([np.eye(2)] * 3, quality="sorted", progress=True)
    assert "3 of 3 pairs" in capsys.readouterr().err


@given(st.integers(0, 10**6))
def test_values_are_near_the_best_of_many_descents_and_bounds_below_them(seed):
    rng = np.random.default_rng(seed)
    spaces = collection(seed, count=2, most=7)
    x, y = spaces
    table = gwfast.pairwise_gw(spaces, quality="best", effort="rows")
    best = best_descent(x.cost, y.cost, weights(x), weights(y), 30, rng)
    scale = max(np.abs(s.cost).max() for s in spaces) ** 2
    assert table.lowers[0] <= best + 1e-12 * scale
    assert table.values[0] <= 1.1 * best + 1e-9 * scale


BAD = [
    (dict(spaces=[np.eye(2)]), "spaces: expected at least two"),
    (dict(spaces=None), "spaces: expected a list"),
    (dict(spaces=[np.eye(2), np.ones((2, 3))]), r"spaces\[1\]: expected a square matrix"),
    (dict(spaces=[np.eye(2), np.zeros((0, 0))]), r"spaces\[1\]: expected at least one point"),
    (dict(spaces=[np.eye(2), np.full((2, 2), np.nan)]), r"spaces\[1\]: 4 of 4 entries are NaN"),
    (dict(spaces=[np.eye(2), nx.empty_graph(3)]), r"spaces\[1\]: .*unreachable"),
    (dict(spaces=[np.eye(2), "x"]), r"spaces\[1\]: expected an array of numbers"),
    (
        dict(spaces=[np.eye(2), gwfast.Dense(np.eye(2), np.array([1 - 1e-14, 1e-14]))]),
        r"spaces\[1\]: found a weight of",
    ),
    (dict(spaces=[np.eye(2), np.eye(2) * 1e-130]), r"spaces\[1\]: found costs up to 1e-130"),
    (dict(features=[np.zeros((2, 1))]), "features: expected one array for each of the 2 spaces"),
    (dict(features=[np.zeros((2, 1)), np.zeros((2, 2))]), r"features\[1\]: expected 1 columns"),
    (dict(features=[np.zeros((2, 1)), np.zeros((3, 1))]), r"features\[1\]: expected one row for each of the 2 points"),
    (dict(features=[[0, 1], [0, np.inf]]), r"features\[1\]: found entries that are NaN"),
    (dict(features=[[0, 1], [0, 0.5]], metric="labels"), r"features\[1\]: expected one whole number"),
    (
        dict(features=[[0, 1], [0, 2]], metric="labels", label_cost=np.eye(2)),
        "label_cost: expected a matrix of at least 3",
    ),
    (dict(alpha=0.5), "alpha: found one without features"),
    (dict(quality="quick"), "quality: expected one of"),
    (dict(effort="deep"), "effort: expected one of"),
    (dict(rtol=2), "rtol: expected a number between 0 and 1"),
    (dict(pairs=[(0, 2)]), r"pairs\[0\]: found \(0, 2\)"),
    (dict(pairs=[(0, -1)]), r"pairs\[0\]: found \(0, -1\)"),
    (dict(pairs=[0, 1]), r"pairs: expected whole numbers of shape \(R, 2\)"),
    (dict(executor=2), "executor: expected"),
    (dict(executor="cloud"), "executor: expected"),
    (dict(time_limit=-1), "time_limit: expected"),
]


@pytest.mark.parametrize(("options", "said"), BAD, ids=[said[:40] for _, said in BAD])
def test_bad_input_is_one_line_and_leaves_nothing(options, said, tmp_path):
    with pytest.raises(gwfast.InputError, match=said) as caught:
        gwfast.pairwise_gw(**{"spaces": [np.eye(2), np.eye(2)], "out": tmp_path / "out", **options})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


SIZES, FEATURE_SIZES, SHARES = (
    (-120, -20, 0, 15, 30, 120),
    (-150, -24, 0, 18, 30, 100, 140),
    (0.0, 1.0, 0.5, 1e-12, 1 - 1e-12, 1e-300),
)


@pytest.mark.parametrize("seed", range(40))
def test_costs_and_features_of_any_two_sizes(seed):
    """No unit of one term makes a number of the other that single precision, or a kernel, cannot hold."""
    rng = np.random.default_rng(seed)
    size, width = 10.0 ** rng.choice(SIZES), 10.0 ** rng.choice(FEATURE_SIZES)
    alpha, metric = float(rng.choice(SHARES)), str(rng.choice(["euclidean", "sqeuclidean"]))
    points = rng.integers(1, 7, size=3)
    spaces = [rng.normal(size=(n, n)) * size for n in points]
    features = [rng.normal(size=(n, 2)) * width for n in points]
    quality, effort = str(rng.choice(["fast", "default", "best"])), str(rng.choice(["sort", "rows"]))
    asked = dict(features=features, metric=metric, alpha=alpha, quality=quality, effort=effort)
    power = 2 if metric == "sqeuclidean" else 1
    apart = alpha == 1e-300 and size**2 / 1e59 > width**power
    with pytest.raises(gwfast.InputError, match="alpha: found 1e-300") if apart else nullcontext():
        table = gwfast.pairwise_gw(spaces, **asked)
    if apart:
        return
    assert np.isfinite(table.values).all()
    assert (table.lowers <= table.values).all()
    i, j = 0, 1
    M = np.linalg.norm(features[i][:, None] - features[j], axis=-1) ** power
    one = gwfast.exact_gw(spaces[i], spaces[j], M=M, alpha=alpha)
    assert table.lowers[0] <= one.upper
    assert one.lower <= table.values[0] * (1 + 1e-9)


def test_features_whose_squares_overflow_are_refused():
    with pytest.raises(gwfast.InputError, match=r"features\[1\]: found entries up to 1e\+200"):
        gwfast.pairwise_gw([np.eye(2)] * 2, features=[np.ones((2, 1)), np.full((2, 1), 1e200)])
