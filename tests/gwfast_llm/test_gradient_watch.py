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


def batch_of(home, tokenizers, examples, objective):
    rows = encode_all(examples, tokenizers[0])
    own = encode_all(examples, tokenizers[1])
    sources = [online_source(SourceConfig(str(home / "A"), name="A"), tokenizers[1], own, 0)]
    desk = SourceDesk(rows, sources, [1.0], path_maps(tokenizers[0], rows, sources, examples), "mince", 0)
    return FusionCollator(rows, 0, objective, desk)([0, 5, 11, 17])


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
        TrainConfig(**{"steps": 2, "batch_size": 4, "log_every": 1, "diagnose": 0, **train}),
    )


@pytest.mark.parametrize("chunk", [0, 9])
def test_the_default_preset_on_real_logits_is_warned_of(home, loud, capsys, chunk):
    preset = ObjectiveConfig(preset="infigfusion", source_top_k=20)
    fused = fuse(configured(loud, preset, data=home, chunk=chunk))
    said = [note for note in fused.notes if note.startswith("warning: 0.01 x gld pulls ")]
    assert len(said) == 1
    assert "--objective.gld_scale source" in said[0]
    assert ratio_of(said[0]) > 10
    assert said[0] in capsys.readouterr().out
    assert not any("pull" in row for row in fused.metrics)
    scaled = dataclasses.replace(preset, gld_scale="source")
    assert not any("pulls" in note for note in fuse(configured(loud, scaled, data=home, chunk=chunk)).notes)


def test_a_quiet_preset_says_nothing(home):
    fused = fuse(configured(home, ObjectiveConfig(source_top_k=20), data=home))
    assert not any("pulls" in note for note in fused.notes)


def test_a_resumed_run_still_knows(home, loud, tmp_path):
    preset = ObjectiveConfig(preset="infigfusion", source_top_k=20)
    short = configured(loud, preset, data=home, steps=2, save_every=1)
    first = fuse(short, lambda done, total: None, tmp_path / "checkpoints")
    again = fuse(short, lambda done, total: None, tmp_path / "checkpoints", resume=True)
    assert [n for n in again.notes if "pulls" in n] == [n for n in first.notes if "pulls" in n] != []


def test_what_is_said_names_what_helps():
    assert Pull("gld", 0.01, 9.9).sentence == ""
    assert Pull("gld", 0.01, float("nan")).sentence == ""
    assert "gld_scale source" in Pull("gld", 0.01, 840.0).sentence
    assert "gld_scale" not in Pull("gld", 1.0, 11.0, scaled=True).sentence
    assert "lower objective.uld" in Pull("uld", 100.0, 11.0).sentence
    record = Pull("uld", 100.0, 11.0).record()
    assert pulls_of([{"loss": 1.0}, record]) == [Pull("uld", 100.0, 11.0)]
