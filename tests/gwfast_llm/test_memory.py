"""How many logits are alive at one time, counted in tensors of a whole batch, (B, L, V)."""

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig, TrainConfig
from gwfast_llm.models import output_layer
from gwfast_llm.training.fusion import fuse
from gwfast_llm.training.trainer import FusionTrainer

OBJECTIVES = {
    "sft": ObjectiveConfig(preset="sft"),
    "path": ObjectiveConfig(preset="path", source_top_k=5),
    "infigfusion": ObjectiveConfig(preset="infigfusion", top_k=5, source_top_k=5),
    "many": ObjectiveConfig(
        preset="custom", path=1.0, uld=0.5, gld=0.1, hellinger=0.2, hybrid=0.4, top_k=5, source_top_k=5
    ),
}


class Alive(TorchDispatchMode):
    """Largest number of bytes ever alive in tensors whose last axis is the vocabulary, each storage once."""

    def __init__(self, vocabulary):
        super().__init__()
        self._vocabulary = vocabulary
        self._storages = {}
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for found in tree_flatten(out)[0]:
            if isinstance(found, torch.Tensor) and found.dim() and found.shape[-1] == self._vocabulary:
                storage = found.untyped_storage()
                self._storages[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self._storages = {key: entry for key, entry in self._storages.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._storages.values()))
        return out


def peak(home, monkeypatch, objective, chunk):
    """Peak of a run with diagnosis and evaluation, in (B, L, V) tensors of its largest batch."""
    vocabulary, largest = 110, []
    real = FusionTrainer._totals

    def totals(self, model, inputs):
        largest.append(inputs.input_ids.numel())
        return real(self, model, inputs)

    monkeypatch.setattr(FusionTrainer, "_totals", totals)
    monkeypatch.setattr(output_layer, "WHOLE", 0)  # as if the vocabulary were large
    config = FuseConfig(
        ModelConfig(str(home / "pivot")),
        DataConfig(str(home / "train.jsonl"), str(home / "held-out.jsonl"), max_length=96, end_token=False),
        [SourceConfig(str(home / name), name=name) for name in "AB"],
        objective,
        TrainConfig(steps=2, batch_size=8, log_every=1, eval_every=2, diagnose=8, samples=0, chunk=chunk),
    )
    with Alive(vocabulary) as alive:
        fuse(config, lambda done, total: None)
    return alive.peak / (4 * vocabulary * max(largest))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_by_default_less_than_one_whole_tensor_is_ever_alive(home, monkeypatch, name):
    assert peak(home, monkeypatch, OBJECTIVES[name], TrainConfig().chunk) < 1


def test_whole_logits_are_counted_as_such(home, monkeypatch):
    assert peak(home, monkeypatch, OBJECTIVES["sft"], 0) > 2
