"""The comparison of solvers: what counts as found, and what is left out."""

import importlib

import numpy as np
import pytest


@pytest.fixture
def run(monkeypatch):
    module = importlib.import_module("experiments.solvers.run")
    peers = importlib.import_module("experiments.solvers.peers")
    known = peers.solvers(entropic=False)
    few = {name: known[name] for name in ("gwfast exact", "POT")}
    few["product"] = lambda a, b: np.full((len(a), len(b)), 1 / (len(a) * len(b)))
    few["broken"] = lambda a, b: np.full((len(a), len(b)), np.nan)
    for place in (module, peers):
        monkeypatch.setattr(place, "solvers", lambda entropic=True: few)
    monkeypatch.setattr(module, "PAIRS", 2)
    peers.warm.cache_clear()
    return module


def line(n, stretch=1.0):
    x = np.arange(n, dtype=float) ** 1.5 * stretch
    return np.abs(x[:, None] - x)


def test_equal_spaces_are_counted_apart_and_have_no_ratio(run):
    found = run.real_pairs([line(6), line(6)[::-1, ::-1].copy()], 0)
    assert (found["pairs"], found["zero pairs"]) == (2, 2)
    assert (found["gwfast exact zeros"], found["product zeros"], found["broken zeros"]) == (2, 0, 0)
    assert not [key for key in found if key.endswith("ratio")]


def test_ratios_are_over_the_least_known_and_missing_where_there_is_no_plan(run):
    found = run.real_pairs([line(6), line(7, 1.3)], 0)
    assert found["zero pairs"] == 0
    assert found["product ratio"] > found["gwfast exact ratio"] >= 1
    assert found["product best"] == 0
    assert "broken ratio" not in found


def test_a_given_folder_must_hold_the_data_and_a_missing_one_is_said(run, tmp_path, monkeypatch, capsys):
    with pytest.raises(FileNotFoundError, match="MUTAG"):
        run.data_folder(tmp_path)
    monkeypatch.setattr(run, "REPOSITORY", tmp_path / "repository")
    assert run.data_folder() is None
    assert "left out" in capsys.readouterr().out
    for name in ("MUTAG", "neurons"):
        (tmp_path / "shared" / "data" / name).mkdir(parents=True)
    assert run.data_folder() == tmp_path / "shared" / "data"
