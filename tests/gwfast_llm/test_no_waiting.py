"""Losses, output layer in chunks and the loss side of a step on an accelerator that holds no numbers.

Under `FakeTensorMode` a tensor on the device "meta" has a shape and a type: whatever reads a value of it fails, and so
does what mixes it with a tensor on the host.  A loss that passes here never makes a GPU wait for the host.
"""

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import gwfast_llm
from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.models import output_layer
from gwfast_llm.models.output_layer import ChunkedHead
from gwfast_llm.student.forward import run_student
from gwfast_llm.terms.batch import Batch, CarriedTargets, Pairs
from gwfast_llm.terms.chunks import SourceChunks
from gwfast_llm.terms.gld import SourceLogits
from gwfast_llm.terms.gold import GoldItems
from gwfast_llm.terms.hybrid import SharedIds
from gwfast_llm.terms.objective import Objective
from gwfast_llm.terms.simct import Candidates
from gwfast_llm.terms.spots import Spots
from gwfast_llm.text.packing import Places

B, L, V, P, K, T, N = 3, 20, 50, 8, 6, 9, 24
WEIGHTS = dict(preset="custom", path=1.0, uld=0.5, gld=1.0, hellinger=0.2, hybrid=0.4, alm=0.1, gold=0.1, simct=0.1)


class AllOnTheDevice(TorchDispatchMode):
    """Refuses operations between a tensor of the device and one of the host that is more than a single number."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        held = [x for x in tree_leaves((args, kwargs or {})) if isinstance(x, torch.Tensor)]
        kinds = {x.device.type for x in held if x.dim()}
        assert len(kinds) < 2, f"{func} mixes {kinds}"
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def accelerator():
    with FakeTensorMode(), AllOnTheDevice():
        yield


def numbers(*shape, dtype=torch.float32, grad=False):
    return torch.empty(*shape, dtype=dtype, device="meta", requires_grad=grad)


def whole(*shape):
    return numbers(*shape, dtype=torch.long)


def truth(*shape):
    return numbers(*shape, dtype=torch.bool)


def chunks():
    return SourceChunks(numbers(B, 1, P), numbers(B, 1, P), numbers(B, 1, P), truth(B, 1, P))


def batch(packed):
    rows = {"attention_mask": whole(B, L)}
    if packed:
        rows = {"position_ids": whole(2, L + 5), "places": Places(whole(B), whole(B), L)}
    return Batch(
        input_ids=whole(2, L + 5) if packed else whole(B, L),
        labels=whole(B, L),
        spots=Spots(whole(N), whole(B, T), truth(B, T)),
        source_weight=numbers(B, 1),
        pairs=Pairs(whole(B, 1, P), truth(B, 1, P)),
        carried=CarriedTargets(whole(B, 1, P, K), numbers(B, 1, P, K), numbers(B, 1, P)),
        source_probs=numbers(B, 1, P, K),
        own={
            "hybrid": SharedIds(whole(B, 1, P, K), truth(B, 1, V)),
            "alm": chunks(),
            "gold": GoldItems(SharedIds(whole(B, 1, P, K), truth(B, 1, V)), chunks(), numbers(B, 1)),
            "simct": Candidates(whole(B, 1, P, K), numbers(B, 1, P, K), chunks()),
            "gld": SourceLogits(numbers(B, 1, T, K), whole(B, 1, T, K), truth(B, 1, T), numbers(B, 1, T), V),
        },
        **rows,
    )


class Pivot(torch.nn.Module):
    """Embedding and output layer; what lies between them in a real model is not ours."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(V, 8, device="meta")
        self.layer = torch.nn.Linear(8, V, bias=False, device="meta")

    def get_output_embeddings(self):
        return self.layer

    def forward(self, input_ids, use_cache, attention_mask=None, position_ids=None):
        return SimpleNamespace(logits=self.layer(self.embedding(input_ids)))


def test_the_fixture_refuses_what_it_should():
    with pytest.raises(DataDependentOutputException):
        bool(truth(3).any())
    with pytest.raises(DynamicOutputShapeException):
        numbers(3)[truth(3)]
    with pytest.raises(AssertionError, match="mixes"):
        numbers(3, 2)[torch.zeros(2, dtype=torch.long)]


@pytest.mark.parametrize("weights", ["log_probs", "logits", "softmax"])
@pytest.mark.parametrize("nodes", ["rank", "vocab"])
@pytest.mark.parametrize("feature", ["mean", "mean_std", "spectrum"])
def test_gld_reads_no_value(nodes, weights, feature):
    """`rows` is left out: its assignment is solved on the host."""
    options = {"nodes": nodes, "weights": weights, "feature": feature}
    z = numbers(B, L, V, grad=True)
    loss = gwfast_llm.gld_loss(z, numbers(B, L + 2, V + 9), truth(B, L), truth(B, L + 2), top_k=K, **options)
    loss.backward()
    assert (loss.device.type, z.grad.shape) == ("meta", z.shape)


@pytest.mark.parametrize("positions", [None, 7])
def test_uld_reads_no_value(positions):
    pairs = None if positions is None else (whole(B, positions), whole(B, positions))
    z = numbers(B, L, V, grad=True)
    loss = gwfast_llm.uld_loss(z, numbers(B, L + 2, V), truth(B, L), truth(B, L + 2), positions=pairs)
    loss.backward()
    assert z.grad.shape == z.shape


@pytest.mark.parametrize("window", [0, 1, 3])
def test_graphs_in_one_vocabulary_read_no_value(window):
    p = numbers(B, P, V, grad=True)
    part = gwfast_llm.gld_aligned_part(p, whole(B, P, K), numbers(B, P, K), truth(B, P), numbers(B), window=window)
    part.mean.backward()
    assert p.grad.shape == p.shape


@pytest.mark.parametrize("by", ["fixed", "mass", "entropy"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("chunk", [0, 7])
def test_the_loss_side_of_a_step_reads_no_value(monkeypatch, chunk, packed, by):
    """Counts, output layer, every term, their weighted sum, and the backward pass through all of it."""
    monkeypatch.setattr(output_layer, "change_of", lambda model: None)  # looked at once, before training
    own = Pivot()
    terms = Objective.of(ObjectiveConfig(**WEIGHTS, gld_aligned=0.0 if chunk else 0.3, top_by=by, top_k=K), 1)
    given = batch(packed)
    counts = terms.counts(given)
    student, _ = run_student(own, given, terms, ChunkedHead(own, chunk) if chunk else None)
    totals = torch.stack([part.total.float() for part in terms.values(student, given)])
    values = totals / counts.to(totals.device).clamp_min(1)
    loss = (torch.empty(len(values), device="meta") * values).sum()
    loss.backward()
    assert all(p.grad is not None and p.grad.device.type == "meta" for p in own.parameters())
