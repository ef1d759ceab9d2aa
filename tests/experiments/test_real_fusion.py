"""A record of real weights holds rows of one setting."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run():
    return importlib.import_module("experiments.real_fusion.run")


def test_a_home_of_other_settings_is_refused_before_anything_is_made(run, tmp_path):
    record = run.Record(tmp_path / "home" / "record")
    record.start(run.config() | {"source_top_k": 1})
    before = (record.folder / "about.json").read_bytes()
    with pytest.raises(SystemExit, match=r"made with other settings \(source_top_k\); choose another --home"):
        run.main(tmp_path / "home", record)
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["record"]
    assert (record.folder / "about.json").read_bytes() == before


def test_more_rivals_and_seeds_go_into_the_same_record(run, tmp_path):
    record = run.Record(tmp_path)
    assert run.other_settings(record) == []
    record.start(run.config() | {"rivals": {}, "seeds": [0]})
    assert run.other_settings(record) == []
    assert run.other_settings(run.KEPT) == []


def test_runs_use_the_weights_that_were_chosen(run):
    methods = {method.name: method for method in run.RIVALS}
    rows = [row for row in run.KEPT.rows if row.get("stage") == "rival"]
    assert rows
    for row in rows:
        assert row["weight"] == run.report.chosen(run.KEPT, methods[row["method"]]), row["job"]


def test_the_overview_names_what_is_significantly_better_than_fine_tuning(run):
    tests = run.report.rival_tests(run.KEPT)
    better = [t.name.split()[0] for t in tests if t.name.endswith("less sft") and t.p_corrected < 0.05 and t.mean < 0]
    assert better == ["hybrid"]
    assert "only `hybrid` beat SFT significantly" in (ROOT / "README.md").read_text()
