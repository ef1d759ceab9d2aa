"""Parts that would drown the cross-entropy are named after the first batch, whatever else is asked for."""

import dataclasses

import pytest
import torch
from transformers import AutoModelForCausalLM, PhiConfig, PhiForCausalLM

from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig, TrainConfig
from gwfast_llm.models.output_layer import ChunkedHead
from gwfast_llm.student.forward import run_student
from gwfast_llm.teachers.desk import SourceDesk, path_maps
from gwfast_llm.terms.collate import FusionCollator
from gwfast_llm.terms.objective import Objective
from gwfast_llm.text.examples import encode_all
from gwfast_llm.training.fusion import fuse
from gwfast_llm.training.gradient_watch import Pull, lengths, pulls_of
from gwfast_llm.training.sources import online_source

RAW = ObjectiveConfig(preset="infigfusion", source_top_k=20, gld_raw=True)
ALL = ObjectiveConfig(preset="custom", path=3.0, uld=0.5, gld=0.01, hellinger=0.2, hybrid=0.4, source_top_k=0)


@pytest.fixture(scope="module")
def loud(home, tmp_path_factory):
    """A pivot and a source with a constant added to every logit: softmax forgets it, GLD does not."""
    folder = tmp_path_factory.mktemp("loud")
    for name in ("pivot", "A"):
        size = AutoModelForCausalLM.from_pretrained(home / name).config.vocab_size
        shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        torch.manual_seed(0)
        model = PhiForCausalLM(PhiConfig(vocab_size=size, pad_token_id=0, **shape))
        with torch.no_grad():
            model.lm_head.bias += 600.0 if name == "pivot" else 20.0
        model.save_pretrained(folder / name)
        for path in (home / name).glob("tokenizer*"):
            (folder / name / path.name).write_bytes(path.read_bytes())
    return folder


def ratio_of(note):
    return float(note.split("pulls ")[1].split()[0])


def batch_of(home, tokenizers, examples, objective, numbers=(0, 5, 11, 17)):
    rows = encode_all(examples, tokenizers[0])
    own = encode_all(examples, tokenizers[1])
    sources = [online_source(SourceConfig(str(home / "A"), name="A"), tokenizers[1], own, 0)]
    desk = SourceDesk(rows, sources, [1.0], path_maps(tokenizers[0], rows, sources, examples), "mince", 0)
    return FusionCollator(rows, 0, objective, desk)(list(numbers))


@pytest.mark.parametrize("chunk", [0, 9])
def test_the_lengths_are_those_of_the_gradients_of_the_weights(loud, tokenizers, examples, chunk):
    batch = batch_of(loud, tokenizers, examples, ALL)
    model = AutoModelForCausalLM.from_pretrained(loud / "pivot")
    terms = Objective.of(ALL, 1)
    student, _ = run_student(model, batch, terms, ChunkedHead(model, chunk) if chunk else None)
    parts = [part.mean for part in terms.values(student, batch)]
    trained = list(model.parameters())
    found = lengths(parts, trained)
    assert lengths(parts, trained) == found  # the graph is still whole
    assert all(p.grad is None for p in trained)
    for value, length in zip(parts, found, strict=True):
        model.zero_grad()
        value.backward(retain_graph=True)
        own = sum(float(p.grad.double().pow(2).sum()) for p in trained if p.grad is not None) ** 0.5
        assert length == pytest.approx(own, rel=1e-4)


def configured(home, objective, **train):
    return FuseConfig(
        ModelConfig(str(home / "pivot")),
        DataConfig(str(train.pop("data") / "train.jsonl"), max_length=96, end_token=False),
        [SourceConfig(str(home / "A"), name="A")],
        objective,
        TrainConfig(
            **{"steps": 2, "batch_size": 4, "log_every": 1, "diagnose": 0, "eval_every": 0, "samples": 0, **train}
        ),
    )


@pytest.mark.parametrize("chunk", [0, 9])
def test_the_letter_of_the_paper_on_real_logits_is_warned_of(home, loud, capsys, chunk):
    fused = fuse(configured(loud, RAW, data=home, chunk=chunk))
    said = [note for note in fused.notes if note.startswith("warning: 0.01 x gld pulls ")]
    assert len(said) == 1
    assert "leave objective.gld_raw out" in said[0]
    assert ratio_of(said[0]) > 10
    assert said[0] in capsys.readouterr().out
    assert not any("pull" in row for row in fused.metrics)
    usable = dataclasses.replace(RAW, gld_raw=False)
    assert not any("pulls" in n and "warning" in n for n in fuse(configured(loud, usable, data=home)).notes)


@pytest.mark.parametrize("chunk", [0, 9])
def test_the_weight_of_gld_is_lowered_to_the_length_of_the_cross_entropy(home, tokenizers, examples, chunk):
    """Measured by the trainer over the whole step, beside a plain backward pass over the same examples."""
    strong = ObjectiveConfig(preset="custom", gld=500.0, source_top_k=0)
    made = configured(home, strong, data=home, steps=1, batch_size=32, chunk=chunk)
    fused = fuse(made)
    (weight,) = [row["weight_gld"] for row in fused.metrics if "weight_gld" in row]
    assert any(note.startswith("gld: weight 500 lowered to ") for note in fused.notes)
    model = AutoModelForCausalLM.from_pretrained(home / "pivot")
    batch = batch_of(home, tokenizers, examples, strong, range(32))
    length = {}
    for name in ("sft", "gld"):
        one = Objective.of(strong, 1)
        (own,) = [own.term for own in one.terms if own.term.name == name]
        model.zero_grad()
        student, _ = run_student(model, batch, one, None)
        own.part(student, batch, 0).mean.backward()
        length[name] = sum(float(p.grad.double().pow(2).sum()) for p in model.parameters()) ** 0.5
    assert weight * length["gld"] == pytest.approx(length["sft"], rel=1e-3)
    fixed = dataclasses.replace(strong, gld_pull=0.0)
    assert not any("weight_gld" in row for row in fuse(dataclasses.replace(made, objective=fixed)).metrics)


def test_accumulation_does_not_change_the_weight(home):
    strong = ObjectiveConfig(preset="custom", gld=500.0, source_top_k=0)
    found = []
    for size, accumulate in ((8, 1), (2, 4)):
        metrics = fuse(configured(home, strong, data=home, steps=2, batch_size=size, accumulate=accumulate)).metrics
        found += [row["weight_gld"] for row in metrics if "weight_gld" in row]
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_a_run_that_goes_on_has_the_same_weight(home, tmp_path):
    strong = ObjectiveConfig(preset="custom", gld=500.0, source_top_k=0)
    made = configured(home, strong, data=home, steps=6, save_every=3)
    whole = fuse(made, lambda done, total: None, tmp_path / "whole" / "checkpoints")

    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fuse(made, stop, tmp_path / "cut" / "checkpoints")
    again = fuse(made, lambda done, total: None, tmp_path / "cut" / "checkpoints", resume=True)
    assert [r for r in again.metrics if "weight_gld" in r] == [r for r in whole.metrics if "weight_gld" in r] != []
    for a, b in zip(whole.model.state_dict().values(), again.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_quiet_preset_says_nothing(home):
    fused = fuse(configured(home, ObjectiveConfig(source_top_k=20), data=home))
    assert not any("pulls" in note for note in fused.notes)


def test_a_resumed_run_still_knows(home, loud, tmp_path):
    short = configured(loud, RAW, data=home, steps=2, save_every=1)
    first = fuse(short, lambda done, total: None, tmp_path / "checkpoints")
    again = fuse(short, lambda done, total: None, tmp_path / "checkpoints", resume=True)
    assert [n for n in again.notes if "pulls" in n] == [n for n in first.notes if "pulls" in n] != []


def test_what_is_said_names_what_helps():
    assert Pull("gld", 0.01, 9.9).sentence == ""
    assert Pull("gld", 0.01, float("nan")).sentence == ""
    assert "gld_raw" in Pull("gld", 0.01, 840.0).sentence
    assert "gld_raw" not in Pull("gld", 1.0, 11.0, scaled=True).sentence
    assert "lower objective.uld" in Pull("uld", 100.0, 11.0).sentence
    record = Pull("uld", 100.0, 11.0).record()
    assert pulls_of([{"loss": 1.0}, record]) == [Pull("uld", 100.0, 11.0)]
