"""Files that people have: how each is read is said, and what cannot be read gets one line."""

import contextlib
import gzip
import sys
import types

import networkx as nx
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

import gwfast
from gwfast.io import Reading, load
from gwfast.readers.formats import READERS

TRIANGLE = nx.Graph([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")])
COSTS = np.asarray(nx.floyd_warshall_numpy(TRIANGLE))


def read(path, **how):
    return load(str(path), Reading(**how))


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


WRITERS = {
    ".graphml": nx.write_graphml,
    ".gml": nx.write_gml,
    ".gexf": nx.write_gexf,
    ".net": nx.write_pajek,
    ".edgelist": nx.write_edgelist,
    ".txt": lambda graph, path: nx.write_edgelist(graph, path, data=False),
    ".tsv": lambda graph, path: nx.write_edgelist(graph, path, data=False, delimiter="\t"),
    ".csv": lambda graph, path: nx.write_edgelist(graph, path, data=False, delimiter=","),
    ".mtx": lambda graph, path: scipy.io.mmwrite(path, nx.to_scipy_sparse_array(graph)),
    ".npz": lambda graph, path: sp.save_npz(path, sp.csr_array(nx.to_scipy_sparse_array(graph))),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", WRITERS)
def test_one_graph_in_every_format(tmp_path, suffix, packed):
    path = tmp_path / f"g{suffix}"
    WRITERS[suffix](TRIANGLE, path)
    if packed:
        target = tmp_path / f"g{suffix}.gz"
        target.write_bytes(gzip.compress(path.read_bytes()))
        path = target
    loaded = read(path)
    np.testing.assert_array_equal(loaded.space.dense(), COSTS)
    assert loaded.name == path.name
    assert loaded.said


def test_every_ending_has_a_reader_and_is_in_the_help(capsys):
    from gwfast.__main__ import main

    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    assert all(suffix in told for suffix in READERS)


SPACES = {
    "whole numbers": ("1,2\n2,3\n", "Graph", "2 edges between 3 nodes; --points reads coordinates"),
    "fractions": ("1.5,2\n2,3\n5,1\n", "PointCloud", "3 points in 2 dimensions; --edges reads edges"),
    "signs": ("-1,2\n2,3\n5,1\n", "PointCloud", "3 points in 2 dimensions"),
    "three by three": ("1.0,2.0,3.0\n0.5,0.2,9\n3.3,1,2\n", "PointCloud", "--matrix reads costs"),
    "four columns": ("1,2,3,4\n2,3,4,5\n", "PointCloud", "2 points in 4 dimensions"),
    "axes": ("x,y\n1,2\n3,4\n5,9\n", "PointCloud", "columns x, y as coordinates"),
    "axes among others": ("cell,kind,x,y\nc1,T,1,2\nc2,B,3,5\n", "PointCloud", "left out: kind"),
    "spots": (",array_row,array_col\ns1,3,4\ns2,5,1\n", "PointCloud", "the first column as names"),
    "zeros and ones": ("0,1,0\n1,0,1\n0,1,0\n", "Dense", "--adjacency reads edges"),
    "names": ("Müller,Groß\nGroß,Øre\n", "Graph", "2 edges between 3 nodes"),
    "quotes": ('"Doe, J","Roe, R"\n"Roe, R","Poe, E"\n', "Graph", "2 edges between 3 nodes"),
    "self-loop": ("a,a\na,b\n", "Graph", "2 edges between 2 nodes"),
    "decimal commas": ("A;B;1,5\nB;C;2,5\n", "Graph", "columns between semicolons; decimal commas"),
    "decimal commas between spaces": ("0,5 1,5\n2,5 3,5\n", "PointCloud", "decimal commas"),
    "tabs": ("a\tb\t2\nb\tc\t3\n", "Graph", "columns between tabs"),
    "comments": ("% a\n# b\n1 2\n2 3\n", "Graph", "2 comment lines left out"),
    "CRLF and BOM": ("\ufeffsource,target,weight\r\na,b,1\r\nb,c,2\r\n", "Graph", "the third column as lengths"),
    "an index of pandas": (",source,target\n0,a,b\n1,b,c\n", "Graph", "the column without a name left out"),
    "Gephi": ("Source,Target,Type,Weight\n1,2,Undirected,1\n2,3,Undirected,4\n", "Graph", "--weight NAME"),
    "nodes x and y": ("x,y\ny,z\nz,x\n", "Graph", "3 edges between 3 nodes"),
    "nodes u and v": ("u,v\nv,w\n", "Graph", "2 edges between 3 nodes"),
    "names before coordinates": ("id,PC 1,PC_2\n1,2,3\n2,4,5\n3,1,1\n", "PointCloud", "the first column as names"),
    "underscores": ("node_1,node_2\n1,2\n2,3\n", "Graph", "2 edges between 3 nodes"),
    "separators at the ends": ("1,2,\n2,3,\n", "Graph", "2 edges"),
}


@pytest.mark.parametrize("name", SPACES)
def test_tables_are_told_apart_and_said(tmp_path, name):
    text, kind, said = SPACES[name]
    loaded = read(write(tmp_path / "t.csv", text))
    assert type(loaded.space).__name__ == kind
    assert said in loaded.said


def test_other_encodings(tmp_path):
    latin = read(write(tmp_path / "a.csv", "Müller,Groß\nGroß,Øre\n", "latin-1"))
    assert latin.labels == ["Müller", "Groß", "Øre"]
    assert "read as latin-1" in latin.said
    assert read(write(tmp_path / "b.csv", "a,b\nb,c\n", "utf-16")).space.n == 3


def test_a_flag_reads_a_table_in_another_way(tmp_path):
    edges = write(tmp_path / "t.csv", "1,2\n3,4\n5,9\n")
    np.testing.assert_array_equal(read(edges, kind="points").space.points, [[1, 2], [3, 4], [5, 9]])
    square = write(tmp_path / "s.csv", "0,1,2\n1,0,1\n2,1,0\n")
    assert read(square).space.symmetric
    assert read(square, kind="points").space.points.shape == (3, 3)
    np.testing.assert_array_equal(read(square, kind="adjacency").space.dense(), 1 - np.eye(3))
    assert read(square, kind="adjacency", weight="weight").space.dense().max() == 2
    lengths = write(tmp_path / "g.csv", "Source,Target,Type,Weight\n1,2,x,1\n2,3,x,4\n")
    assert read(lengths, weight="Weight").space.dense().max() == 5
    assert not read(write(tmp_path / "d.csv", "a,b\nb,a\nb,c\nc,a\n"), directed=True).space.symmetric


def test_arrays(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5, 2))
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "one.npz", X=X)
    np.savez(tmp_path / "two.npz", X=X, C=np.eye(4))
    np.save(tmp_path / "e.npy", np.array([[0, 1], [1, 2], [2, 0]]))
    for name in ("x.npy", "one.npz", "two.npz:X"):
        np.testing.assert_array_equal(read(tmp_path / name).space.points, X)
    assert read(tmp_path / "two.npz:C").space.n == 4
    loaded = read(tmp_path / "e.npy")
    assert "3 edges between 3 nodes" in loaded.said
    assert "--points reads coordinates" in loaded.said


@pytest.mark.parametrize("symmetry", ["general", "symmetric", "skew-symmetric"])
@pytest.mark.parametrize("dense", [False, True])
def test_matrix_market_as_scipy_reads_it(tmp_path, symmetry, dense):
    rng = np.random.default_rng(0)
    A = rng.integers(1, 5, size=(5, 5)).astype(float)
    A = {"general": A, "symmetric": A + A.T, "skew-symmetric": A - A.T}[symmetry]
    scipy.io.mmwrite(tmp_path / "a.mtx", A if dense else sp.csr_array(A), symmetry=symmetry)
    np.testing.assert_array_equal(read(tmp_path / "a.mtx", kind="matrix").space.dense(), A)
    scipy.io.mmwrite(tmp_path / "p.mtx", sp.csr_array(np.ones((3, 3))), field="pattern")
    np.testing.assert_array_equal(read(tmp_path / "p.mtx", kind="matrix").space.dense(), np.ones((3, 3)))


@pytest.mark.parametrize("seed", range(20))
def test_damaged_files_give_one_line_or_are_read(tmp_path, seed):
    rng = np.random.default_rng(seed)
    for suffix, writer in WRITERS.items():
        path = tmp_path / f"g{suffix}"
        writer(TRIANGLE, path)
        data = bytearray(path.read_bytes())
        if seed % 2:
            data = data[: rng.integers(len(data))]
        else:
            data[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(data)
        with contextlib.suppress(gwfast.InputError):  # nothing else is raised, and no warning
            read(path, unreachable=9.0)


def test_directions_and_components(tmp_path):
    nx.write_graphml(nx.DiGraph([("a", "b"), ("b", "c"), ("d", "e")]), tmp_path / "d.graphml")
    with pytest.raises(
        gwfast.InputError, match=r"directed.*5 components: pass --undirected to ignore directions, or --unreach"
    ):
        read(tmp_path / "d.graphml")
    with pytest.raises(gwfast.InputError, match=r"not connected.*pass --largest-component to keep 3 of 5 nodes"):
        read(tmp_path / "d.graphml", undirected=True)
    kept = read(tmp_path / "d.graphml", undirected=True, largest_component=True)
    assert kept.labels == ["a", "b", "c"]
    np.testing.assert_array_equal(kept.space.dense(), [[0, 1, 2], [1, 0, 1], [2, 1, 0]])
    assert read(tmp_path / "d.graphml", undirected=True, unreachable=3.0).space.dense().max() == 3
    with pytest.raises(gwfast.InputError, match="--undirected: found --directed as well"):
        read(tmp_path / "d.graphml", undirected=True, directed=True)


def test_of_both_directions_and_of_parallel_edges_the_shorter_counts(tmp_path):
    graph = nx.MultiDiGraph()
    graph.add_edge("a", "b", far=3.0)
    graph.add_edge("a", "b", far=2.0)
    graph.add_edge("b", "a", far=1.0)
    nx.write_graphml(graph, tmp_path / "m.graphml")
    loaded = read(tmp_path / "m.graphml", weight="far")
    np.testing.assert_array_equal(loaded.space.dense(), [[0, 2], [1, 0]])
    assert "--undirected ignores directions" in loaded.said
    assert read(tmp_path / "m.graphml", weight="far", undirected=True).space.dense().max() == 1
    with pytest.raises(gwfast.InputError, match="--weight: no edge has the attribute 'length'; found far"):
        read(tmp_path / "m.graphml", weight="length")


def test_numbers_read_as_edges_name_the_flag_for_points(tmp_path):
    with pytest.raises(gwfast.InputError, match="read as edges: pass --points if its numbers are coordinates"):
        read(write(tmp_path / "t.csv", "1,2\n3,4\n5,9\n"))


HEADER = "%%MatrixMarket matrix coordinate real general\n"
WRONG = {
    "empty.csv": (b"", "the file is empty"),
    "comments.txt": (b"# x\n", "has comments only"),
    "png.csv": (b"\x89PNG\r\n\x1a\n\x00\x00", "found binary data"),
    "ragged.csv": (b"1,2,3,4\n1,2,3\n", "line 2: expected 4 columns, found 3"),
    "complex.csv": (b"0,1+2j,1,1\n1,0,1,1\n1,1,0,1\n1,1,1,0\n", "line 1, column 2: expected a number, found '1+2j'"),
    "nan.csv": (b"0,1,2,nan\n1,0,1,1\n2,1,0,1\nnan,1,1,0\n", "2 of 16 entries are NaN"),
    "words.txt": (b"hello\nworld\n", "found 1 column"),
    "kinds.csv": (b"a,b,knows\n", "found no edges"),
    "kinds2.csv": (b"a,b,knows\nb,c,likes\n", "expected a number as length, found 'knows'; name the columns"),
    "short.csv": (b"x,y\n1,2\n3\n", "line 3: expected 2 columns, found 1"),
    "half.csv": (b"x,y\n", "found a header only"),
    "hole.csv": (b"a,b\n,c\n", "line 2: expected two nodes, found an empty cell"),
    "a.graphml": (b"a,b\n", "expected GraphML"),
    "b.graphml": (b"", "found an empty file"),
    "a.gml": (b"graph [", "expected GML"),
    "a.gexf": (b"<a/>", "expected GEXF"),
    "a.net": (b"*Vertices x\n", "expected Pajek"),
    "a.mtx": (b"hello", "begins with %%MatrixMarket matrix"),
    "claim.mtx": (HEADER.encode() + b"1000000000 1000000000 1\n1 1 1\n", "its header claims"),
    "long.mtx": (HEADER.encode() + b"3 3 1000000000\n1 1 1\n", "its header claims"),
    "outside.mtx": (HEADER.encode() + b"2 2 1\n5 2 1.0\n", "an index is outside 1 to 2"),
    "wide.mtx": (HEADER.encode() + b"2 3 1\n1 2 1.0\n", "a square matrix is needed, found 2 x 3"),
    "a.npz": (b"x", "expected an archive written by numpy.savez"),
    "a.npy": (b"x", "expected an array written by numpy.save"),
    "a.csv.gz": (b"x", "expected a gzip file"),
    "dict.edgelist": (b"a b {'w': ", "expected a list of edges"),
    "folder": (None, "expected a built-in name or a file ending in"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_give_one_line(tmp_path, name):
    data, message = WRONG[name]
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(gwfast.InputError) as error:
        read(tmp_path / name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.eye(4) * 1j, "expected real numbers, found dtype complex128"),
        (np.arange(6.0), "squareform"),
        (np.zeros((2, 2, 2)), r"found shape \(2, 2, 2\)"),
        (np.array([[0, np.nan], [1, 0], [2, 2]]), "1 of 6 coordinates are NaN"),
        (np.array(["a", "b"]), "it holds"),
    ],
)
def test_arrays_that_are_none(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", array)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(gwfast.InputError, match=message):
            read(tmp_path / name)


def test_archives_of_several_arrays_ask_for_one(tmp_path):
    np.savez(tmp_path / "two.npz", X=np.ones((5, 2)), C=np.eye(4))
    for name in ("two.npz", "two.npz:Q"):
        with pytest.raises(gwfast.InputError, match=r"found the arrays X, C; name one, two\.npz:X"):
            read(tmp_path / name)


def test_meshes_name_the_extra_or_are_read_by_what_is_installed(tmp_path, monkeypatch):
    path = write(tmp_path / "a.ply", "ply\n")
    for name in ("meshio", "trimesh"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(gwfast.MissingPackageError, match=r"\.ply files need meshio or trimesh.*\[meshes\]"):
        read(path)
    points = np.arange(12.0).reshape(4, 3)
    fake = types.SimpleNamespace(read=lambda path: types.SimpleNamespace(points=points))
    monkeypatch.setitem(sys.modules, "meshio", fake)
    loaded = read(path)
    np.testing.assert_array_equal(loaded.space.points, points)
    assert "4 points in 3 dimensions; vertices read by meshio" in loaded.said

    def leaves(path):
        print("an unknown file")
        sys.exit(1)

    monkeypatch.setitem(sys.modules, "meshio", types.SimpleNamespace(read=leaves))
    with pytest.raises(gwfast.InputError, match=r"expected a \.ply file that meshio reads"):
        read(path)


def test_a_dense_matrix_market_file_that_is_not_square_holds_coordinates(tmp_path):
    X = np.arange(12.0).reshape(4, 3) ** 1.5
    scipy.io.mmwrite(tmp_path / "x.mtx", X)
    loaded = read(tmp_path / "x.mtx")
    assert loaded.said.startswith("4 points in 3 dimensions")
    np.testing.assert_allclose(loaded.space.dense(), gwfast.PointCloud(X).dense())
