"""python -m gwfast A B."""

import json
import sys
import types

import networkx as nx
import numpy as np
import pytest

import reference
from gwfast.__main__ import main


def run(capsys, *arguments):
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_built_in_graphs_print_a_valid_interval(capsys):
    code, out, _ = run(capsys, "karate", "florentine", "--json")
    assert code == 0
    record = json.loads(out)
    a, b = nx.karate_club_graph(), nx.florentine_families_graph()
    T = np.zeros((len(a), len(b)))
    rows = {str(v): i for i, v in enumerate(a)}
    cols = {str(v): i for i, v in enumerate(b)}
    for atom in record["plan"]:
        T[rows[atom["from"]], cols[atom["to"]]] += atom["mass"]
    C1 = np.array(nx.floyd_warshall_numpy(a, weight=None))
    C2 = np.array(nx.floyd_warshall_numpy(b, weight=None))
    assert record["upper"] == pytest.approx(reference.objective(C1, C2, T))
    assert 0 < record["lower"] < record["upper"]


def test_table_and_picture(capsys, tmp_path):
    target = tmp_path / "out.png"
    code, out, err = run(capsys, "florentine", "karate", "--plot", str(target))
    assert (code, err) == (0, "")
    assert "interval" in out
    assert target.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]


def test_files(capsys, tmp_path):
    np.save(tmp_path / "a.npy", np.array([[0.0, 1.0], [1.0, 0.0]]))
    (tmp_path / "b.csv").write_text("source,target\nx,y\ny,z\n")
    nx.write_graphml(nx.path_graph(3), tmp_path / "c.graphml")
    code, out, _ = run(capsys, str(tmp_path / "b.csv"), str(tmp_path / "c.graphml"), "--json")
    assert code == 0
    assert json.loads(out)["value"] < 1e-15
    assert run(capsys, str(tmp_path / "a.npy"), str(tmp_path / "c.graphml"))[0] == 0
    (tmp_path / "d.csv").write_text("node,node,weight\nx,y,2\n", encoding="utf-8-sig")
    code, out, _ = run(capsys, str(tmp_path / "d.csv"), str(tmp_path / "a.npy"), "--weight", "weight", "--json")
    assert code == 0
    assert json.loads(out)["value"] == 0.5
    (tmp_path / "e.csv").write_text("Source,Target\nx,y\n", encoding="utf-8-sig")
    assert json.loads(run(capsys, str(tmp_path / "e.csv"), str(tmp_path / "a.npy"), "--json")[1])["value"] == 0


BAD = {
    "missing.csv": (None, "no such file"),
    "unknown.doc": ("1", "expected a built-in name"),
    "words": (None, "expected a built-in name"),
    "broken.npy": ("not numpy", "written by numpy.save"),
    "broken.graphml": ("<graph", "expected GraphML"),
    "columns.csv": ("a,b,c,d\n", "line 1: expected source,target[,length], found 4 columns"),
    "header.csv": ("a,b,far\n", "found no edges"),
    "length.csv": ("a,b,1\na,c,far\n", "line 2: expected a number as length"),
    "empty.csv": ("", "found no edges"),
    "parts.csv": ("a,b\nc,d\n", "pass --largest-component to keep 2 of 4 nodes, or --unreachable 2"),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_files_give_one_line_and_code_2(capsys, tmp_path, name):
    content, message = BAD[name]
    path = tmp_path / name if "." in name else name
    if content is not None:
        path.write_text(content)
    code, out, err = run(capsys, str(path), "karate")
    assert code == 2
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_picture_in_a_missing_folder(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("gwfast.command.solving.exact_gw", None)  # found before anything is solved
    code, _, err = run(capsys, "karate", "florentine", "--plot", str(tmp_path / "no" / "out.png"))
    assert code == 2
    assert "no folder" in err


def test_a_picture_that_fails_leaves_the_answer(capsys, tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise OSError(28, "No space left on device", "out.png")

    monkeypatch.setattr("gwfast.command.picture.plot_matching", broken)
    code, out, err = run(capsys, "karate", "florentine", "--plot", str(tmp_path / "out.png"))
    assert code == 2
    assert "interval" in out
    assert "No space left" in err
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_is_not_loaded(capsys, tmp_path):
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    code, _, err = run(capsys, str(tmp_path / "evil.npy"), "karate")
    assert code == 2
    assert "numpy.save" in err


def test_the_default_is_quick_and_says_how_to_go_on(capsys):
    code, out, _ = run(capsys, "karate", "florentine", "--json")
    record = json.loads(out)
    assert code == 0
    assert record["solver"] == "exact_gw"
    assert record["seconds"] < 1
    assert record["preparing_seconds"] > 0
    assert record["gap"] < 0.3
    assert record["next"] == ["tighter: python -m gwfast karate florentine --rtol 0.01 --time-limit 60"]
    assert json.loads(run(capsys, "karate", "karate", "--json")[1])["next"] == []


def test_the_next_command_keeps_how_files_are_read(capsys, tmp_path):
    path = tmp_path / "my points.csv"
    path.write_text("1,2\n3,4\n5,9\n8,8\n")
    out = run(capsys, str(path), "florentine", "--first", "points", "--method", "sorted")[1]
    assert f"tighter: python -m gwfast '{path}' florentine --first points --rtol 0.01 --time-limit 60" in out


def test_a_gap_that_is_not_reached_is_said(capsys):
    code, out, _ = run(capsys, "karate", "florentine", "--rtol", "0.001", "--time-limit", "0.2")
    assert code == 0
    assert "asked for a gap of 0.1 %, reached" in out
    assert "--rtol 0.001 --time-limit 2" in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rtol", "2"], "--rtol: expected a number between 0 and 1"),
        (["--time-limit", "0"], "--time-limit: expected a number above 0"),
        (["--method", "sorted", "--effort", "rows"], "pass --method exact"),
        (["--method", "entropic", "--rtol", "0.1"], "--rtol: the entropic solver reaches no gap"),
        (["--unreachable", "-1"], "--unreachable: expected a distance >= 0"),
    ],
)
def test_flags_that_cannot_be_met(capsys, flags, message):
    code, out, err = run(capsys, "karate", "florentine", *flags)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_demo_hands_its_options_on(capsys, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setitem(sys.modules, "gwfast.demo", types.SimpleNamespace(main=seen.append))
    assert run(capsys, "demo", "--plot", str(tmp_path / "d.png"))[0] == 0
    assert seen == [str(tmp_path / "d.png")]
    assert run(capsys, "demo", "--plot", "d.jpg")[0] == 2
