"""The search over rotations for many points: below brute force, more than the closed bound, without matrices."""

from dataclasses import replace

import numpy as np
import pytest
from point_spaces import spaces

import gwfast
import reference
from gwfast.bounds.closed import closed_bound
from gwfast.budget import Budget
from gwfast.searches import rotation_points
from gwfast.searches.rotation_points import applies, suits
from gwfast.searches.rotations import METHOD, RotationDual, rotation_search
from strategies import weights


@pytest.mark.parametrize("chunk", range(4))
def test_no_bound_is_above_the_best_permutation(chunk):
    rng = np.random.default_rng(chunk)
    close = []
    for _ in range(25):
        n = int(rng.integers(3, 6))
        x, y = spaces(rng, n, n, dimensions=3)
        problem = reference.problem_of(x, y)
        best = reference.best_permutation(problem.x.dense(), problem.y.dense(), None, 1.0)
        bound = rotation_search(problem, 1e-3, best, Budget().within(0.5))
        assert bound.value <= best, (chunk, x, y)
        if best > 1e-6 * problem.size:
            close.append(bound.value / best)
    assert np.median(close) > 0.7


@pytest.mark.parametrize("kind", ["uniform", "spread", "decades"])
def test_no_bound_is_above_a_plan_of_any_weights(kind):
    rng = np.random.default_rng(1)
    for _ in range(8):
        n, m = (int(k) for k in rng.integers(2, 9, size=2))
        x, y = spaces(rng, n, m, dimensions=3, far=False)
        problem = reference.problem_of(x, y, weights(rng, n, kind), weights(rng, m, kind))
        value = gwfast.exact_gw(problem, effort="sort").value
        assert rotation_search(problem, 1e-3, value, Budget().within(0.3)).value <= value


def test_few_block_means_stand_for_many_points(monkeypatch):
    """The prices are carried to all points, so a bound is proved however few the blocks; more prove more."""
    rng = np.random.default_rng(2)
    three = np.array([[1.5, 0], [-0.8, 1.2], [-0.7, -1.0]])
    x = gwfast.PointCloud(three[rng.integers(3, size=300)] + 0.25 * rng.normal(size=(300, 2)), "sqeuclidean")
    y = gwfast.PointCloud(rng.normal(size=(250, 2)) * [1.0, 0.8], "sqeuclidean")
    result = gwfast.exact_gw(x, y)
    problem, proved = reference.problem_of(x, y), []
    for blocks in (8, 64):
        monkeypatch.setattr(rotation_points, "BLOCKS", blocks)
        proved.append(rotation_search(problem, 0.05, result.value, Budget().within(3)).value)
    assert 1.02 * closed_bound(problem).value < proved[1] <= result.value
    assert proved[0] < proved[1]


def test_which_problems_it_is_for():
    rng = np.random.default_rng(3)
    many, few = (gwfast.PointCloud(rng.normal(size=(n, 3)), "sqeuclidean") for n in (2_100, 40))
    deep = gwfast.PointCloud(rng.normal(size=(40, 4)), "sqeuclidean")
    assert suits(reference.problem_of(many, many))
    assert not suits(reference.problem_of(many, few))
    assert applies(reference.problem_of(many, few))
    assert not applies(reference.problem_of(few, deep))
    assert not applies(reference.problem_of(few, gwfast.Gram(rng.normal(size=(3, 40)))))
    assert rotation_search(reference.problem_of(few, few.dense())) is None
    fused = reference.problem_of(few, few, M=rng.normal(size=(40, 40)), alpha=0.5)
    assert not applies(fused)
    assert rotation_search(fused) is None
    assert METHOD.lean


def test_the_front_door_takes_it():
    rng = np.random.default_rng(4)
    three = np.array([[1.5, 0], [-0.8, 1.2], [-0.7, -1.0]])
    x = gwfast.PointCloud(three[rng.integers(3, size=2_100)] + 0.25 * rng.normal(size=(2_100, 2)), "sqeuclidean")
    y = gwfast.PointCloud(rng.normal(size=(2_000, 2)) * [1.0, 0.8], "sqeuclidean")
    result = gwfast.exact_gw(x, y, effort="prove", time_limit=8, memory_limit=1e8)
    assert result.certificate["orthogonal-bound"].value <= result.value
    assert result.lower > result.certificate["closed-bound"].value


def test_a_stored_search_proves_its_bound_again_and_spoiled_ones_prove_less(tmp_path):
    rng = np.random.default_rng(3)
    three = np.array([[1.5, 0], [-0.8, 1.2], [-0.7, -1.0]])
    x = gwfast.PointCloud(three[rng.integers(3, size=400)] + 0.25 * rng.normal(size=(400, 2)), "sqeuclidean")
    y = gwfast.PointCloud(rng.normal(size=(350, 2)) * [1.0, 0.8], "sqeuclidean")
    problem, value = reference.problem_of(x, y), gwfast.exact_gw(x, y).value
    found = rotation_search(problem, 0.05, value, Budget().within(2))
    dual = found.dual
    assert isinstance(dual, RotationDual)
    gwfast.save_certificate(tmp_path / "proof.npz", gwfast.Certificate((found,)))
    again = gwfast.verify(gwfast.load_certificate(tmp_path / "proof.npz"), x, y)["orthogonal-bound"]
    assert again.value == pytest.approx(found.value, rel=1e-9)
    for spoiled in (
        replace(dual, prices=dual.prices + rng.normal(size=dual.prices.shape)),
        replace(dual, kinds=dual.kinds[: len(dual.kinds) // 2]),
        replace(dual, kinds=np.zeros_like(dual.kinds)),
        replace(dual, prices=dual.prices * np.nan),
    ):
        assert spoiled.verify(problem).value < again.value
    other = gwfast.PointCloud(rng.normal(size=(30, 2)), "sqeuclidean")
    with pytest.raises(gwfast.InputError, match="prices of its orthogonal-bound dual: expected shape"):
        dual.verify(reference.problem_of(other, other))
