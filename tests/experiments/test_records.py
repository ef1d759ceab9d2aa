"""Records are whole, and every quoted figure comes from them."""

import importlib
import math
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def catalogue():
    return importlib.import_module("experiments.catalogue").EXPERIMENTS


@pytest.fixture(scope="module")
def readme():
    return importlib.import_module("experiments.readme")


def test_readmes_say_what_the_records_say(catalogue, readme):
    for experiment in catalogue:
        assert (experiment.folder / "README.md").read_text() == readme.folder_readme(experiment), experiment.name


@pytest.mark.parametrize("name", ["usable_objective", "real_fusion", "rivals"])
def test_readmes_of_experiments_on_their_own_say_what_the_records_say(name):
    report = importlib.import_module(f"experiments.{name}.report")
    real = name == "real_fusion"
    record = importlib.import_module(f"experiments.{name}.run").KEPT if real else report.RECORD
    said = report.readme(record) if real else report.readme()
    assert (ROOT / "experiments" / name / "README.md").read_text() == said
    rows = record.rows
    assert len({row["job"] for row in rows}) == len(rows)
    assert all(row["seconds"] > 0 for row in rows)


def test_results_on_pages_say_what_the_records_say(readme):
    assert readme.pages()
    for page in readme.pages():
        assert page.read_text() == readme.filled(page.read_text()), page.name


def test_rows_are_finite_and_of_known_jobs(catalogue):
    for experiment in catalogue:
        rows = experiment.record.rows
        names = set(experiment.job_names()) if rows else set()
        assert len({row["job"] for row in rows}) == len(rows), experiment.name
        for row in rows:
            assert row["job"] in names
            assert re.fullmatch(r"[0-9a-f]{7,}", row["commit"])
            assert row["seconds"] > 0
            assert all(math.isfinite(v) for v in row.values() if isinstance(v, float))


def test_what_is_missing_is_said(catalogue):
    for experiment in catalogue:
        missing = not experiment.record.rows or set(experiment.job_names()) - experiment.record.done()
        assert ("ot yet run:" in (experiment.folder / "README.md").read_text()) == bool(missing), experiment.name


def test_about_names_versions_and_hardware(catalogue):
    for experiment in catalogue:
        if experiment.record.rows:
            about = experiment.record.about
            assert about["config"]
            for environment in about["environments"]:
                assert {"processor", "cores", "threads", "versions", "date"} <= environment.keys()
            named = {row["environment"] for row in experiment.record.rows}
            assert named == set(range(len(about["environments"]))), experiment.name


def test_stated_times_cover_what_the_records_took(catalogue):
    for experiment in catalogue:
        assert sum(row["seconds"] for row in experiment.record.rows) <= 60 * experiment.minutes, experiment.name


def test_files_are_small(catalogue):
    for experiment in catalogue:
        for path in experiment.folder.rglob("*"):
            assert path.stat().st_size < 120_000, path.name
        if experiment.record.rows:
            assert list(experiment.folder.glob("*.png")), experiment.name


def test_runs_use_the_weights_that_were_chosen(catalogue):
    selection = importlib.import_module("experiments.shared.selection")
    methods = importlib.import_module("experiments.shared.methods")
    for experiment in (e for e in catalogue if e.name in ("fusion_objectives", "fusion_ablation")):
        rows = experiment.record.rows
        for row in rows:
            if row["stage"] in ("test", "replay"):
                assert row["weight"] == selection.chosen_weight(rows, methods.by_name(row["method"])), row["job"]


def test_stated_times_fit_into_two_hours(catalogue):
    assert sum(e.minutes for e in catalogue) <= 116  # and 4 to build the models


def test_nothing_is_proved_above_the_best_plan_and_a_search_without_proof_is_absent(catalogue):
    rows = next(e for e in catalogue if e.name == "bounds_tightness").record.rows
    for row in rows:
        shares = {key: v for key, v in row.items() if key.endswith("_share") or key.startswith("bound ")}
        assert all(0 <= v <= 1 for v in shares.values()), row["job"]
        assert row.get("bound branch-and-bound") != 0, row["job"]


def test_no_solver_is_below_the_least_known(catalogue):
    rows = next(e for e in catalogue if e.name == "solvers").record.rows
    for row in rows:
        if "best known" in row:
            assert min(v for key, v in row.items() if key.endswith(" value")) >= row["best known"], row["job"]


def test_an_unknown_block_is_refused_with_the_known_ones(readme):
    with pytest.raises(ValueError, match="fusion_sweeps/gradients"):
        readme.results("no_such_experiment")
