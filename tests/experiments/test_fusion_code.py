"""The code of the fusion experiments: controls, statistics, and a few steps of every method on toy models."""

import importlib
import itertools
import math

import pytest
import torch


@pytest.fixture(scope="module")
def controls():
    return importlib.import_module("experiments.shared.controls")


def factors():
    draw = torch.Generator().manual_seed(0)
    h = torch.rand(3, 7, 5, generator=draw)
    mask = torch.arange(7) < torch.tensor([[7], [4], [2]])
    return h * mask[..., None], mask


def features(h, mask, feature):
    from gwfast_llm.terms.graph import node_features

    ids = torch.zeros_like(h, dtype=torch.long)
    return node_features(h, ids, mask, nodes="rank", feature=feature, vocab_size=5)


def test_row_means_cannot_tell_a_graph_from_its_null_model(controls):
    h, mask = factors()
    torch.testing.assert_close(controls.control_features(h, mask, "null", "mean")[0], features(h, mask, "mean")[0])


@pytest.mark.parametrize("edges", ["constant", "independent", "null"])
def test_control_features_are_those_of_the_control_graph(controls, edges):
    h, mask = factors()
    count = mask.sum(1)[:, None, None]
    graph = torch.einsum("bli,blj->bij", h, h) / count
    m = h.sum(1) / count[..., 0]
    s = graph.sum(-1)
    other = {
        "constant": graph.mean((1, 2), keepdim=True).expand_as(graph),
        "independent": m[:, :, None] * m[:, None],
        "null": s[:, :, None] * s[:, None] / s.sum(-1)[:, None, None],
    }[edges]
    own = controls.control_features(h, mask, edges, "mean_std")
    torch.testing.assert_close(own[0], other.mean(-1))
    torch.testing.assert_close(own[1], other.std(-1, correction=0) * 5**0.5, atol=1e-6, rtol=1e-5)


def test_holm_is_the_textbook_step_down():
    statistics = importlib.import_module("experiments.shared.statistics")
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    (test,) = statistics.paired_tests([("same", [1.0, 2.0], [1.0, 2.0])])
    assert (test.p, test.mean) == (1.0, 0.0)


def test_not_a_number_is_never_recorded(tmp_path):
    records = importlib.import_module("experiments.shared.records")
    record = records.Record(tmp_path)
    with pytest.raises(ValueError, match="not finite"):
        record.append({"job": "a", "x": math.nan})
    assert record.rows == []


def test_finished_jobs_are_not_done_again(tmp_path):
    jobs = importlib.import_module("experiments.shared.jobs")
    records = importlib.import_module("experiments.shared.records")
    record, calls = records.Record(tmp_path), []

    def work():
        calls.append(1)
        return {"x": 1.0}

    for _ in range(2):
        jobs.run_jobs(record, [jobs.Job("a", work, {"seed": 0})], lambda text: None)
    assert len(calls) == 1
    assert record.rows[0]["x"] == 1.0


def test_rows_keep_what_they_were_run_on(tmp_path, monkeypatch):
    records = importlib.import_module("experiments.shared.records")
    jobs = importlib.import_module("experiments.shared.jobs")
    record = records.Record(tmp_path)
    for name in ("first", "second", "first"):
        monkeypatch.setattr(records, "environment", lambda name=name: {"processor": name})
        record.start({"started on": name})
        new = jobs.Job(f"job {len(record.rows)}", lambda: {"x": 1.0}, {"seed": 0})
        jobs.run_jobs(record, [new], lambda text: None)
    processors = [e["processor"] for e in record.about["environments"]]
    assert [processors[row["environment"]] for row in record.rows] == ["first", "second", "first"]


def test_threads_are_those_that_the_libraries_report():
    threads = importlib.import_module("experiments.shared.threads")
    before = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert threads.threads_in_force()["torch"] == count
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The benchmark with models of a few steps and few examples."""
    models = importlib.import_module("experiments.shared.models")
    benchmark = importlib.import_module("experiments.shared.benchmark")
    from gwfast_llm.tiny import recipes

    monkeypatch.setenv("GWFAST_CACHE", str(tmp_path))
    small = models.all_recipes(0.003)
    monkeypatch.setattr(models, "all_recipes", lambda: small)
    for name, value in (("EXAMPLES", 3), ("HELD_OUT", 2), ("TESTS", 2), ("REPLAYED", 2)):
        monkeypatch.setattr(benchmark, name, value)
    cached = (benchmark.pool, benchmark.tests, benchmark.held_out, benchmark.opened, benchmark.table)
    for function in cached:
        function.cache_clear()
    yield recipes
    for function in cached:
        function.cache_clear()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_method_and_control_trains(toy):
    methods = importlib.import_module("experiments.shared.methods")
    training = importlib.import_module("experiments.shared.training")
    for method in (*methods.METHODS, *methods.CONTROLS):
        weight = method.grid[1] if method.grid else 0.0
        run = training.Run(method, weight, 3.0, 4, 0, lr=1e-3)
        found = training.scored(run)
        assert all(math.isfinite(v) for v in found.values()), method.name


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_ladder_holds_on_a_toy(toy):
    measure = importlib.import_module("experiments.fusion_ladder.measure")
    report = importlib.import_module("experiments.fusion_ladder.report")
    benchmark = importlib.import_module("experiments.shared.benchmark")
    measure._held.cache_clear()
    found = measure.measure(benchmark.opened("pivot")[0], 0)
    values = [found[rung] for rung in report.RUNGS]
    assert all(a <= b * (1 + 1e-4) for a, b in itertools.pairwise(values))
    measure._held.cache_clear()
