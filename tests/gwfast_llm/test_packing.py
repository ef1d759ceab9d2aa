"""Packed rows give the losses and gradients of padded ones, and no example sees another."""

import dataclasses
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, BloomConfig, BloomForCausalLM, MambaConfig, MambaForCausalLM

from gwfast_llm.cache import main as cache_command
from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig, TrainConfig
from gwfast_llm.models.output_layer import ChunkedHead
from gwfast_llm.models.separate import check_separate
from gwfast_llm.student.chunked import ChunkedStudent
from gwfast_llm.student.dense import DenseStudent
from gwfast_llm.student.forward import request_of
from gwfast_llm.system.errors import FusionError
from gwfast_llm.teachers.desk import SourceDesk, path_maps
from gwfast_llm.terms.collate import FusionCollator
from gwfast_llm.terms.objective import Objective
from gwfast_llm.text.examples import encode_all
from gwfast_llm.text.packing import packed_rows, place
from gwfast_llm.training.fusion import fuse
from gwfast_llm.training.sources import online_source

EVERYTHING = ObjectiveConfig(
    preset="custom",
    path=1.0,
    uld=0.5,
    gld=0.1,
    gld_aligned=0.3,
    hellinger=0.2,
    hybrid=0.4,
    alm=0.1,
    gold=0.3,
    simct=0.2,
    source_top_k=0,
)
LONGEST = 96


@given(st.lists(st.integers(1, 20), min_size=1, max_size=30))
def test_examples_lie_side_by_side_in_few_rows(lengths):
    places = place(lengths, 20)
    cells = [(row, start + i) for (row, start), n in zip(places, lengths, strict=True) for i in range(n)]
    assert len(set(cells)) == len(cells)
    assert all(0 <= column < 20 for _, column in cells)
    rows = max(row for row, _ in places) + 1
    assert rows <= 11 / 9 * -(-sum(lengths) // 20) * 2  # no more than twice what the tokens alone would need
    assert place(lengths, 20) == places


def test_a_row_too_short_is_refused():
    with pytest.raises(FusionError, match=r"an example has 7 tokens, a packed row 6; raise data\.max_length"):
        place([3, 7], 6)


def test_positions_start_anew_in_every_example():
    found = packed_rows([[5, 6], [7, 8, 9], [4]], 0, 4)
    assert found.input_ids.tolist() == [[7, 8, 9, 4], [5, 6, 0, 0]]
    assert found.position_ids.tolist() == [[0, 1, 2, 0], [0, 1, 0, 0]]
    assert found.places.row.tolist() == [1, 0, 0]
    assert found.places.start.tolist() == [0, 0, 3]


@pytest.fixture(scope="module", params=["mince", "all"])
def batches(request, home, tokenizers, examples):
    """The same ten examples padded and packed, with the slots of their sources."""
    rows = encode_all(examples, tokenizers[0], LONGEST)
    sources = [
        online_source(SourceConfig(str(home / name), name=name), tokenizer, encode_all(examples, tokenizer), 0)
        for name, tokenizer in zip("AB", tokenizers[1:], strict=True)
    ]
    maps = path_maps(tokenizers[0], rows, sources, examples)
    desk = SourceDesk(rows, sources, [1.0, 0.5], maps, request.param, 0)
    padded, packed = (FusionCollator(rows, 0, EVERYTHING, desk, n)(list(range(0, 40, 4))) for n in (0, LONGEST))
    assert packed.input_ids.shape[0] < padded.input_ids.shape[0] / 2
    assert packed.input_ids.numel() < padded.input_ids.numel()
    return padded, packed, desk.slots


def measured(home, batch, objective, slots, attention="sdpa", chunk=0):
    """Parts and gradient of an objective in double precision."""
    model = AutoModelForCausalLM.from_pretrained(home / "pivot", dtype=torch.float64, attn_implementation=attention)
    head = ChunkedHead(model, chunk) if chunk else None
    terms = Objective.of(objective, slots)
    if head is None:
        student = DenseStudent(model(**batch.model_inputs, use_cache=False).logits, batch.places)
    else:
        request, columns = request_of(batch, terms)
        head.pending = request
        model(**batch.model_inputs, use_cache=False)
        student = ChunkedStudent(request, head.answer(), columns)
    parts = terms.values(student, batch)
    assert [float(p.count) for p in parts] == terms.counts(batch).tolist()
    sum(weight * p.mean for weight, p in zip(terms.weights, parts, strict=True)).backward()
    return [p.total.detach() for p in parts], [p.grad for p in model.parameters()]


@pytest.mark.parametrize(("attention", "chunk"), [("sdpa", 0), ("eager", 0), ("sdpa", 9)])
@pytest.mark.parametrize("preset", ["path", "infigfusion", "sft", "everything"])
def test_losses_and_gradients_are_those_of_padded_rows(home, batches, preset, attention, chunk):
    padded, packed, slots = batches
    if preset != "everything":
        objective = ObjectiveConfig(preset=preset, source_top_k=0)
    else:
        objective = dataclasses.replace(EVERYTHING, gld_aligned=0.0 if chunk else 0.3)
    slots = slots if objective.distils else 0
    one = measured(home, padded, objective, slots)
    two = measured(home, packed, objective, slots, attention, chunk)
    torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-7)  # targets and eager softmax are single


def configured(home, objective, **train):
    train = {"steps": 3, "batch_size": 8, "lr": 1e-2, "warmup_steps": 1, "log_every": 1, "eval_every": 3, **train}
    return FuseConfig(
        ModelConfig(str(home / "pivot")),
        DataConfig(str(home / "train.jsonl"), str(home / "held-out.jsonl"), max_length=LONGEST, end_token=False),
        [SourceConfig(str(home / "A"), name="A"), SourceConfig(str(home / "B"), name="B", weight=0.5)],
        objective,
        TrainConfig(**train, diagnose=0, samples=0),
    )


def quiet(done, total):
    """Progress that nobody watches."""


@pytest.mark.parametrize("nodes", ["rank", "vocab"])
def test_matched_rows_are_a_loss_like_any_other(home, batches, nodes):
    padded, packed, slots = batches
    objective = ObjectiveConfig(
        preset="custom", gld=1.0, gld_feature="rows", gld_nodes=nodes, gld_weights="softmax", source_top_k=0
    )
    one, two = measured(home, padded, objective, slots), measured(home, packed, objective, slots, chunk=9)
    torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-7)
    assert one[0][1] > 0


@pytest.mark.parametrize("preset", ["path", "infigfusion"])
def test_a_packed_run_logs_the_losses_of_a_padded_one(home, tmp_path, preset):
    """Accumulated in uneven batches, in chunks, and from a cache: always the same losses."""
    config = configured(home, ObjectiveConfig(preset=preset, source_top_k=10))
    cached = [dataclasses.replace(s, cache=str(tmp_path / s.label)) for s in config.sources]
    content = {
        "pivot": {"model": config.pivot.model},
        "sources": [{"model": s.model, "name": s.name, "weight": s.weight, "cache": s.cache} for s in cached],
        "data": {k: v for k, v in dataclasses.asdict(config.data).items() if v},
        "objective": {"preset": preset, "source_top_k": 10},
    }
    content["data"]["end_token"] = False
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(content))
    assert cache_command(["--config", str(path), "--dtype", "float32"]) == 0
    padded = fuse(config, quiet).metrics

    def packed(sources, **train):
        changed = dataclasses.replace(configured(home, config.objective, packing=True, **train), sources=sources)
        return fuse(changed, quiet).metrics

    for metrics in (
        packed(config.sources),
        packed(config.sources, batch_size=4, accumulate=2),
        packed(cached),
        packed(cached, chunk=9),
    ):
        for a, b in zip(padded, metrics, strict=True):
            assert a.keys() == b.keys()
            for name, value in a.items():
                assert b[name] == pytest.approx(value, rel=1e-4), name


def test_models_that_would_mix_packed_examples_are_refused(home):
    check_separate(AutoModelForCausalLM.from_pretrained(home / "pivot"))
    torch.manual_seed(0)
    recurrent = MambaForCausalLM(MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, state_size=4))
    with pytest.raises(FusionError, match=r"an example sees those packed before it; use --train\.packing false"):
        check_separate(recurrent)
    unplaced = BloomForCausalLM(BloomConfig(vocab_size=50, hidden_size=16, n_layer=1, n_head=2))
    with pytest.raises(FusionError, match="an example sees those packed before it"):
        check_separate(unplaced)

    class Without(BloomForCausalLM):
        def forward(self, input_ids, use_cache=None):
            return super().forward(input_ids, use_cache=use_cache)

    with pytest.raises(FusionError, match=r"takes no positions.*use --train\.packing false"):
        check_separate(Without(unplaced.config))
    with torch.device("meta"):
        absent = BloomForCausalLM(unplaced.config)
    with pytest.raises(FusionError, match="not all on this process"):
        check_separate(absent)
