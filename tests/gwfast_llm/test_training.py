"""The trainer and its command: what must not change the numbers does not, on small models."""

import dataclasses
import json
import signal
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from fusing import command, config_file, records, run, weights
from gwfast_llm.config import (
    DataConfig,
    FuseConfig,
    LoraConfig,
    ModelConfig,
    ObjectiveConfig,
    SourceConfig,
    TrainConfig,
)
from gwfast_llm.fuse import main as fuse_command
from gwfast_llm.models.loading import load_tokenizer
from gwfast_llm.student.dense import DenseStudent
from gwfast_llm.system.errors import FusionError
from gwfast_llm.terms.objective import Objective
from gwfast_llm.text.examples import encode_all
from gwfast_llm.text.reading import read_examples
from gwfast_llm.training.arguments import training_arguments
from gwfast_llm.training.fusion import fuse
from gwfast_llm.training.sources import online_source
from gwfast_llm.training.trainer import BATCH

EVERYTHING = ObjectiveConfig(
    preset="custom", path=1.0, uld=0.5, gld=0.1, gld_pull=0, gld_aligned=0.3, hellinger=0.2, hybrid=0.4, source_top_k=0
)


def config(home, objective=EVERYTHING, lora=None, **train):
    train = {
        "steps": 3,
        "batch_size": 8,
        "lr": 1e-2,
        "warmup_steps": 1,
        "log_every": 1,
        "diagnose": 0,
        "eval_every": 0,
        "samples": 0,
        **train,
    }
    return FuseConfig(
        ModelConfig(str(home / "pivot")),
        DataConfig(str(home / "train.jsonl"), str(home / "held-out.jsonl"), max_length=96, end_token=False),
        [SourceConfig(str(home / "A"), name="A"), SourceConfig(str(home / "B"), name="B", weight=0.5)],
        objective,
        TrainConfig(**train),
        lora or LoraConfig(),
    )


def quiet(done, total):
    """Progress that nobody watches."""


def same_weights(a, b, **tolerance):
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y, msg=lambda m, name=name: f"{name}: {m}", **tolerance)


@pytest.mark.parametrize("routing", ["mince", "all"])
def test_accumulated_batches_are_one_large_batch(home, routing):
    objective = dataclasses.replace(EVERYTHING, routing=routing)
    one = fuse(config(home, objective, batch_size=8), quiet)
    eight = fuse(config(home, objective, batch_size=1, accumulate=8), quiet)
    for a, b in zip(one.metrics, eight.metrics, strict=True):
        for name in ("loss", "sft", "path", "uld", "gld", "gld_aligned", "hellinger", "hybrid"):
            assert a[name] == pytest.approx(b[name], rel=2e-5)
    same_weights(one.model, eight.model, rtol=1e-3, atol=1e-5)


def test_parts_add_up_to_the_loss(home):
    fused = fuse(config(home), quiet)
    weights = EVERYTHING.weights
    for row in fused.metrics:
        assert row["loss"] == pytest.approx(sum(w * row[n] for n, w in weights.items() if w), rel=1e-5)


@pytest.mark.parametrize("batch_size", [3, 10])
def test_evaluation_loss_is_the_objective_of_all_held_out_examples_at_once(home, batch_size):
    from gwfast_llm.training.trainer import FusionTrainer

    fused = fuse(config(home, steps=1, eval_every=1, batch_size=batch_size, lr=1e-9), quiet)
    found = next(row for row in fused.metrics if "eval_loss" in row)
    seen = {}
    original = FusionTrainer.evaluate

    def spy(self, *args, **kwargs):
        data = self.eval_dataset
        batch = self._prepare_inputs(self.data_collator([data[i] for i in range(len(data))]))[BATCH]
        model = self.model.double()
        logits = model(**batch.model_inputs).logits
        objective = Objective.of(EVERYTHING, self._objective.slots)
        parts, counts = objective.values(DenseStudent(logits), batch), objective.counts(batch)
        seen["loss"] = sum(
            weight * float(p.total.detach() / c) for weight, p, c in zip(objective.weights, parts, counts, strict=True)
        )
        model.float()
        return original(self, *args, **kwargs)

    FusionTrainer.evaluate = spy
    try:
        fuse(config(home, steps=1, eval_every=1, batch_size=batch_size, lr=1e-9), quiet)
    finally:
        FusionTrainer.evaluate = original
    assert found["eval_loss"] == pytest.approx(seen["loss"], rel=1e-5)


def test_epochs_are_counted_in_steps_and_the_schedule_is_the_one_asked_for(home):
    fused = fuse(config(home, epochs=1.4, batch_size=5, accumulate=2, log_every=1, schedule="cosine"), quiet)
    steps = 5  # 1.4 x 32 examples, ten a step
    assert [row["step"] for row in fused.metrics if "loss" in row] == list(range(1, steps + 1))
    assert fused.steps == steps
    train = TrainConfig(steps=10, warmup_steps=0, lr=1.0, schedule="cosine")
    given = training_arguments(train, Path("x") / ".name.unfinished" / "checkpoints", True, False)
    assert (given.lr_scheduler_type, given.run_name) == ("cosine", "name")


def test_the_mean_of_sources_is_one_source_where_they_are_the_same(home):
    base = config(home, steps=1)
    names = [dataclasses.replace(base.sources[0], name=name, weight=w) for name, w in (("A", 1.0), ("twin", 3.0))]
    losses = {}
    for routing, sources in (("mean", names), ("all", names), ("mince", names[:1])):
        objective = ObjectiveConfig(preset="custom", path=1.0, uld=0.5, source_top_k=0, routing=routing)
        found = fuse(dataclasses.replace(base, sources=sources, objective=objective), quiet)
        losses[routing] = found.metrics[0]["path"]
        assert any("add up to 4 times" in note for note in found.notes) == (routing == "all")
    assert losses["mean"] == pytest.approx(losses["mince"], rel=1e-5)
    assert losses["all"] == pytest.approx(4 * losses["mince"], rel=1e-5)


def test_runs_repeat_exactly(home):
    first, second = fuse(config(home), quiet), fuse(config(home), quiet)
    assert [r["loss"] for r in first.metrics] == [r["loss"] for r in second.metrics]
    same_weights(first.model, second.model, rtol=0, atol=0)


# peft 0.21 asks transformers 5.23 by a name that is going to change
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_adapters_are_merged_into_plain_weights(home):
    start = AutoModelForCausalLM.from_pretrained(home / "pivot")
    fused = fuse(config(home, lora=LoraConfig(rank=2, alpha=8.0), gradient_checkpointing=True), quiet)
    assert list(fused.model.state_dict()) == list(start.state_dict())
    changed = [
        name
        for (name, a), b in zip(fused.model.state_dict().items(), start.state_dict().values(), strict=True)
        if not torch.equal(a, b)
    ]
    assert changed
    assert all("proj" in name for name in changed)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_runs_with_adapters_repeat_exactly(home):
    first, second = (fuse(config(home, lora=LoraConfig(rank=2)), quiet) for _ in range(2))
    assert [r["loss"] for r in first.metrics] == [r["loss"] for r in second.metrics]
    same_weights(first.model, second.model, rtol=0, atol=0)


def test_unknown_adapter_targets_are_named(home):
    with pytest.raises(FusionError, match=r"lora\.targets 'nothing'"):
        fuse(config(home, lora=LoraConfig(rank=2, targets="nothing")), quiet)


def test_kl_between_unequal_vocabularies_is_refused(home):
    with pytest.raises(FusionError, match=r"objective\.kl needs equal vocabularies.*source A"):
        fuse(config(home, ObjectiveConfig(preset="custom", kl=1.0)), quiet)


def test_kl_is_path_for_equal_tokenizers(home):
    def run(**parts):
        base = config(home, ObjectiveConfig(preset="custom", **parts))
        twin = SourceConfig(str(home / "pivot"), name="twin")
        return fuse(dataclasses.replace(base, sources=[twin]), quiet)

    by_kl, by_path = run(kl=2.0), run(path=2.0)
    assert [r["kl"] for r in by_kl.metrics] == [r["path"] for r in by_path.metrics]
    assert by_kl.metrics[0]["kl"] == pytest.approx(0, abs=1e-5)  # the twin agrees with the pivot at the start
    same_weights(by_kl.model, by_path.model, rtol=0, atol=0)


def test_a_tokenizer_too_large_for_its_model_is_refused(home, tmp_path):
    import shutil

    shutil.copytree(home / "B", tmp_path / "mixed")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(home / "A" / name, tmp_path / "mixed" / name)
    mixed = dataclasses.replace(config(home), sources=[SourceConfig(str(tmp_path / "mixed"))])
    with pytest.raises(FusionError, match="source mixed: the tokenizer has ids up to 149, the model only 70 logits"):
        fuse(mixed, quiet)


def test_padded_vocabularies_change_nothing(home, tmp_path):
    """Models with more rows than tokens (151,936 against 152,064) give the same parts."""
    import shutil

    from transformers import AutoTokenizer

    padded = {}
    for name in ("pivot", "A", "B"):
        shutil.copytree(home / name, tmp_path / name)
        model = AutoModelForCausalLM.from_pretrained(home / name)
        rows = model.get_input_embeddings().weight.shape[0]
        model.resize_token_embeddings(rows + 9)
        with torch.no_grad():
            model.get_input_embeddings().weight[rows:] = 0.0
        model.save_pretrained(tmp_path / name)
        padded[name] = AutoTokenizer.from_pretrained(tmp_path / name)
    base = config(home, steps=1)
    moved = dataclasses.replace(
        base,
        sources=[SourceConfig(str(tmp_path / n), name=n, weight=s.weight) for n, s in zip("AB", base.sources)],
    )
    before, after = fuse(base, quiet).metrics[0], fuse(moved, quiet).metrics[0]
    for name in ("sft", "path", "uld", "gld", "gld_aligned", "hellinger", "hybrid"):
        assert after[name] == pytest.approx(before[name], rel=1e-5)
    whole = fuse(dataclasses.replace(moved, pivot=ModelConfig(str(tmp_path / "pivot"))), quiet)
    assert whole.model.get_input_embeddings().weight.shape[0] == len(padded["pivot"]) + 9


def test_logits_that_are_not_finite_name_the_source(home, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(home / "A")
    with torch.no_grad():
        model.get_output_embeddings().weight[5] = 3e38  # finite, as what is loaded must be; its logits are not
        model.get_output_embeddings().weight[6] = -3e38
    model.save_pretrained(tmp_path / "A")
    import shutil

    for path in (home / "A").glob("tokenizer*"):
        shutil.copy(path, tmp_path / "A" / path.name)
    broken = dataclasses.replace(config(home), sources=[SourceConfig(str(tmp_path / "A"), name="broken")])
    with pytest.raises(FusionError, match=r"source broken: logits of training example \d+ \(counted from 0\) are not"):
        fuse(broken, quiet)
    tokenizer = load_tokenizer(broken.sources[0])
    rows = encode_all(read_examples(home / "train.jsonl"), tokenizer)
    bad = next(i for i, row in enumerate(rows) if 5 in row.ids[row.prompt_length - 1 : -1])
    source = online_source(broken.sources[0], tokenizer, rows, 4, train_size=bad)
    with pytest.raises(FusionError, match=r"logits of held-out example 0 \(counted from 0\)"):
        source.signals([bad])


# --- the command on one's own models


def test_command_fuses_own_models(whole_run):
    assert AutoModelForCausalLM.from_pretrained(whole_run / "model").config.hidden_size == 16
    rows = records(whole_run)
    assert {"loss", "eval_loss", "gw_lower"} <= {name for row in rows for name in row}
    assert all(r["gw_lower"] <= r["gw_upper"] for r in rows if "gw_lower" in r)
    page = (whole_run / "report.md").read_text()
    assert "certified GW interval" in page
    assert json.loads((whole_run / "config.json").read_text())["objective"]["preset"] == "path"
    assert {p.name for p in whole_run.iterdir()} == {
        "model", "config.json", "metrics.jsonl", "losses.png", "interval.png", "report.md", "run.json", ".gwfast-run",
    }  # fmt: skip


def test_killed_run_resumes_to_the_same_bits(home, tmp_path, capsys, whole_run):
    path = config_file(tmp_path / "c.yaml", home, 12, save_every=4)
    flags = ["--config", str(path), "--runs", str(tmp_path), "--name", "killed"]
    killed = run([sys.executable, Path(__file__).with_name("around.py"), *flags], DIE_AT="6")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "killed").exists()
    assert fuse_command(flags) == 2
    assert "--resume goes on with it" in capsys.readouterr().err
    assert fuse_command([*flags, "--resume", "--train.lr", "0.1"]) == 2
    assert "another configuration (train.lr)" in capsys.readouterr().err
    done = command("--config", path, "--runs", tmp_path, "--name", "killed", "--resume")
    assert done.returncode == 0, done.stderr
    first, second = (weights(folder) for folder in (whole_run, tmp_path / "killed"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert records(whole_run) == records(tmp_path / "killed")


def test_nothing_to_resume_is_said(home, tmp_path, capsys):
    path = config_file(tmp_path / "c.yaml", home, 2)
    assert fuse_command(["--config", str(path), "--runs", str(tmp_path), "--name", "x", "--resume"]) == 2
    assert "nothing to resume" in capsys.readouterr().err
    assert not list(tmp_path.glob(".x*"))
