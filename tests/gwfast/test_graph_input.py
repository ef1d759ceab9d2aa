"""Graphs as people have them: parallel edges, stored zeros, tables, .csv files of edges or of a matrix."""

import json

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

import gwfast
from gwfast.__main__ import main
from gwfast.io import Reading, load


@pytest.mark.parametrize("kind", [nx.MultiGraph, nx.MultiDiGraph])
def test_of_parallel_edges_the_shortest_counts(kind):
    graph = kind()
    for length in (5.0, 2.0, 3.0):
        graph.add_edge("a", "b", length=length)
        graph.add_edge("b", "a", length=length + 1)
    graph.add_edge("b", "c", length=1.0)
    graph.add_edge("c", "a", length=7.0)
    cost = gwfast.Graph(graph, weight="length").cost
    assert cost[0, 1] == 2
    assert cost[1, 0] == (3 if graph.is_directed() else 2)
    assert gwfast.Graph(graph).cost[0, 1] == 1
    assert gwfast.Graph(graph, "adjacency").cost[0, 1] == 1
    assert gwfast.Graph(graph, "adjacency", weight="length").cost[0, 1] == 2


def test_parallel_edges_without_the_attribute_count_1():
    graph = nx.MultiGraph([(0, 1), (0, 1)])
    graph.add_edge(0, 1, length=4.0)
    assert gwfast.Graph(graph, weight="length").cost[0, 1] == 1


@pytest.mark.parametrize("make", [sp.csr_array, sp.coo_array, sp.csc_array, sp.csr_matrix, sp.coo_matrix])
def test_stored_zeros_are_no_edges(make):
    values, rows, cols = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0], [0, 1, 0, 2, 1, 2], [1, 0, 2, 0, 2, 1]
    matrix = make(sp.coo_array((values, (rows, cols)), shape=(3, 3)))
    before = matrix.copy()
    for weight in (None, True):
        assert gwfast.Graph(matrix, weight=weight).cost[0, 2] == 2
        np.testing.assert_array_equal(gwfast.Graph(matrix, "adjacency", weight=weight).cost, matrix.toarray())
    assert matrix.nnz == before.nnz  # the caller's matrix is as it was


def test_repeated_entries_of_a_sparse_matrix_are_one_entry():
    # scipy adds them up; two that cancel are no edge
    matrix = sp.coo_array(([1.5, 1.5, 1.0, -1.0, 1.0, 3.0], ([0, 0, 0, 0, 2, 1], [1, 1, 2, 2, 1, 0])), shape=(3, 3))
    dense = matrix.toarray()
    np.testing.assert_array_equal(gwfast.Graph(matrix, "adjacency", weight=True).cost, dense)
    np.testing.assert_array_equal(gwfast.Graph(matrix, "adjacency").cost, (dense != 0).astype(float))


def test_data_frames():
    pandas = pytest.importorskip("pandas", reason="pandas comes with the extra llm")
    matrix = np.array([[0.0, 2.0, 0.0], [2.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    frame = pandas.DataFrame(matrix, index=list("abc"), columns=list("abc"))
    np.testing.assert_array_equal(gwfast.Graph(frame, weight=True).cost, gwfast.Graph(matrix, weight=True).cost)
    shuffled = frame[["c", "a", "b"]]
    np.testing.assert_array_equal(gwfast.Graph(shuffled, weight=True).cost, gwfast.Graph(matrix, weight=True).cost)
    np.testing.assert_array_equal(gwfast.Dense(shuffled).cost, matrix)
    assert gwfast.exact_gw(shuffled, matrix).value == 0
    assert gwfast.Graph(pandas.DataFrame(matrix.astype(int))).cost[0, 2] == 2
    for bad, message in (
        (pandas.DataFrame({"source": ["a"], "target": ["b"]}), "graph: expected a square table.*from_pandas_edgelist"),
        (frame.astype(object).map(str).replace("2.0", "x"), "graph: expected an array of numbers"),
        (frame.where(frame > 0), "graph: 5 of 9 entries are NaN"),
    ):
        with pytest.raises(gwfast.InputError, match=message):
            gwfast.Graph(bad)


MATRICES = {
    "zero diagonal": "0,1,2\n1,0,1\n2,1,0\n",
    "not symmetric": "0,1,2\n3,0,1\n1,2,0\n",
    "ones on the diagonal": "1,.5,.2\n.5,1,.1\n.2,.1,1\n",
    "two points": "0,1\n1,0\n",
    "four points": "5,1,2,3\n1,6,1,2\n2,1,7,1\n3,2,1,8\n",
    "one point": "0\n",
    "names on both sides": ",a,b,c\na,0,1,2\nb,1,0,1\nc,2,1,0\n",
    "spreadsheet": "\ufeff0, 1, 2\r\n1, 0, 1\r\n2, 1, 0\r\n",
}


@pytest.mark.parametrize("name", MATRICES)
def test_csv_files_that_are_matrices(tmp_path, name):
    (tmp_path / "m.csv").write_text(MATRICES[name], encoding="utf-8")
    loaded = load(str(tmp_path / "m.csv"))
    assert loaded.graph is None
    assert loaded.said.startswith(f"a {loaded.space.n} x {loaded.space.n} matrix of costs")
    if name in ("zero diagonal", "four points", "two points"):
        expected = [[float(cell) for cell in line.split(",")] for line in MATRICES[name].split()]
        np.testing.assert_array_equal(loaded.space.dense(), expected)


EDGES = {
    "0,1,1\n1,2,1\n0,2,5\n": (3, 2.0),
    "0,1\n1,2\n": (2, 2.0),
    "a,b,2\nb,c,3\n": (2, 5.0),
    "a,b,2\na,b,1\nb,a,4\nb,c,3\n": (2, 4.0),
    "source,target,weight\n0,1,0\n1,2,2\n": (2, 2.0),
}


@pytest.mark.parametrize("text", EDGES)
def test_csv_files_that_are_edges(tmp_path, text):
    (tmp_path / "e.csv").write_text(text)
    count, far = EDGES[text]
    loaded = load(str(tmp_path / "e.csv"))
    assert loaded.graph.number_of_edges() == count
    assert loaded.said.startswith(f"{count} edges")
    assert loaded.space.dense().max() == far
    assert load(str(tmp_path / "e.csv"), Reading(unweighted=True)).space.dense().max() == (1 if "0,2" in text else 2)


def test_how_a_file_was_read_is_said(capsys, tmp_path):
    (tmp_path / "a.csv").write_text("a,b,2\na,b,1\nb,c,3\n")
    (tmp_path / "b.csv").write_text("0,1,2\n1,0,1\n2,1,0\n")
    graph = nx.path_graph(3)
    nx.set_edge_attributes(graph, 2.0, "far")
    nx.write_graphml(graph, tmp_path / "c.graphml")
    assert main([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]) == 0
    said = capsys.readouterr().out
    assert (
        "a.csv: 2 edges between 3 nodes; of 1 repeated edges the shortest counts; the third column as lengths" in said
    )
    assert "b.csv: a 3 x 3 matrix" in said
    assert main([str(tmp_path / "c.graphml"), str(tmp_path / "b.csv"), "--json"]) == 0
    assert "--weight" in json.loads(capsys.readouterr().out)["read"]["first"]
    assert main([str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--unweighted", "--weight", "weight"]) == 2
    assert "--unweighted: found --weight weight as well" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({}, "the third column as lengths; --unweighted counts every edge as 1"),
        ({"unweighted": True}, "every edge counts as 1"),
        ({"weight": "weight"}, "weight as lengths"),
        ({"cost": "adjacency"}, "the third column as entries"),
    ],
)
def test_what_counts_as_length_is_said_as_it_was_done(tmp_path, flags, said):
    path = tmp_path / "e.csv"
    path.write_text("a,b,2\nb,c,3\n")
    loaded = load(str(path), Reading(**flags))
    assert said in loaded.said
    assert ("third column" in loaded.said) == ("third column" in said)


def test_each_file_may_have_its_own_lengths(tmp_path, capsys):
    graph = nx.path_graph(3)
    nx.set_edge_attributes(graph, 2.0, "km")
    nx.write_graphml(graph, tmp_path / "a.graphml")
    (tmp_path / "b.csv").write_text("0,1,2\n1,2,2\n")
    files = [str(tmp_path / "a.graphml"), str(tmp_path / "b.csv"), "--method", "sorted", "--json"]
    for names in ("km,weight", "km,"):
        assert main([*files, "--weight", names]) == 0
        assert json.loads(capsys.readouterr().out)["value"] == 0
    assert main([*files, "--weight", "km"]) == 2
    assert (
        "b.csv: --weight: no edge has the attribute 'km'; found weight; A,B names one of each file"
        in capsys.readouterr().err
    )
    assert main([*files, "--weight", "a,b,c"]) == 2
    assert "--weight: expected one name" in capsys.readouterr().err


def test_a_directed_export_says_that_directions_are_left_out(tmp_path):
    path = tmp_path / "gephi.csv"
    path.write_text("Source,Target,Type,Weight\na,b,Directed,1\nb,a,Directed,1\n")
    assert "--directed keeps directions" in load(str(path)).said
    assert "--directed keeps" not in load(str(path), Reading(directed=True)).said


def test_a_square_table_with_zeros_beside_its_diagonal_may_be_an_adjacency(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text(",a,b,c\na,0,2.5,0\nb,2.5,0,1\nc,0,1,0\n")
    assert "--adjacency reads edges" in load(str(path)).said
    path.write_text(",a,b,c\na,0,2.5,3\nb,2.5,0,1\nc,3,1,0\n")
    assert load(str(path)).said == "a 3 x 3 matrix of costs"


def test_files_of_one_name_are_shown_with_their_folders(tmp_path, capsys):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "g.csv").write_text("a,b\nb,c\n")
    assert main([str(tmp_path / "x" / "g.csv"), str(tmp_path / "y" / "g.csv"), "--method", "sorted"]) == 0
    said = capsys.readouterr().out
    assert all(f"{tmp_path / folder / 'g.csv'}: 2 edges" in said for folder in ("x", "y"))


def test_an_npy_header_that_claims_terabytes(tmp_path, capsys):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    claim = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 64
    (tmp_path / "huge.npy").write_bytes(claim)
    (tmp_path / "overflow.npy").write_bytes(claim.replace(b"(1000000, 1000000)", b"(2**62, 8**40000 )"))
    (tmp_path / "negative.npy").write_bytes(claim.replace(b"(1000000, 1000000)", b"(-100000, 1000000)"))
    for name in ("huge.npy", "overflow.npy", "negative.npy"):
        assert main([str(tmp_path / name), "karate"]) == 2
        err = capsys.readouterr().err
        assert "expected an array written by numpy.save" in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b,1\nb,c;d,2\n", "line 2: found semicolons between commas"),
        ("a,b,1\nb,c,inf\n", "line 2: expected a length >= 0, found inf"),
        ("a,b,1\nb,c,nan\n", "line 2: expected a length >= 0, found nan"),
        ("a,b,nan\na,b,1\n", "line 1: expected a length >= 0, found nan"),
        ("a,b,1\nb,c,-2\n", "line 2: expected a length >= 0, found -2"),
    ],
)
def test_lines_that_mean_something_else_are_refused(tmp_path, text, said):
    (tmp_path / "g.csv").write_text(text)
    with pytest.raises(gwfast.InputError, match=said):
        load(str(tmp_path / "g.csv"))


def test_an_edge_without_a_length_is_an_edge_and_a_comment_is_none(tmp_path):
    (tmp_path / "g.csv").write_text("# source, target\na,b,\nb,c,2\n")
    loaded = load(str(tmp_path / "g.csv"))
    assert loaded.said.startswith("2 edges")
    assert sorted(loaded.labels) == ["a", "b", "c"]


def test_a_table_of_edges_is_no_matrix():
    pd = pytest.importorskip("pandas", reason="pandas comes with the extra llm")
    for columns in ({"s": [1, 2], "t": [2, 3]}, {"s": [1, 2, 3], "t": [2, 3, 1], "w": [1, 1, 2]}):
        with pytest.raises(gwfast.InputError, match=r"columns name the points of its rows.*from_pandas_edgelist"):
            gwfast.Graph(pd.DataFrame(columns))
    matrix = pd.DataFrame([[0.0, 1.0], [1.0, 0.0]])
    assert gwfast.Graph(matrix).n == 2


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (sp.csr_array([[0, np.nan], [1, 0]]), "1 of 2 stored entries are NaN"),
        (sp.csr_array([[0, 1j], [1, 0]]), "found a sparse array of dtype complex128"),
        (sp.coo_array(np.array([0.0, 1.0])), "found a sparse array of shape"),
    ],
)
def test_sparse_matrices_are_checked_as_dense_ones(matrix, said):
    with pytest.raises(gwfast.InputError, match=said):
        gwfast.Graph(matrix)


@pytest.mark.parametrize("lengths", [(float("nan"), 1.0), (1.0, float("nan"))])
def test_a_parallel_edge_without_a_number_is_refused_in_any_order(lengths):
    graph = nx.MultiGraph()
    for length in lengths:
        graph.add_edge("a", "b", weight=length)
    with pytest.raises(gwfast.InputError, match="the edge 'a', 'b' has the length nan"):
        gwfast.Graph(graph, weight="weight")
