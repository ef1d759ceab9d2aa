"""The chunked path gives the numbers and gradients of whole logits, and never holds them."""

import dataclasses

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig, TrainConfig
from gwfast_llm.models import logits
from gwfast_llm.models.after_layer import change_of
from gwfast_llm.models.logits import Selection
from gwfast_llm.models.output_layer import ChunkedHead, Request
from gwfast_llm.student.chunked import ChunkedStudent
from gwfast_llm.student.dense import DenseStudent
from gwfast_llm.student.forward import request_of
from gwfast_llm.system.errors import FusionError
from gwfast_llm.teachers.online import OnlineSource
from gwfast_llm.terms.batch import Batch, CarriedTargets, Pairs
from gwfast_llm.terms.gld import SourceLogits
from gwfast_llm.terms.hybrid import SharedIds
from gwfast_llm.terms.objective import Objective
from gwfast_llm.training.arguments import chunk_of
from gwfast_llm.training.fusion import fuse
from gwfast_llm.training.pivot import head_in_chunks

PARTS = ObjectiveConfig(preset="custom", path=1.0, uld=0.5, gld=0.1, hellinger=0.2, hybrid=0.4, source_top_k=0)
OBJECTIVE = Objective.of(PARTS, 1)
VOCABULARY, LENGTH = 5000, 64
SMALL = {
    "vocab_size": 50,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def llama():
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            tie_word_embeddings=True,
        )
    )


def batch():
    """A batch with every tensor the parts ask for, drawn at random."""
    draw = torch.Generator().manual_seed(1)

    def ids(*shape):
        return torch.randint(0, VOCABULARY, shape, generator=draw)

    labels = ids(2, LENGTH)
    labels[0, :9] = labels[1, :30] = -100
    labels[1, 60:] = -100
    at = torch.stack([torch.arange(8, 8 + 20), torch.arange(29, 29 + 20)])[:, None]
    mask = torch.ones(2, 1, 20, dtype=torch.bool)
    mask[1, 0, 15:] = False
    at = at * mask
    probs = torch.rand(2, 1, 20, 6, generator=draw).softmax(-1) * 0.9
    shared = ids(2, 1, 20, 6)
    shared[..., 4:] = -1
    return Batch(
        input_ids=ids(2, LENGTH),
        labels=labels,
        attention_mask=torch.ones(2, LENGTH, dtype=torch.long),
        source_weight=torch.tensor([[1.0], [0.5]]),
        pairs=Pairs(at, mask),
        carried=CarriedTargets(ids(2, 1, 20, 6), probs, 1 - probs.sum(-1)),
        source_probs=probs.sort(-1, descending=True)[0],
        own={
            "hybrid": SharedIds(shared, torch.rand(2, 1, VOCABULARY, generator=draw) < 0.5),
            "gld": SourceLogits(
                3 * torch.rand(2, 1, 25, 10, generator=draw).sort(-1, descending=True)[0],
                ids(2, 1, 25, 10),
                torch.ones(2, 1, 25, dtype=torch.bool),
                torch.full((2, 1, 25), 4.0),
                VOCABULARY,
            ),
        },
    )


def loss_of(parts):
    return sum(weight * part.mean for weight, part in zip(OBJECTIVE.weights, parts, strict=True))


class Largest:
    """Largest tensor that autograd keeps or an operation makes."""

    def __init__(self):
        self.saved = 0

    def pack(self, tensor):
        self.saved = max(self.saved, tensor.numel())
        return tensor


@pytest.mark.parametrize("chunk", [7, 1000])
def test_losses_and_gradients_are_those_of_whole_logits(chunk):
    own = batch()
    model = llama()
    given = own.model_inputs
    dense = OBJECTIVE.values(DenseStudent(model(**given).logits), own)
    loss_of(dense).backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()

    head = ChunkedHead(model, chunk)
    head.pending, columns = request_of(own, OBJECTIVE)
    request = head.pending
    largest = Largest()
    with torch.autograd.graph.saved_tensors_hooks(largest.pack, lambda t: t):
        model(**given)
        student = ChunkedStudent(request, head.answer(), columns)
        parts = OBJECTIVE.values(student, own)
        loss = loss_of(parts)
    if chunk < 50:
        assert largest.saved < 2 * LENGTH * VOCABULARY / 4  # the embedding matrix is the largest, not the logits
    for a, b in zip(dense, parts, strict=True):
        torch.testing.assert_close(a.total, b.total, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(a.count, b.count)
    loss.backward()
    for a, p in zip(expected, model.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad, rtol=1e-4, atol=1e-6)
    # without a request the layer is what it was
    assert model(**given).logits.shape == (2, LENGTH, VOCABULARY)
    assert "lm_head.weight" in model.state_dict()


def capped(home, folder):
    """A pivot that caps its logits, with the tokenizer of the usual one."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(home / "pivot")
    config = AutoConfig.for_model("gemma2", **{**SMALL, "vocab_size": len(tokenizer), "final_logit_softcapping": 0.5})
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["plain", "capped"])
def test_training_in_chunks_is_training(home, tmp_path, kind):
    pivot = home / "pivot" if kind == "plain" else capped(home, tmp_path / "capped")

    def run(chunk):
        config = FuseConfig(
            ModelConfig(str(pivot)),
            DataConfig(str(home / "train.jsonl"), str(home / "held-out.jsonl"), max_length=96, end_token=False),
            [SourceConfig(str(home / n), name=n) for n in "AB"],
            dataclasses.replace(PARTS, alm=0.1, gold=0.3, simct=0.2, xtoken_h=0.2),
            TrainConfig(steps=3, batch_size=8, lr=1e-2, log_every=1, eval_every=3, chunk=chunk, diagnose=0, samples=0),
        )
        return fuse(config, lambda done, total: None)

    whole, chunked = run(0), run(11)
    for a, b in zip(whole.metrics, chunked.metrics, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert a[name] == pytest.approx(b[name], rel=1e-4), name
    for x, y in zip(whole.model.parameters(), chunked.model.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-5)


CHANGED = {
    "gemma2": {"final_logit_softcapping": 0.05},
    "cohere": {"logit_scale": 3.0},
    "granite": {"logits_scaling": 3.0},  # divides
    "hyperclovax": {"logits_scaling": 3.0},  # multiplies
    "recurrent_gemma": {"logits_soft_cap": 0.05, "lru_width": 8, "num_hidden_layers": 3},
}
UNCHANGED = {
    "qwen2": {},
    "mixtral": {"num_local_experts": 2},
    "opt": {"ffn_dim": 8, "word_embed_proj_dim": 8},
    "gpt2": {},
}


@pytest.mark.parametrize("kind", [*CHANGED, *UNCHANGED])
def test_what_a_model_does_to_its_logits_is_done_chunk_by_chunk(kind):
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SMALL, **{**CHANGED, **UNCHANGED}[kind]})
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(50)  # far enough from 0 for a cap to matter
    assert (change_of(model) is None) == (kind in UNCHANGED)
    ids = torch.arange(3, 15)[None]
    asked = torch.arange(24).reshape(12, 2)
    whole = model(input_ids=ids).logits[0]
    head = ChunkedHead(model, 5, size=40)
    head.pending = Request(torch.arange(12), (1, 12), asked, Selection(4))
    model(input_ids=ids)
    found = head.answer()
    torch.testing.assert_close(found.asked, whole.gather(1, asked))
    torch.testing.assert_close(found.logsumexp, whole[:, :40].logsumexp(-1))
    torch.testing.assert_close(found.kept.values, whole[:, :40].topk(4).values)
    weights = [p for p in model.parameters() if p.requires_grad]
    expected = torch.autograd.grad(whole[:, :40].logsumexp(-1).sum() + whole.gather(1, asked).sum(), weights)
    given = torch.autograd.grad(found.logsumexp.sum() + found.asked.sum(), weights)
    for a, b in zip(expected, given, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(input_ids=ids).logits[0], whole)  # without a request it is what it was
    head.release()
    assert "forward" not in vars(model.get_output_embeddings())


def test_a_model_whose_code_cannot_be_run_apart_is_named(home):
    model = llama()
    model.forward = lambda **given: 1 / 0
    what = r"what LlamaForCausalLM does to its logits.*ZeroDivisionError"
    with pytest.raises(FusionError, match=f"{what}.*use --train.chunk 0"):
        head_in_chunks(model, 4)
    tokenizer = AutoTokenizer.from_pretrained(home / "pivot")
    with pytest.raises(FusionError, match=f"source odd: {what}.*give another model"):
        OnlineSource("odd", model, tokenizer, [], 0)
    config = FuseConfig(ModelConfig("odd"), DataConfig(""), [], ObjectiveConfig(preset="sft"), TrainConfig())
    assert chunk_of(config, model, 10**6) == 0  # chosen, it is whole logits


def test_nothing_to_read_is_read():
    """A process that runs along with the others may have no answer position left in its last chunks."""
    empty = torch.zeros(0, 7, requires_grad=True)
    picked, kept = logits.read(empty, torch.zeros(0, 2, dtype=torch.long), Selection(3))
    assert (picked.shape, kept.values.shape, kept.logsumexp.shape) == ((0, 2), (0, 3), (0,))
    (picked.sum() + kept.values.sum() + kept.logsumexp.sum()).backward()
    assert empty.grad.shape == (0, 7)


def test_a_selection_is_made_once(monkeypatch):
    """Forward and backward pass compute a chunk's logits each; the largest are looked for in the first only."""
    calls = []
    real = logits.largest
    monkeypatch.setattr(logits, "largest", lambda rows, k: calls.append(len(rows)) or real(rows, k))
    own, model = batch(), llama()
    head = ChunkedHead(model, 16)
    head.pending, columns = request_of(own, OBJECTIVE)
    request = head.pending
    model(**own.model_inputs)
    loss_of(OBJECTIVE.values(ChunkedStudent(request, head.answer(), columns), own)).backward()
    assert sum(calls) == len(request.positions)


def test_aligned_graphs_need_whole_logits(home):
    config = FuseConfig(
        ModelConfig(str(home / "pivot")),
        DataConfig(str(home / "train.jsonl"), max_length=96, end_token=False),
        [SourceConfig(str(home / "A"))],
        ObjectiveConfig(preset="custom", gld_aligned=1.0),
        TrainConfig(steps=1, chunk=8),
    )
    with pytest.raises(FusionError, match="gld_aligned needs whole logits"):
        fuse(config, lambda done, total: None)
