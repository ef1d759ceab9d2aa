"""Estimators for scikit-learn: distances of the table, pipelines, scikit-learn's own checks as far as they apply."""

import pickle
import warnings

import networkx as nx
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from sklearn.utils import estimator_checks

import gwfast
from gwfast.interop.sklearn import GWDistance, GWKernel, GWNeighbors

GRAPHS = [nx.path_graph(n) for n in range(4, 12)] + [nx.star_graph(n) for n in range(3, 11)]
KIND = np.repeat([0, 1], 8)


def test_distances_are_those_of_the_table():
    table = gwfast.pairwise_gw(GRAPHS).distance
    np.testing.assert_array_equal(GWDistance().fit_transform(GRAPHS), table)
    half = GWDistance().fit(GRAPHS[::2])
    np.testing.assert_array_equal(half.transform(GRAPHS), table[:, ::2])
    again = [graph.copy() for graph in GRAPHS]  # equal, not the same objects
    np.testing.assert_array_equal(half.transform(again), table[:, ::2])
    assert half.transform([]).shape == (0, 8)
    assert GWDistance().fit_transform(GRAPHS[:1]).tolist() == [[0]]
    assert half.get_feature_names_out()[-1] == "gwdistance7"


def test_kernels_are_exponentials_of_distances():
    square = gwfast.pairwise_gw(GRAPHS).value
    np.testing.assert_allclose(GWKernel(gamma=0.3).fit_transform(GRAPHS), np.exp(-0.3 * square))
    kernel = GWKernel().fit(GRAPHS)
    assert kernel.gamma_ == pytest.approx(1 / np.median(square[square > 0]))
    np.testing.assert_allclose(kernel.transform(GRAPHS[:3]), np.exp(-kernel.gamma_ * square[:3]))
    assert GWKernel().fit(GRAPHS[:1] * 2).gamma_ == 1


def test_neighbours_are_those_of_the_table():
    value = gwfast.pairwise_gw(GRAPHS).value
    found = GWNeighbors(n_neighbors=3).fit(GRAPHS)
    distance, index = found.kneighbors()
    expected = np.argsort(np.where(np.eye(16, dtype=bool), np.inf, value), axis=1, kind="stable")[:, :3]
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_array_equal(distance, np.sqrt(np.take_along_axis(value, expected, 1)))
    np.testing.assert_array_equal(found.kneighbors(GRAPHS[:2], 1, return_distance=False), [[0], [1]])
    graph = found.kneighbors_graph(mode="distance")
    np.testing.assert_array_equal(np.sort(graph.toarray()[0])[-3:], np.sort(distance[0]))
    assert found.kneighbors_graph(GRAPHS[:5], 2).toarray().sum() == 10


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(GWKernel(quality="fast"), SVC(kernel="precomputed")),
        make_pipeline(GWDistance(quality="fast"), KNeighborsClassifier(2, metric="precomputed")),
    ],
    ids=["kernel", "distance"],
)
def test_pipelines_are_cross_validated(model):
    assert cross_val_score(model, GRAPHS, KIND, cv=4).mean() > 0.9


def test_parameters_are_searched():
    model = make_pipeline(GWKernel(quality="fast"), SVC(kernel="precomputed"))
    search = GridSearchCV(model, {"gwkernel__gamma": [1e-9, 1.0], "svc__C": [1.0]}, cv=4).fit(GRAPHS, KIND)
    assert search.best_params_["gwkernel__gamma"] == 1.0
    assert search.predict(GRAPHS[:2]).tolist() == [0, 0]


@pytest.mark.parametrize("estimator", [GWDistance(quality="fast"), GWKernel(2.0), GWNeighbors(4, executor="threads")])
def test_estimators_are_cloned_and_kept(estimator):
    assert clone(estimator).get_params() == estimator.get_params()
    fitted = estimator.set_params(quality="sorted").fit(GRAPHS)
    again = pickle.loads(pickle.dumps(fitted))
    assert again.n_spaces_ == 16
    assert not hasattr(clone(fitted), "spaces_")
    fresh = clone(fitted)
    answer = fresh.kneighbors if isinstance(fresh, GWNeighbors) else fresh.transform
    with pytest.raises(NotFittedError):
        answer(GRAPHS)


# scikit-learn's own checks; the others fit a table of numbers (N, f), which is no list of spaces
APPLY = (
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_mixin_order",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
    "check_do_not_raise_errors_in_init_or_set_params",
)


@pytest.mark.parametrize("name", APPLY)
@pytest.mark.parametrize("estimator", [GWDistance, GWKernel, GWNeighbors])
def test_the_checks_of_scikit_learn_that_need_no_table_pass(estimator, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(estimator_checks, name)(estimator.__name__, estimator())


def test_what_is_left_out_fits_a_table_of_numbers():
    """Every check that scikit-learn would run and we do not draws its data itself, or is about such data."""
    ran = {getattr(c, "func", c).__name__ for _, c in estimator_checks.estimator_checks_generator(GWDistance())}
    left = ran - set(APPLY)
    assert set(APPLY) <= ran
    data = ("fit", "predict", "transform", "sample", "features", "dtype", "nan", "sparse", "pickle", "dict", "methods")
    data += (
        "complex",
        "positive",
        "array_api",
        "readonly",
        "pipeline",
        "overwrite",
        "empty_data",
        "fitted",
        "f_contiguous",
    )
    assert [name for name in sorted(left) if not any(word in name for word in data)] == []


def test_bad_input():
    for call, said in (
        (lambda: GWDistance().fit("abc"), "X: expected a list of arrays or spaces, found str"),
        (lambda: GWDistance().fit([]), "X: expected at least one space"),
        (lambda: GWDistance().fit_transform([np.eye(2), np.ones((2, 3))]), r"X: spaces\[1\]: expected a square matrix"),
        (lambda: GWKernel(gamma=-1).fit(GRAPHS), "gamma: expected a number above 0"),
        (lambda: GWNeighbors(9).fit(GRAPHS[:4]).kneighbors(), "n_neighbors: expected at most 3"),
        (lambda: GWNeighbors(1).fit(GRAPHS[:4]).kneighbors_graph(mode="x"), "mode: expected one of"),
        (lambda: GWDistance(quality="x").fit_transform(GRAPHS), "quality: expected one of"),
    ):
        with pytest.raises(gwfast.InputError, match=said):
            call()
