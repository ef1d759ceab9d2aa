"""The diagnosis finds the angle it should, on gradients known beforehand."""

import dataclasses
import json
import math
import shutil

import pytest
import torch

from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig, TrainConfig
from gwfast_llm.models.loading import load_model, load_tokenizer
from gwfast_llm.teachers.desk import SourceDesk, path_maps
from gwfast_llm.teachers.online import Remembered
from gwfast_llm.terms.collate import FusionCollator
from gwfast_llm.terms.objective import Objective
from gwfast_llm.text.examples import encode_all
from gwfast_llm.training.diagnosis import Agreement, Collated, _only, _runs, diagnose, passes
from gwfast_llm.training.fusion import fuse
from gwfast_llm.training.sources import online_source

OBJECTIVE = ObjectiveConfig(preset="custom", path=1.0, uld=1.0, gld=1.0, source_top_k=0)


@pytest.fixture(scope="module")
def parts(home, examples):
    """Pivot, batch and held-out batch of a small fusion."""
    pivot = ModelConfig(str(home / "pivot"))
    tokenizer = load_tokenizer(pivot)
    rows = encode_all(examples, tokenizer)
    sources = []
    for name in "AB":
        config = SourceConfig(str(home / name), name=name)
        own = load_tokenizer(config)
        sources.append(Remembered(online_source(config, own, encode_all(examples, own), 0)))
    desk = SourceDesk(rows, sources, [1.0, 1.0], path_maps(tokenizer, rows, sources, examples), "mince", 0)

    def batch(indices, objective):
        return FusionCollator(rows, 0, objective, desk)(indices)

    return load_model(pivot), batch


def test_cross_entropy_agrees_with_itself(parts):
    model, batch = parts
    own = batch(range(12), OBJECTIVE)
    held_out = batch(range(12), ObjectiveConfig(preset="path"))
    found = {a.part: a for a in diagnose(model, [own], [held_out], Objective.of(OBJECTIVE, 1))}
    assert list(found) == ["sft", "path", "uld", "gld"]
    assert found["sft"].cosine == pytest.approx(1.0, abs=1e-6)
    assert found["sft"].size == pytest.approx(1.0, abs=1e-9)
    assert all(-1 <= a.cosine <= 1 and a.size > 0 for a in found.values())
    assert not found["sft"].against


def test_cosine_is_that_of_the_two_gradients(parts):
    model, batch = parts
    objective = ObjectiveConfig(preset="custom", uld=1.0, source_top_k=0)
    own, held_out = batch(range(8), objective), batch(range(20, 30), ObjectiveConfig(preset="path"))
    found = diagnose(model, [own], [held_out], Objective.of(objective, 1))[1]
    before = {n: p.detach().clone() for n, p in model.named_parameters()}

    from gwfast_llm import uld_loss

    def flat(loss):
        model.zero_grad()
        loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    def logits(b):
        return model(**b.model_inputs).logits

    z = logits(held_out)
    labels = held_out.labels[:, 1:]
    truth = flat(torch.nn.functional.cross_entropy(z[:, :-1].flatten(0, 1), labels.flatten()))
    # the source's matched probabilities as logits at the student's own positions
    z = logits(own)
    at, mask = own.matched(0)
    picked = z[torch.arange(len(z))[:, None], at]
    given = own.source_probs[:, 0]
    rest = (1 - given.sum(-1, keepdim=True)).clamp_min(1e-12)
    teacher = torch.cat([given, rest / 2000 * torch.ones(2000)], -1).clamp_min(1e-12).log()
    part = flat(uld_loss(picked, teacher, mask, mask, top_k=10))
    expected = torch.nn.functional.cosine_similarity(truth.double(), part.double(), dim=0).item()
    assert found.cosine == pytest.approx(expected, abs=1e-5)
    assert all(torch.equal(before[n], p) for n, p in model.named_parameters())


def test_batches_are_one_large_batch(parts):
    model, batch = parts
    path = ObjectiveConfig(preset="path")
    whole = diagnose(model, [batch(range(12), OBJECTIVE)], [batch(range(20, 30), path)], Objective.of(OBJECTIVE, 1))
    cut = diagnose(
        model,
        [batch(range(5), OBJECTIVE), batch(range(5, 12), OBJECTIVE)],
        [batch([k], path) for k in range(20, 30)],
        Objective.of(OBJECTIVE, 1),
    )
    for a, b in zip(whole, cut, strict=True):
        assert a.part == b.part
        assert (a.cosine, a.cosine_text, a.size) == pytest.approx((b.cosine, b.cosine_text, b.size), abs=1e-4)


def test_warning_names_what_to_use_instead():
    bad = Agreement("uld", -0.63, -0.05, 2.0)
    assert bad.against
    assert bad.sentence().startswith("warning: uld: cosine with the held-out cross-entropy -0.63")
    assert "use preset path instead" in bad.sentence()
    assert "preset path" not in bad.sentence(["sft", "path", "uld"])  # used already
    assert bad.sentence(["sft", "path", "uld"]).endswith("lower its weight, or leave it out")
    assert dataclasses.replace(bad, part="path").sentence(["sft", "path"]).endswith("lower its weight")
    assert "look at both" in dataclasses.replace(bad, part="sft").sentence(["sft"])
    assert not dataclasses.replace(bad, cosine=-0.05).against
    good = Agreement("path", 0.63, math.nan, 0.5)
    assert not good.against
    assert "warning" not in good.sentence()


def test_a_part_that_drowns_the_cross_entropy_is_warned_of_whatever_its_angle():
    loud = Agreement("hybrid", 0.4, 0.3, 3.0, weight=50.0)
    assert not loud.against
    assert loud.sentence(["sft", "hybrid"]).startswith("warning: hybrid")
    assert "gradient 3 times as long, 1.5e+02 times with its weight; it drowns the cross-entropy" in loud.sentence()
    assert "warning" not in dataclasses.replace(loud, weight=3.0).sentence()
    limited = dataclasses.replace(loud, part="gld", most=1.0).sentence()
    assert "warning" not in limited
    assert limited.endswith("before it is lowered")


def test_every_example_that_is_asked_for_is_looked_at(parts, monkeypatch):
    model, batch = parts
    seen, done = [], []
    collated = Collated(lambda numbers: seen.append(list(numbers)) or batch(numbers, OBJECTIVE), _runs([*range(10)], 4))
    held_out = Collated(lambda numbers: batch(numbers, ObjectiveConfig(preset="path")), [[20, 21], [22]])
    objective = Objective.of(OBJECTIVE, 1)
    found = diagnose(model, collated, held_out, objective, done=lambda: done.append(1))
    assert {i for numbers in seen for i in numbers} == set(range(10))
    assert max(map(len, seen)) == 4
    assert len(done) == passes(objective, 3, 2)
    assert [one.weight for one in found] == [1.0, 1.0, 1.0, 1.0]


def test_a_diagnosis_along_training_tells_ends_of_answers_from_the_rest(home, tmp_path):
    # the tokenizers have no token that ends an answer: the one that fills up is made that token
    folders = {}
    for name in ("pivot", "A"):
        folders[name] = tmp_path / name
        shutil.copytree(home / name, folders[name])
        path = folders[name] / "tokenizer_config.json"
        content = json.loads(path.read_text())
        content["eos_token"] = content["pad_token"]
        path.write_text(json.dumps(content))
    made = FuseConfig(
        ModelConfig(str(folders["pivot"])),
        DataConfig(str(home / "train.jsonl"), str(home / "held-out.jsonl"), max_length=96),
        [SourceConfig(str(folders["A"]), name="A")],
        ObjectiveConfig(preset="custom", path=1.0, hybrid=1.0, uld=1.0, source_top_k=5),
        TrainConfig(steps=5, batch_size=4, log_every=9, diagnose=4, diagnose_every=2, samples=0, eval_every=0),
    )
    fused = fuse(made, lambda done, total: None)
    rows = [row for row in fused.metrics if "cosine" in row]
    assert [row["step"] for row in rows if row["part"] == "path"] == [0, 2, 4, 5]
    for row in rows:
        assert -1 <= row["cosine_end"] <= 1
        assert -1 <= row["cosine_ordinary"] <= 1
    first = {row["part"]: row for row in rows if row["step"] == 0}
    assert 0 < first["path"]["lost"] < 1
    assert 0 < first["hybrid"]["lost"] < 1
    assert math.isnan(first["uld"]["lost"])
    assert first["sft"]["cosine_end"] != first["sft"]["cosine_ordinary"]
    blind = dataclasses.replace(made.train, diagnose=0, diagnose_every=0)
    plain = fuse(dataclasses.replace(made, train=blind), lambda *_: None)
    for one, two in zip(fused.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(one, two)  # looking changes no bit


def test_ends_and_the_rest_make_up_the_labels(parts):
    held_out = parts[1](range(4), ObjectiveConfig())
    ends = {int(held_out.labels[0][held_out.labels[0] >= 0][-1])}
    inside, outside = (_only([held_out], ends, which)[0].labels for which in (True, False))
    assert ((inside >= 0) ^ (outside >= 0)).equal(held_out.labels >= 0)
    assert set(inside[inside >= 0].tolist()) == ends
    assert _only([held_out], {-7}, True) == []
