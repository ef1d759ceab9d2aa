"""Adapters over a pivot in 4 bits: what is refused, and the real path where bitsandbytes is installed."""

import dataclasses
import shutil
from importlib.util import find_spec

import pytest
import torch
from transformers import AutoModelForCausalLM

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
from gwfast_llm.models import checks, loading
from gwfast_llm.system.errors import FusionError
from gwfast_llm.training.checkpoints import last_checkpoint
from gwfast_llm.training.fusion import fuse

needs_library = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes (extra qlora) not installed")
# peft 0.21 asks transformers 5.23 by a name that is going to change
old_name = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def config(home, lora, **train):
    train = {
        "steps": 8,
        "batch_size": 8,
        "lr": 3e-3,
        "warmup_steps": 1,
        "log_every": 1,
        "diagnose": 0,
        "eval_every": 0,
        "samples": 0,
        **train,
    }
    return FuseConfig(
        ModelConfig(str(home / "pivot"), dtype="float32"),
        DataConfig(str(home / "train.jsonl"), str(home / "held-out.jsonl"), max_length=96, end_token=False),
        [SourceConfig(str(home / "A"), name="A")],
        ObjectiveConfig(source_top_k=0),
        TrainConfig(**train),
        lora,
    )


def quiet(done, total):
    """Progress that nobody watches."""


def test_it_needs_adapters(home, capsys):
    with pytest.raises(FusionError, match=r"lora\.four_bit needs adapters.*give lora\.rank"):
        LoraConfig(four_bit=True)
    flags = ["--pivot.model", str(home / "pivot"), "--data.train", str(home / "train.jsonl"), "--lora.four_bit", "true"]
    assert fuse_command([*flags, "--objective.preset", "sft"]) == 2
    assert "give lora.rank" in capsys.readouterr().err


def test_a_missing_library_is_named(home, monkeypatch):
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(FusionError, match=r"bitsandbytes, which is not installed: pip install 'gwfast-ot\[qlora\]'"):
        fuse(config(home, LoraConfig(rank=2, four_bit=True)), quiet)


def test_a_device_it_does_not_know_is_named(home, monkeypatch):
    def refuses(*arguments, **options):
        raise RuntimeError("None of the available devices are supported\nby this version")

    monkeypatch.setattr(loading, "find_spec", lambda name: True)
    monkeypatch.setattr(checks.AutoModelForCausalLM, "from_pretrained", refuses)
    message = r"cannot work here \(None of the available devices are supported\); use --lora\.four_bit false"
    with pytest.raises(FusionError, match=message):
        loading.load_in_four_bits(ModelConfig(str(home / "pivot")), torch.float32)


def test_sharding_is_refused(home, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(FusionError, match=r"lora\.four_bit does not go with FSDP"):
        fuse(config(home, LoraConfig(rank=2, four_bit=True)), quiet)


@pytest.fixture
def wide(home, tmp_path):
    """The small models with a pivot wide enough for blocks of 64 weights."""
    from gwfast_llm.tiny.build import initial_model
    from gwfast_llm.tiny.recipes import pivot

    for name in ("A", "train.jsonl", "held-out.jsonl"):
        (shutil.copytree if (home / name).is_dir() else shutil.copy)(home / name, tmp_path / name)
    tokenizer = loading.load_tokenizer(ModelConfig(str(home / "pivot")))
    initial_model(dataclasses.replace(pivot(), hidden_size=64, layers=1), tokenizer).save_pretrained(tmp_path / "pivot")
    tokenizer.save_pretrained(tmp_path / "pivot")
    return tmp_path


@needs_library
@old_name
@pytest.mark.parametrize(
    "more", [{}, {"chunk": 9, "packing": True, "gradient_checkpointing": True, "diagnose": 4, "eval_every": 1}]
)
def test_adapters_train_over_four_bits_and_merge_into_the_weights_before_rounding(wide, more):
    import bitsandbytes

    model = loading.load_in_four_bits(ModelConfig(str(wide / "pivot")), torch.float32)
    layer = model.model.layers[0].mlp.up_proj
    assert isinstance(layer, bitsandbytes.nn.Linear4bit)
    assert layer.weight.dtype == torch.uint8

    lora = LoraConfig(rank=4, alpha=8.0, four_bit=True)
    fused = fuse(config(wide, lora, **more), quiet)
    losses = [row["loss"] for row in fused.metrics if "loss" in row]
    assert losses[-1] < losses[0]
    assert any("cosine" in row for row in fused.metrics) == bool(more)
    start = AutoModelForCausalLM.from_pretrained(wide / "pivot")
    assert list(fused.model.state_dict()) == list(start.state_dict())
    changed = 0
    for (name, after), before in zip(fused.model.state_dict().items(), start.state_dict().values(), strict=True):
        assert after.dtype == before.dtype
        change = after - before
        if change.abs().max():
            changed += 1
            assert "proj" in name
            # the change is the adapters' alone, of rank 4: no rounding to 4 bits is in it
            assert torch.linalg.svdvals(change)[4:].max() < 1e-5 * torch.linalg.svdvals(change)[0]
    assert changed == 7
    plain = fuse(config(wide, dataclasses.replace(lora, four_bit=False)), quiet)
    whole = [row["loss"] for row in plain.metrics if "loss" in row]
    assert losses == pytest.approx(whole, rel=0.02)  # rounding moves the loss a little
    assert losses != whole


@needs_library
@old_name
def test_a_run_in_four_bits_resumes(wide, tmp_path):
    lora = LoraConfig(rank=4, four_bit=True)
    whole = fuse(config(wide, lora), quiet, tmp_path / "whole")
    first = config(wide, lora, save_every=4)
    fuse(first, quiet, tmp_path / "parts")
    checkpoint = last_checkpoint(tmp_path / "parts")
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-8"
    shutil.rmtree(checkpoint)
    again = fuse(first, quiet, tmp_path / "parts", resume=True)
    for (name, a), b in zip(whole.model.state_dict().items(), again.model.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, msg=lambda m, name=name: f"{name}: {m}")
