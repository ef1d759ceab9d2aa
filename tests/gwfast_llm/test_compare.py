"""fuse --compare: several objectives from one configuration, each as its own fusion, and one report."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file

from fusing import records, weights
from gwfast_llm.command_line.comparison import finished, objectives_of
from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig
from gwfast_llm.fuse import main
from gwfast_llm.models.loading import load_model, load_tokenizer
from gwfast_llm.reports import run_report
from gwfast_llm.reports.objectives import scores_table, winners
from gwfast_llm.reports.scores import Contender, Score
from gwfast_llm.reports.scoring import evaluate
from gwfast_llm.system.errors import FusionError
from gwfast_llm.text.reading import read_examples
from gwfast_llm.training import fusion

PLAIN = FuseConfig(ModelConfig("x"), DataConfig("y", "z"), [SourceConfig("w")])


def test_names_become_objectives_and_keep_the_options():
    own = FuseConfig(
        PLAIN.pivot, PLAIN.data, PLAIN.sources, ObjectiveConfig(preset="custom", uld=2.0, top_k=7, routing="all")
    )
    found = objectives_of("sft, path,hellinger=10,custom", own)
    assert list(found) == ["sft", "path", "hellinger=10", "custom"]
    shown = {name: {t: w for t, w in c.objective.weights.items() if w} for name, c in found.items()}
    assert shown == {
        "sft": {"sft": 1.0},
        "path": {"sft": 1.0, "path": 3.0},
        "hellinger=10": {"sft": 1.0, "hellinger": 10.0},
        "custom": {"sft": 1.0, "uld": 2.0},
    }
    assert all((c.objective.top_k, c.objective.routing) == (7, "all") for c in found.values())
    assert all((c.train, c.data) == (own.train, own.data) for c in found.values())


@pytest.mark.parametrize(
    ("names", "config", "message"),
    [
        ("sft", PLAIN, "--compare sft is one objective; give two or more"),
        ("sft,sft", PLAIN, "names an objective twice"),
        ("sft,foo", PLAIN, "'foo' is no objective; expected a preset \\(path, infigfusion, sft\\), a term"),
        ("sft,custom", PLAIN, "'custom' is no objective"),
        ("sft,uld", PLAIN, "the term 'uld' has no positive weight; give one, for instance uld=1"),
        ("sft,uld=-1", PLAIN, "the term 'uld=-1' has no positive weight"),
        ("sft,uld=1", FuseConfig(PLAIN.pivot, DataConfig("y"), PLAIN.sources), "give data.validation"),
    ],
)
def test_mistakes_are_named(names, config, message):
    with pytest.raises(FusionError, match=message):
        objectives_of(names, config)


def test_the_embedded_default_compares_already(capsys):
    assert main(["--compare", "sft,path"]) == 2
    assert "the embedded default compares its own objectives" in capsys.readouterr().err


def models(folder):
    return {path.name for path in (folder / "models").iterdir()}


def test_every_objective_is_its_own_fusion_scored_and_reported(fuse_here, home, tmp_path):
    code, said = fuse_here("--compare", "sft,path", log_every=2, eval_every=3)
    assert code == 0, said
    run = tmp_path / "runs" / "r"
    assert models(run) == {"sft", "path"}
    assert not any((run / name).exists() for name in ("checkpoints", "results", "scores", "model"))
    code, said = fuse_here(name="alone", objective={"preset": "sft", "source_top_k": 0}, log_every=2, eval_every=3)
    assert code == 0, said
    alone = weights(tmp_path / "runs" / "alone")
    for name, value in load_file(run / "models" / "sft" / "model.safetensors").items():
        assert torch.equal(value, alone[name])
    page = (run / "report.md").read_text()
    assert "![scores](scores.png)" in page
    assert "One seed (0) an objective" in page
    assert re.search(r"Held-out loss, nats a byte: best \*\*(sft|path)\*\* with \d", page)
    # scores are those of the models as they lie on the disk
    examples = read_examples(str(home / "held-out.jsonl"))
    found = {}
    for name in ("sft", "path"):
        model = ModelConfig(str(run / "models" / name))
        found[name] = evaluate(load_model(model), load_tokenizer(model), examples, 4)
    rows = [row for row in records(run) if "score" in row and row["kind"] == "bytes"]
    assert {row["contender"] for row in rows} == {"pivot before", "sft", "path"}
    for row in rows:
        if row["contender"] in found:
            own = next(s for s in found[row["contender"]] if s.task == row["task"])
            assert row["score"] == pytest.approx(own.nats_a_byte, rel=1e-5)
    for name in ("report.md", "scores.png", "losses.png"):
        (run / name).unlink()
    assert run_report.draw(run) == []
    assert (run / "report.md").read_text() == page


def test_what_fails_costs_nothing_of_the_others(fuse_here, tmp_path):
    code, said = fuse_here("--compare", "sft,uld=1e38,path", log_every=1)
    assert code == 2
    error = said.splitlines()[-1]
    assert error.startswith("error: uld=1e38 failed: the loss")
    assert "the results of 2 fusions is kept" in error
    work = tmp_path / "runs" / ".r.unfinished"
    assert f"the others are compared in {work / 'report.md'}" in error
    page = (work / "report.md").read_text()
    assert "* uld=1e38 **failed**: the loss" in page
    assert "| sft | " in page
    assert "| path | " in page
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*.safetensors")}
    assert len(before) == 2
    # the same name goes on neither as a plain run nor with another configuration
    assert "another configuration (compare)" in fuse_here("--resume", log_every=1)[1]
    assert "another configuration (train.lr)" in fuse_here("--resume", "--compare", "sft,path", lr=0.5, log_every=1)[1]
    code, said = fuse_here("--resume", "--compare", "sft,path", log_every=1)
    assert code == 0, said
    run = tmp_path / "runs" / "r"
    assert models(run) == {"sft", "path"}
    assert {path.stat().st_mtime_ns for path in run.rglob("models/*/*.safetensors")} == set(before.values())
    assert "failed" not in (run / "report.md").read_text()


def test_a_stopped_comparison_goes_on_where_it_was(fuse_here, tmp_path, monkeypatch):
    done = []

    def stops_at_the_second(config, **options):
        if done:
            raise KeyboardInterrupt
        done.append(config.objective.preset)
        return fuse(config, **options)

    fuse = fusion.fuse
    with monkeypatch.context() as patch:
        patch.setattr(fusion, "fuse", stops_at_the_second)
        code, said = fuse_here("--compare", "sft,path")
    assert code == 130
    assert "the results of 1 fusions is kept" in said
    work = tmp_path / "runs" / ".r.unfinished"
    assert finished(work, "sft") is not None
    assert finished(work, "path") is None
    asked = []
    monkeypatch.setattr(fusion, "fuse", lambda config, **options: (asked.append(config), fuse(config, **options))[1])
    code, said = fuse_here("--compare", "sft,path", "--resume")
    assert code == 0, said
    assert [config.objective.preset for config in asked] == ["path"]
    assert models(tmp_path / "runs" / "r") == {"sft", "path"}


def contender(name, loss, exact, trained=True):
    scores = [Score(task, kind, v) for task in "ab" for kind, v in (("exact", exact), ("bytes", loss))]
    return Contender(name, "", [scores], trained)


def test_who_wins_is_said_for_every_measure():
    before = contender("pivot before", 2.0, 0.5, trained=False)
    said = winners([before, contender("sft", 1.0, 0.25), contender("path", 1.5, 0.25)])
    assert said == [
        "Held-out loss, nats a byte: best **sft** with 1.0000, the pivot before 2.0000.",
        "Held-out answers right as a whole: best **sft**, **path** with 0.2500, the pivot before 0.5000; "
        "no objective is better than the pivot before.",
    ]


def test_the_table_shows_scores_losses_and_what_was_not_measured():
    before = contender("pivot before", 2.0, 0.5, trained=False)
    rows = [{"objective": "sft", "step": k, "sft": value, "loss": value} for k, value in ((1, 3.0), (2, 2.5))]
    lines = scores_table([before, contender("sft", 1.0, 0.25)], rows).splitlines()
    assert lines[2] == "| pivot before | 2.0000 | 0.5000 | 2.0000 | 2.0000 | – | – | – |"
    assert lines[3] == "| sft | 1.0000 | 0.2500 | 1.0000 | 1.0000 | – | 2.5000 | – |"


def test_a_damaged_result_is_named(tmp_path):
    (tmp_path / "models" / "sft").mkdir(parents=True)
    assert finished(tmp_path, "sft") is None
    (tmp_path / "results").mkdir()
    for content in ("", "[]", "{}", json.dumps({"metrics": 3, "seconds": 1, "notes": []})):
        (tmp_path / "results" / "sft.json").write_text(content)
        with pytest.raises(FusionError, match=r"sft\.json"):
            finished(tmp_path, "sft")
