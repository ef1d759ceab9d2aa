"""Wrong input gets one line that names the argument, says what was found and what to do."""

import inspect

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

import gwfast

C = np.array([[0.0, 1.0], [1.0, 0.0]])
BAD = {
    "not square": (dict(C1=np.ones((2, 3))), "C1: expected a square matrix, found shape (2, 3)"),
    "one axis": (dict(C2=np.ones(3)), "C2: expected a square matrix"),
    "NaN": (dict(C1=np.array([[0, np.nan], [1, 0]])), "C1: 1 of 4 entries are NaN or infinite"),
    "infinite": (dict(C2=np.array([[0, np.inf], [np.inf, 0]])), "C2: 2 of 4 entries"),
    "negative weight": (dict(p=[1.5, -0.5]), "p: expected weights >= 0, found -0.5"),
    "zero sum": (dict(q=[0.0, 0.0]), "q: expected weights that sum to 1, found all zero"),
    "wrong sum": (dict(p=[1.0, 1.0]), "p: expected weights that sum to 1, found 2"),
    "NaN weight": (dict(p=[np.nan, 1.0]), "p: 1 of 2 entries"),
    "wrong length": (dict(p=[0.5, 0.25, 0.25]), "p: expected 2 weights, one a point, found shape (3,)"),
    "empty": (dict(C1=np.zeros((0, 0))), "C1: expected at least one point"),
    "text": (dict(C1="cost.npy"), "C1: expected an array of numbers, found the text 'cost.npy'"),
    "None": (dict(C2=None), "C2: expected an array of numbers or a Space, found None"),
    "objects": (dict(C2=[[object(), 1], [1, 0]]), "C2: expected an array of numbers"),
    "ragged": (dict(C1=[[0, 1], [1]]), "C1: expected an array of numbers, found list"),
    "words": (dict(C1=[["a", "b"], ["c", "d"]]), "C1: expected an array of numbers, found dtype <U1"),
    "dates": (dict(C1=C.astype("M8[D]")), "C1: expected an array of numbers, found dtype datetime64[D]"),
    "masked": (dict(C2=np.ma.array(C, mask=C > 0)), "C2: expected an array without gaps"),
    "sparse": (dict(C1=sp.csr_array(C)), "C1: expected a dense array, found a sparse one"),
    "weights of a space": (dict(C1=gwfast.Dense(C, weights=[1.0, 1.0])), "C1.weights: expected weights that sum to 1"),
    "complex": (dict(C1=C * 1j), "C1: expected real numbers"),
    "too large": (dict(C1=C * 1e200), "C1: largest entry is 1e+200"),
    "networkx graph": (dict(C1=nx.path_graph(3)), "C1: found a networkx graph; wrap it, gwfast.Graph(C1)"),
    "feature shape": (dict(M=np.ones((3, 2))), "M: expected shape (2, 2)"),
    "alpha alone": (dict(alpha=0.5), "alpha: found 0.5 without M"),
    "alpha range": (dict(M=C, alpha=1.5), "alpha: expected a number between 0 and 1, found 1.5"),
    "alpha text": (dict(M=C, alpha="half"), "alpha: expected a finite number"),
}


@pytest.mark.parametrize("name", BAD)
def test_message_names_the_argument(name):
    change, message = BAD[name]
    arguments = dict(C1=C, C2=C) | change
    with pytest.raises(gwfast.InputError) as error:
        gwfast.sorted_gw(**arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_mixed_libraries_are_refused():
    torch = pytest.importorskip("torch", reason="torch is an extra")
    with pytest.raises(gwfast.InputError, match="C1 is numpy on cpu, C2 is torch on cpu"):
        gwfast.sorted_gw(C, torch.tensor(C))


def test_lists_join_the_library_of_the_tensors():
    torch = pytest.importorskip("torch", reason="torch is an extra")
    expected = gwfast.sorted_gw(C, 2 * C, [0.25, 0.75], M=3 * C).value
    tensors = dict(C1=torch.tensor(C), C2=torch.tensor(2 * C), p=torch.tensor([0.25, 0.75]), M=torch.tensor(3 * C))
    for name in tensors:  # one tensor, the rest lists
        given = {k: v if k == name else v.tolist() for k, v in tensors.items()}
        assert float(gwfast.sorted_gw(**given).value) == pytest.approx(expected, rel=1e-12)
    upper = gwfast.certify(tensors["C1"], tensors["C2"], [[0.5, 0.0], [0.0, 0.5]]).upper
    assert 0.5 <= float(upper) <= 0.5 + 1e-13
    for bad, message in (("uniform", "p: expected an array"), ([[1], [2, 3]], "p: expected an array")):
        with pytest.raises(gwfast.InputError, match=message):
            gwfast.sorted_gw(tensors["C1"], tensors["C2"], bad)
    with pytest.raises(gwfast.InputError, match="C1: expected a dense array"):
        gwfast.sorted_gw(tensors["C1"].to_sparse(), tensors["C2"])


def test_the_weights_of_a_space_are_of_its_library():
    torch = pytest.importorskip("torch", reason="torch is an extra")
    for space in (gwfast.Dense(torch.tensor(C), np.full(2, 0.5)), gwfast.Dense(C, torch.full((2,), 0.5))):
        with pytest.raises(gwfast.InputError, match=r"C1\.weights is (numpy|torch) on cpu"):
            gwfast.sorted_gw(space, space.cost)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "found NoneType, NoneType, NoneType"),
        (dict(rows=[0, 1], cols=[0, 1], mass=[0.5, 0.5]), "found list, list, list"),
        (dict(rows=np.arange(2), cols=np.arange(3), mass=np.ones(2)), r"shape \(2,\), found \(2,\), \(3,\)"),
        (dict(matrix=np.eye(3)), r"shape \(2, 2\), found \(3, 3\)"),
    ],
)
def test_plans_that_are_none(parts, message):
    with pytest.raises(gwfast.InputError, match=f"Plan: expected .*{message}"):
        gwfast.Plan((2, 2), **parts)


@pytest.mark.parametrize("size", [1e80, 1e-80])
def test_factors_whose_costs_are_out_of_range(size):
    X = size * np.ones((2, 3))
    X[0, 0] = 0
    assert gwfast.sorted_gw(gwfast.PointCloud(X), C).value >= 0
    for make in (
        lambda: gwfast.PointCloud(X, "sqeuclidean"),
        lambda: gwfast.Gram(X),
        lambda: gwfast.Gram(sp.csr_array(X)),
    ):
        with pytest.raises(gwfast.InputError, match=r"outside \[1e-76, 1e\+76\]"):
            make()


def test_weights_in_two_places_are_refused():
    with pytest.raises(gwfast.InputError, match="weights of its own"):
        gwfast.sorted_gw(gwfast.Dense(C, weights=np.array([0.5, 0.5])), C, p=[0.5, 0.5])


def test_unknown_effort():
    with pytest.raises(gwfast.InputError, match="effort: expected one of"):
        gwfast.lower_bound(C, C, effort="wild")
    with pytest.raises(gwfast.InputError, match="effort: expected one of"):
        gwfast.lower_bound(C, C, effort=np.array(["rows", "dual"]))
    with pytest.raises(gwfast.InputError, match="effort: expected one of"):
        gwfast.exact_gw(C, C, effort="")


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (np.ones((2, 3)), "plan: expected shape"),
        (np.array([[0.6, -0.1], [-0.1, 0.6]]), "plan: expected entries >= 0"),
        (np.eye(2), "its marginals differ"),
    ],
)
def test_bad_plans(plan, message):
    with pytest.raises(gwfast.InputError, match=message):
        gwfast.certify(C, C, plan)


def test_disconnected_graph_says_what_to_do():
    graph = nx.Graph([(0, 1), (2, 3)])
    with pytest.raises(gwfast.InputError, match="unreachable=2"):
        gwfast.Graph(graph)
    assert gwfast.Graph(graph, unreachable=5.0).cost.max() == 5


def test_edge_lengths_that_are_none():
    graph = nx.path_graph(3)
    for given, message in (
        ({"weight": "length"}, "weight: no edge has the attribute 'length'"),
        ({"weight": True}, "weight: True is for a matrix"),
    ):
        with pytest.raises(gwfast.InputError, match=message):
            gwfast.Graph(graph, **given)
    for length, message in (("far", "weight: expected numbers"), (np.nan, "lengths must be >= 0, found nan")):
        graph[0][1]["length"] = length
        with pytest.raises(gwfast.InputError, match=message):
            gwfast.Graph(graph, weight="length")


def test_a_graph_from_a_tensor_on_the_tape():
    torch = pytest.importorskip("torch", reason="torch is an extra")
    np.testing.assert_array_equal(gwfast.Graph(torch.tensor(C, requires_grad=True)).cost, C)


def test_inputs_are_never_written_to():
    rng = np.random.default_rng(0)
    C1, C2, p = rng.random((5, 5)), rng.random((4, 4)), rng.dirichlet(np.ones(5))
    before = C1.copy(), C2.copy(), p.copy()
    gwfast.sorted_gw(C1, C2, p)
    for x, y in zip(before, (C1, C2, p)):
        np.testing.assert_array_equal(x, y)


def test_integers_and_lists_are_fine():
    result = gwfast.sorted_gw([[0, 1], [1, 0]], np.array([[0, 3], [3, 0]]))
    assert result.value == pytest.approx(2.0)


def test_coordinates_where_costs_are_expected():
    X = np.arange(12.0).reshape(6, 2)
    for call in (gwfast.sorted_gw, gwfast.exact_gw, gwfast.entropic_gw, gwfast.lower_bound):
        with pytest.raises(
            gwfast.InputError, match=r"C1: .* found shape \(6, 2\); for coordinates use gwfast\.PointClo"
        ):
            call(X, C)


DOORS = [gwfast.sorted_gw, gwfast.exact_gw, gwfast.entropic_gw, gwfast.lower_bound, gwfast.certify]


@pytest.mark.parametrize("door", DOORS)
def test_arguments_of_pot_get_one_line(door):
    from gwfast.pot_names import NAMES

    plan = [np.eye(2) / 2] if door is gwfast.certify else []
    own = inspect.signature(door).parameters
    for name in sorted(NAMES.keys() - own.keys()):
        with pytest.raises(gwfast.InputError, match=f"^{name}: {door.__name__} has no such argument; [^\n]+$"):
            door(C, C, *plan, **{name: 1})
    with pytest.raises(TypeError, match="nonsense"):
        door(C, C, *plan, nonsense=1)


@pytest.mark.parametrize(
    ("door", "name", "told"),
    [
        (gwfast.pairwise_gw, "method", "pass quality"),
        (gwfast.pairwise_gw, "loss_fun", "the only one here"),
        (gwfast.pairwise_gw, "M", "pass features"),
        (gwfast.nearest, "p", "weights belong to the spaces"),
        (gwfast.neighbours, "G0", "missing here"),
        (gwfast.entropic_gw, "reg", "pass epsilon"),
        (gwfast.exact_gw, "tol_rel", "pass tol"),
        (gwfast.sorted_gw, "tol_rel", "leave it out"),
    ],
)
def test_the_advice_names_only_what_the_door_has(door, name, told):
    with pytest.raises(gwfast.InputError, match=f"^{name}: {door.__name__} has no such argument; [^\n]*{told}"):
        door([C, C], **{name: 1})
    if told.startswith("pass "):
        assert told.removeprefix("pass ") in inspect.signature(door).parameters


@pytest.mark.parametrize("name", ["G0", "loss_fun", "unbalanced", "symmetric", "armijo", "log", "tol_rel", "reg", "a"])
def test_what_users_of_pot_pass_most_is_in_the_table(name):
    with pytest.raises(gwfast.InputError, match=f"^{name}: exact_gw has no such argument"):
        gwfast.exact_gw(C, C, **{name: 1})


def test_positions_of_pot():
    p = np.full(2, 0.5)
    with pytest.raises(gwfast.InputError, match="exact_gw: expected C1, C2, p, q by position, found 5 arguments"):
        gwfast.exact_gw(C, C, p, p, "square_loss")


def test_the_signatures_of_the_front_doors_are_theirs():
    assert list(inspect.signature(gwfast.exact_gw).parameters)[:5] == ["C1", "C2", "p", "q", "M"]
    assert all(p.kind is not p.VAR_KEYWORD for door in DOORS for p in inspect.signature(door).parameters.values())


def test_a_directed_graph_of_neighbours_is_said():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    near = np.argsort(((X[:, None] - X) ** 2).sum(2), axis=1)[:, 1:5]
    A = sp.csr_array((np.ones(120), (np.repeat(np.arange(30), 4), near.ravel())), shape=(30, 30))
    with pytest.warns(UserWarning, match=r"edges to 4 others, but not back.*pass A\.maximum\(A\.T\)") as caught:
        gwfast.Graph(A, unreachable=9.0)
    assert caught[0].filename == __file__
    with (
        pytest.warns(UserWarning, match="not back"),
        pytest.raises(gwfast.InputError, match=r"make it undirected, A\.maximum\(A\.T\)"),
    ):
        gwfast.Graph(A)
    gwfast.Graph(A.maximum(A.T), unreachable=9.0)  # no warning
    gwfast.Graph(nx.from_scipy_sparse_array(A, create_using=nx.DiGraph), unreachable=9.0)  # asked for by its type
