"""The coupling of two vocabularies by GW: what it finds, and that it is a loss like the others."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig, TrainConfig
from gwfast_llm.models.loading import load_tokenizer
from gwfast_llm.models.logits import TopK
from gwfast_llm.teachers.path import SharedTokens, Targets, shared_tokens
from gwfast_llm.teachers.signal import Signal
from gwfast_llm.terms.vocabulary_coupling import Coupling, couple, following
from gwfast_llm.text.examples import spelling
from gwfast_llm.tiny.tasks import ALL_TASKS, draw_each
from gwfast_llm.training.fusion import fuse


def test_edges_are_their_definition():
    ids, graph = following([[5, 7, 5, 7], [7, 9]], tokens=2)
    assert ids.tolist() == [5, 7]
    counts = np.array([[0.0, 2.0], [1.0, 0.0]])
    expected = np.log1p(counts * 3 / (counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True)))
    np.testing.assert_allclose(graph, expected / expected.max())


def texts(tokenizer, amount, seed):
    problems = draw_each(ALL_TASKS, -(-amount // len(ALL_TASKS)), seed)
    return tokenizer([p.prompt + p.response for p in problems], add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(("same", "least"), [(True, 0.9), (False, 0.6)])
def test_a_hidden_renaming_is_found(tokenizers, same, least):
    """On the same texts the graphs are isomorphic, so that is a check; disjoint texts are the question."""
    tokenizer = tokenizers[0]
    order = np.random.default_rng(0).permutation(len(tokenizer))
    first, second = texts(tokenizer, 800, 1), texts(tokenizer, 800, 1 if same else 2)
    found = couple([order[row].tolist() for row in first], second)
    torch.testing.assert_close(found.shares.sum(1), torch.ones(len(found.source_ids)))
    truth = torch.from_numpy(np.argsort(order))
    right, known = found.agreement(SharedTokens(truth, torch.ones(len(order), dtype=torch.bool)))
    assert known > 80
    assert right >= least * known


def test_another_segmentation_is_not_found_and_that_is_said(tokenizers):
    pivot, _, syllables = tokenizers
    found = couple(texts(syllables, 800, 1), texts(pivot, 800, 2))
    shared = shared_tokens(pivot, syllables)
    right, known = found.agreement(shared)
    assert right < known / 2
    assert "most of what it distils is wrong: use objective.path" in found.sentence("B", shared)
    nothing = SharedTokens(torch.full_like(shared.to_pivot, -1), torch.zeros_like(shared.in_pivot))
    assert "no common strings" in found.sentence("B", nothing)


def test_mass_is_carried_or_in_the_tail():
    coupling = Coupling(torch.tensor([1, 4]), torch.tensor([0, 3]), torch.tensor([[1.0, 0.0], [0.25, 0.75]]))
    probs = torch.tensor([[0.5, 0.25, 0.125], [0.125, 0.0625, 0.5]])
    kept = TopK(probs.log(), torch.tensor([[1, 4, 2], [4, 1, 2]]), torch.zeros(2))
    at = torch.tensor([1, 0])
    found = coupling.targets(Targets(at, at, *[torch.zeros(2, 1)] * 2, torch.zeros(2)), Signal(kept, torch.zeros(2)))
    assert found.ids.tolist() == [[0, 3], [0, 3]]
    torch.testing.assert_close(found.probs, torch.tensor([[0.09375, 0.09375], [0.5625, 0.1875]]))
    torch.testing.assert_close(found.probs.sum(1) + found.tail, torch.ones(2))
    assert coupling.targets(found, Signal(kept, torch.zeros(2)), keep=1).ids.shape == (2, 1)


@pytest.fixture
def renamed(home, tmp_path):
    """The pivot itself with all its token ids renamed, as a source."""
    shutil.copytree(home / "pivot", tmp_path / "twin")
    path = tmp_path / "twin" / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    special = {token["id"] for token in content["added_tokens"]}
    plain = [i for i in vocabulary.values() if i not in special]
    drawn = np.random.default_rng(0).permutation(plain).tolist()
    order = {i: i for i in special} | dict(zip(plain, drawn, strict=True))
    content["model"]["vocab"] = {text: order[i] for text, i in vocabulary.items()}
    path.write_text(json.dumps(content))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "twin")
    with torch.no_grad():
        weight = model.get_input_embeddings().weight
        weight[[order[i] for i in range(len(order))]] = weight.clone()
    model.save_pretrained(tmp_path / "twin")
    own, its = (spelling(load_tokenizer(ModelConfig(str(f)))) for f in (home / "pivot", tmp_path / "twin"))
    assert own != its
    assert set(own) == set(its)
    return tmp_path / "twin"


def test_a_renamed_pivot_teaches_nothing_new(home, renamed):
    """Its distributions come back as the pivot's own, but for the few tokens that are matched wrongly."""

    def first_loss(chunk=0, packing=False, **parts):
        config = FuseConfig(
            ModelConfig(str(home / "pivot")),
            DataConfig(str(home / "train.jsonl"), max_length=96, end_token=False),
            [SourceConfig(str(renamed), name="twin")],
            ObjectiveConfig(preset="custom", source_top_k=0, **parts),
            TrainConfig(
                steps=1,
                batch_size=16,
                lr=1e-9,
                log_every=1,
                diagnose=0,
                eval_every=0,
                samples=0,
                chunk=chunk,
                packing=packing,
                warmup_steps=0,
            ),
        )
        fused = fuse(config, lambda done, total: None)
        return fused.metrics[0], fused.notes

    row, notes = first_loss(gw_aligned=1.0)
    (note,) = [note for note in notes if "experimental" in note]
    right, known = (int(word) for word in note.split() if word.isdigit())
    assert right > 0.7 * known > 30
    straight, _ = first_loss(path=1.0)
    assert 0 <= row["gw_aligned"] < 0.01 < straight["path"] < 0.1  # counts along few texts blur a little
    again, _ = first_loss(chunk=7, packing=True, gw_aligned=1.0)
    assert again["gw_aligned"] == pytest.approx(row["gw_aligned"], rel=1e-4)


def test_it_is_never_a_default():
    for preset in ("path", "infigfusion", "sft"):
        assert ObjectiveConfig(preset=preset).weights["gw_aligned"] == 0
    assert {f.name: f.default for f in dataclasses.fields(ObjectiveConfig)}["gw_aligned"] == 0.0
