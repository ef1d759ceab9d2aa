"""Barycentres: exact block steps, values beside POT's, and proved intervals."""

import networkx as nx
import numpy as np
import ot
import pytest
from scipy.spatial.distance import cdist

import gwfast
from gwfast.barycenters.descent import descend, starts
from gwfast.barycenters.inputs import task_of
from gwfast.barycenters.updates import best_costs, best_features
from gwfast.budget import UNLIMITED
from gwfast.losses import loss_of
from gwfast.losses.value import loss_value
from gwfast.marginals import BALANCED
from strategies import weights as drawn


def clouds(seed, sizes, dim=2):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, dim)) for n in sizes]


def distances(points):
    return [cdist(x, x) for x in points]


def coupling(rng, p, m):
    q = np.full(m, 1 / m)
    return gwfast.Plan((len(p), m), matrix=BALANCED.repair(rng.exponential(size=(len(p), m)), p, q))


def mean_objective(costs, found, weights):
    each = [float(gwfast.Problem.of(found.space, c).objective(t)) for c, t in zip(costs, found.plans)]
    return float(weights @ np.array(each))


@pytest.mark.parametrize("seed", range(3))
def test_no_barycenter_is_below_its_bound(seed):
    """Whatever the costs, points and masses: the bound is proved for all of them."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 6, 3)
    costs = [rng.normal(size=(n, n)) for n in sizes]
    own = rng.dirichlet(np.ones(3))
    spaces = [gwfast.Dense(c, drawn(rng, len(c), "spread")) for c in costs]
    found = gwfast.barycenter(spaces, 4, own, starts=2, effort="dual", time_limit=0.5)
    assert found.lower > 0
    for n in (1, 3, 6):
        other = gwfast.barycenter(spaces, n, own, p=drawn(rng, n, "spread"), starts=1)
        assert max(b.value for b in found.certificate.bounds) <= other.value * (1 + 1e-12)
    for _ in range(5):
        any_costs = gwfast.Dense(rng.normal(size=(4, 4)))
        value = sum(w * gwfast.exact_gw(any_costs, s).value for w, s in zip(own, spaces))
        assert found.lower <= value


def test_two_spaces_have_the_middle_of_their_permutation():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 2))
    y = (x + 0.2 * rng.normal(size=x.shape))[rng.permutation(8)]
    spaces = [gwfast.PointCloud(x), gwfast.PointCloud(y)]
    found = gwfast.barycenter(spaces, 8, [0.3, 0.7], effort="prove")
    pair = gwfast.exact_gw(*spaces, rtol=1e-7)
    assert pair.plan.permutation is not None
    assert found.value == pytest.approx(0.21 * pair.value, rel=1e-9)
    assert found.lower >= found.value * (1 - 1e-6)
    assert found.space.symmetric


@pytest.mark.parametrize("kind", ["cloud", "graph"])
@pytest.mark.parametrize("seed", range(2))
def test_values_are_no_higher_than_pots(seed, kind):
    costs = distances(clouds(seed, (8, 9, 7)))
    costs = [(c < 1.2).astype(float) for c in costs] if kind == "graph" else costs
    found = gwfast.barycenter(costs, 8)
    theirs = ot.gromov.gromov_barycenters(8, costs, random_state=seed)
    value = np.mean([gwfast.exact_gw(theirs, c).value for c in costs])
    assert found.value <= value * (1 + 1e-9)
    assert found.value == pytest.approx(mean_objective(costs, found, np.full(3, 1 / 3)), rel=1e-12)
    assert found.values @ found.weights == pytest.approx(found.value, rel=1e-12)
    assert 0 <= found.lower <= found.value <= found.upper


@pytest.mark.parametrize("loss", ["square", "kl"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_costs_are_the_best_for_their_plans(loss, symmetric):
    rng = np.random.default_rng(1)
    costs = [rng.uniform(0.5, 2, size=(n, n)) for n in (3, 4)]
    costs = [c + c.T for c in costs] if symmetric else costs
    own, p = np.array([0.4, 0.6]), drawn(rng, 3, "spread")
    plans = [coupling(rng, p, len(c)) for c in costs]
    best = best_costs(plans, costs, own, p, loss, symmetric)

    def value(C):
        if loss == "square":
            return sum(w * float(gwfast.Problem.of(C, c, p).objective(t)) for c, t, w in zip(costs, plans, own))
        spaces = [(gwfast.Problem.of(C, c, p), t) for c, t in zip(costs, plans)]
        return sum(w * float(loss_value(loss_of("kl"), q.x, q.y, t).value) for (q, t), w in zip(spaces, own))

    assert symmetric == bool((best == best.T).all())
    for _ in range(20):
        assert value(best) <= value(best + 0.05 * rng.normal(size=best.shape)) + 1e-12


def test_features_are_the_weighted_means_of_their_matches():
    rng = np.random.default_rng(2)
    x, y = clouds(2, (4, 4))
    own, p = np.array([0.25, 0.75]), np.full(4, 0.25)
    plans = [gwfast.Plan.from_permutation(rng.permutation(4), p) for _ in range(2)]
    found = best_features(plans, [x, y], own, p)
    assert np.allclose(found, 0.25 * x[plans[0].cols] + 0.75 * y[plans[1].cols])


def test_a_fused_barycenter_is_proved_too():
    x, y = clouds(3, (6, 6))
    costs = distances([x, y])
    found = gwfast.barycenter(costs, 6, features=[x, y], alpha=0.4, effort="prove", time_limit=20)
    M = [ot.dist(found.features, z) for z in (x, y)]
    value = [gwfast.Problem.of(found.space, c, M=m, alpha=0.4) for c, m in zip(costs, M)]
    value = [float(q.objective(t)) for q, t in zip(value, found.plans)]
    assert found.value == pytest.approx(np.mean(value), rel=1e-12)
    pair = gwfast.exact_gw(*costs, M=ot.dist(x, y), alpha=0.4, rtol=1e-6)
    assert found.lower <= found.value
    assert found.lower == pytest.approx(pair.lower / 4, rel=1e-6)
    theirs = ot.gromov.fgw_barycenters(6, [x, y], costs, alpha=0.4, random_state=0)
    M = [ot.dist(theirs[0], z) for z in (x, y)]
    both = [gwfast.exact_gw(theirs[1], c, M=m, alpha=0.4).value for c, m in zip(costs, M)]
    assert found.value <= np.mean(both) * (1 + 1e-9)


@pytest.mark.parametrize("fixed", ["costs", "features"])
def test_what_is_fixed_stays(fixed):
    x, y = clouds(4, (5, 6))
    start = cdist(x, x), x + 1.0
    found = gwfast.barycenter(distances([x, y]), 5, features=[x, y], fixed=fixed, start=start)
    kept, moved = (found.space.cost, found.features) if fixed == "costs" else (found.features, found.space.cost)
    first, second = start if fixed == "costs" else start[::-1]
    assert np.array_equal(kept, first)
    assert not np.array_equal(moved, second)


def test_kl_has_a_value_and_no_proof_but_the_sign():
    rng = np.random.default_rng(5)
    costs = [c + 0.5 for c in distances(clouds(5, (5, 5)))]
    found = gwfast.barycenter(costs, 5, loss="kl", starts=2)
    assert found.certificate.best.theorem == "sign"
    assert 0 == found.lower < found.value
    start = found.space.cost * np.exp(0.01 * rng.normal(size=(5, 5)))
    again = gwfast.barycenter(costs, 5, loss="kl", starts=0, start=start)
    assert again.value == pytest.approx(found.value, rel=1e-2)


def test_the_best_end_is_left_by_leaving_a_space_out():
    """The result is never above what the starts alone reach, and below it for some graphs."""
    left = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        costs = [np.triu(rng.random((10, 10)) < 0.4, 1).astype(float) for _ in range(3)]
        costs = [c + c.T for c in costs]
        task = task_of(costs, 10, None, None, None, None, "square", None, None)
        ends = [descend(task, start, UNLIMITED, 1e-9, 100).point.value for start in starts(task, None, 3)]
        found = gwfast.barycenter(costs, 10, starts=3)
        assert found.value <= min(ends)
        left += found.start.startswith("all but space") and found.value < 0.99 * min(ends)
    assert left > 0


def test_a_good_start_is_kept_and_named():
    costs = distances(clouds(6, (6, 6)))
    found = gwfast.barycenter(costs, 6, starts=1)
    again = gwfast.barycenter(costs, 6, starts=0, start=found.space)
    assert again.start == "the given start"
    assert again.value <= found.value
    assert "the given start" in str(again)


def test_graphs_torch_and_weights_of_points_are_taken():
    torch = pytest.importorskip("torch")
    graph = nx.path_graph(4)
    space = gwfast.Dense(torch.tensor(gwfast.Graph(nx.cycle_graph(4)).cost), torch.tensor([0.1, 0.2, 0.3, 0.4]))
    found = gwfast.barycenter([graph, space, np.ones((3, 3), np.float32)], 4, p=[0.1, 0.2, 0.3, 0.4])
    assert isinstance(found.space.cost, np.ndarray)
    for plan, q in zip(found.plans, (np.full(4, 0.25), [0.1, 0.2, 0.3, 0.4], np.full(3, 1 / 3))):
        assert np.allclose(plan.marginals()[0], [0.1, 0.2, 0.3, 0.4])
        assert np.allclose(plan.marginals()[1], q)


PATH = np.abs(np.subtract.outer(np.arange(3.0), np.arange(3.0)))
BAD = {
    "empty": (dict(spaces=[]), "spaces: expected at least one, found an empty list"),
    "no list": (dict(spaces=None), "spaces: expected a list of arrays or spaces, found NoneType"),
    "NaN": (dict(spaces=[PATH, PATH * np.nan]), "spaces[1]: 9 of 9 entries are NaN or infinite"),
    "not square": (dict(spaces=[np.ones((2, 3))]), "spaces[0]: expected a square matrix"),
    "no points": (dict(n=0), "n: expected a whole number of at least 1, found 0"),
    "weights": (dict(weights=[1.0]), "weights: expected 2, one a space, found shape (1,)"),
    "weights sum": (dict(weights=[1.0, 1.0]), "weights: expected weights that sum to 1, found 2"),
    "masses": (dict(p=[0.5, 0.5, 0.0]), "p: found 1 points without mass"),
    "inner": (dict(loss="inner"), 'loss: found "inner", which is linear'),
    "kl": (dict(loss="kl"), "spaces[0]: found a cost of 0, whose logarithm"),
    "negative": (dict(spaces=[-PATH], loss="kl", floor=1e-3), "spaces[0]: found a cost of -2; loss="),
    "floor": (dict(floor=1e-3), 'floor: found 0.001 with loss="square"'),
    "alpha": (dict(alpha=0.5), "alpha: found one without features"),
    "features": (dict(features=[np.ones((3, 2))]), "features: expected one array for each of the 2 spaces, found 1"),
    "rows": (dict(features=[np.ones((3, 2)), np.ones((2, 2))]), "features[1]: expected one row for each of the 3"),
    "columns": (dict(features=[np.ones((3, 2)), np.ones((3, 1))]), "features[1]: expected 2 columns"),
    "fixed alone": (dict(fixed="costs"), 'fixed: found "costs" without features'),
    "fixed": (dict(features=[np.ones(3)] * 2, fixed="costs"), 'start: fixed="costs" needs it'),
    "start": (dict(start=np.ones((2, 2))), "start: expected costs of n = 3 points, found 2"),
    "pair": (dict(features=[np.ones(3)] * 2, start=PATH), "start: expected a pair (costs, features), found ndarray"),
    "starts": (dict(starts=0), "starts: expected a whole number of at least 1"),
    "POT's name": (dict(lambdas=[0.5, 0.5]), "lambdas: barycenter has no such argument; pass weights"),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_input_gets_one_line(name):
    change, line = BAD[name]
    arguments = {"spaces": [PATH, 2 * PATH], "n": 3} | change
    with pytest.raises(gwfast.InputError) as caught:
        gwfast.barycenter(**arguments)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_a_time_limit_ends_the_call():
    costs = distances(clouds(7, (40, 40, 40)))
    found = gwfast.barycenter(costs, 40, effort="prove", time_limit=1.0)
    assert found.seconds < 10
    assert found.lower <= found.value
