"""What inspect says of memory, time and prompts, against runs and by laws."""

import dataclasses
import re
import shutil

import pytest
import yaml

from gwfast_llm.config import (
    DataConfig,
    FuseConfig,
    LoraConfig,
    ModelConfig,
    ObjectiveConfig,
    SourceConfig,
    TrainConfig,
)
from gwfast_llm.inspect import main as inspect_command
from gwfast_llm.models.loading import load_model, load_tokenizer
from gwfast_llm.models.shape import shape_of, spell_count
from gwfast_llm.reports.duration import Batches, teacher_time, training_time
from gwfast_llm.reports.memory import copied, memory_of, sharded
from gwfast_llm.system.disk import spell_bytes
from gwfast_llm.tiny.build import initial_model
from gwfast_llm.tiny.recipes import pivot
from gwfast_llm.training.arguments import with_adapters
from gwfast_llm.training.fusion import fuse
from gwfast_llm.training.prepare import prepare_run

FACTOR = 1.4  # between the estimate and what a run holds in tensors, on a CPU


@pytest.fixture
def built(home, tmp_path, tokenizers):
    """Makes the configuration of a run whose pivot is large enough that weights and activations both count."""

    def make(architecture="llama", lora=None, validation=False, hidden=128, **train):
        folder = tmp_path / architecture
        recipe = dataclasses.replace(pivot(), architecture=architecture, hidden_size=hidden, layers=4)
        initial_model(recipe, tokenizers[0]).save_pretrained(folder)
        tokenizers[0].save_pretrained(folder)
        held_out = str(home / "held-out.jsonl") if validation else ""
        return FuseConfig(
            ModelConfig(str(folder)),
            DataConfig(str(home / "train.jsonl"), held_out, max_length=96, end_token=False),
            [SourceConfig(str(home / "A"), name="A")],
            ObjectiveConfig(source_top_k=20),
            TrainConfig(
                **{"steps": 2, "batch_size": 8, "log_every": 1, "diagnose": 0, "eval_every": 0, "samples": 0, **train}
            ),
            lora or LoraConfig(),
        )

    return make


def estimate(config):
    """Estimated memory of a run, and the shape of its pivot."""
    run, shape = prepare_run(config, config.sources), shape_of(config.pivot, config.lora)
    return memory_of(config, shape, [len(row.ids) for row in run.rows[0]], 0.0), shape


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"architecture": "qwen2", "bf16": True},
        {"gradient_checkpointing": True, "batch_size": 4},
        {"packing": True, "chunk": 64},
        {"lora": LoraConfig(rank=8)},
        {"validation": True, "diagnose": 8, "hidden": 256, "batch_size": 2},
    ],
    ids=lambda setting: ",".join(setting) or "plain",
)
def test_the_estimate_is_near_what_a_run_holds(built, setting):
    from experiments.gpu_fusion.memory import PeakTensors

    config = built(**setting)
    with PeakTensors() as alive:
        fuse(config, lambda done, total: None)
    memory, shape = estimate(config)
    held = alive.peak + 4 * shape.weights  # those that were loaded are mapped from their file, which is not counted
    assert 1 / FACTOR < max(memory.total, memory.diagnosis) / held < FACTOR


# peft 0.21 asks transformers 5.23 by a name that is going to change
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_weights_are_counted_from_the_configuration(built):
    config = built(lora=LoraConfig(rank=4, targets="q_proj, down_proj"))
    shape, model = shape_of(config.pivot, config.lora), load_model(config.pivot)
    assert shape.weights == sum(p.numel() for p in model.parameters())
    assert shape.layers == 4
    adapted = with_adapters(model, config.lora)
    assert 4 * shape.adapted == sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    every = LoraConfig(rank=4)
    adapted = with_adapters(load_model(config.pivot), every)
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert 4 * shape_of(config.pivot, every).adapted == trained


def test_states_are_whole_in_copies_and_divided_in_shards(built):
    config = built()
    alone, shape = estimate(config)
    assert alone.weights == alone.gradients == 4 * shape.weights
    assert alone.optimiser == 8 * shape.weights
    assert copied(alone, 1) == alone
    assert copied(alone, 8).gradients == 2 * alone.gradients  # the buffer they are sent from
    shards = sharded(alone, config, shape, 8)
    assert shards.optimiser == alone.optimiser / 8
    assert alone.weights / 8 < shards.weights < alone.weights
    many = sharded(alone, config, shape, 10**9)
    assert 0 < many.weights < alone.weights  # what is gathered stays
    assert (many.activations, many.logits) == (alone.activations, alone.logits)


def test_what_saves_memory_lowers_its_own_row(built):
    plain = estimate(built())[0]
    assert estimate(built(gradient_checkpointing=True))[0].activations < plain.activations
    assert estimate(built(bf16=True))[0].activations < plain.activations
    assert estimate(built(chunk=8))[0].logits < plain.logits
    adapters = estimate(built(lora=LoraConfig(rank=2)))[0]
    assert adapters.gradients + adapters.optimiser < 0.1 * (plain.gradients + plain.optimiser)
    four_bit = estimate(built(lora=LoraConfig(rank=2, four_bit=True)))[0]
    assert four_bit.weights < 0.4 * adapters.weights
    assert four_bit.gradients == adapters.gradients
    assert estimate(built(packing=True))[0].activations <= 1.5 * plain.activations


def written(config, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config.as_dict()))
    return str(path)


def test_inspect_says_memory_for_the_gpus_asked(built, tmp_path, capsys):
    config = built(steps=100)
    memory, shape = estimate(config)
    assert inspect_command(["--config", written(config, tmp_path), "--gpus", "8", "--tflops", "1"]) == 0
    said = capsys.readouterr().out
    for row in ("weights", "gradients", "optimiser", "activations", "logits", "sources", "total"):
        assert re.search(rf"^  {row} +\S+ \S*B  +\S+ \S*B  +\S+ \S*B$", said, re.M), row
    own = 4 * shape_of(config.sources[0]).weights
    shards = sharded(dataclasses.replace(memory, sources=own), config, shape, 8)
    assert f"8 GPUs, shards: {spell_bytes(shards.total)} each" in said
    assert "examples/accelerate/fsdp2.yaml or zero3.yaml" in said
    found = re.search(r"time: 100 steps, (\S+) k tokens on each GPU x 6 x (\S+) k weights, at 1 TFLOP/s", said)
    assert found
    assert float(found.group(2)) == pytest.approx(shape.weights / 1e3, rel=0.01)
    assert "8 GPUs see 6400 examples" in said
    assert "source A: one pass over the data is" in said


@pytest.mark.parametrize(
    ("setting", "operations"),
    [({}, 6), ({"gradient_checkpointing": True}, 8), ({"lora": LoraConfig(rank=2)}, 4)],
    ids=["whole", "checkpointed", "adapters"],
)
def test_the_time_is_operations_times_weights_times_tokens(built, setting, operations):
    config = built(steps=1000, accumulate=3, **setting)
    shape = shape_of(config.pivot, config.lora)
    batches = Batches(number=2, used=100, padded=128, packed=120)
    tokens = 1000 * 3 * 128 / 2
    speed = operations * shape.weights * tokens / 1e12 / 100  # TFLOP/s at which it takes 100 s
    said = training_time(config, shape, batches, speed, 1)
    assert f"x {operations} x {spell_count(shape.weights)} weights" in said
    assert "about 1 min 40 s, in which 1 GPU sees 24000 examples" in said
    packed = dataclasses.replace(config, train=dataclasses.replace(config.train, packing=True))
    assert "about 1 min 34 s" in training_time(packed, shape, batches, speed, 1)
    once = teacher_time("A", shape, [30, 20], 2 * shape.weights * 50 / 1e12 / 7)
    assert once.endswith("about 7 s on one GPU")


def test_copies_alone_go_with_four_bits(built, tmp_path, capsys):
    config = built(lora=LoraConfig(rank=2, four_bit=True))
    assert inspect_command(["--config", written(config, tmp_path), "--gpus", "2"]) == 0
    said = capsys.readouterr().out
    assert "2 GPUs, copies" in said
    assert "shards:" not in said.split("copies: accelerate")[0]


def test_weights_that_come_in_half_are_trained_in_float32(built, tmp_path, capsys):
    config = built()
    half = tmp_path / "half"
    shutil.copytree(config.pivot.model, half)
    load_model(config.pivot).bfloat16().save_pretrained(half)
    flags = ["--config", written(config, tmp_path), "--pivot.model", str(half)]
    assert inspect_command(flags) == 0
    said = capsys.readouterr().out
    assert "weights in float32, all are trained" in said
    assert "pivot: all of its bfloat16 weights are trained, so they are held in float32" in said
    assert inspect_command([*flags, "--lora.rank", "2"]) == 0
    said = capsys.readouterr().out
    assert "weights in bfloat16, adapters of rank 2 are trained" in said
    assert "held in float32" not in said


def test_the_opening_of_a_prompt_is_shown_as_each_model_reads_it(home, built, tmp_path, capsys):
    config = built()
    folder = tmp_path / "talker"
    shutil.copytree(home / "A", folder)
    tokenizer = load_tokenizer(ModelConfig(str(folder)))
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<user>", "<assistant>", "<end>"], "eos_token": "<end>"}
    )
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    model = load_model(ModelConfig(str(folder)))
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(folder)
    flags = ["--pivot.model", str(folder), "--data.chat", "true", "--data.end_token", "true", "--sources", "[]"]
    assert inspect_command(["--config", written(config, tmp_path), *flags, "--objective.preset", "sft"]) == 0
    said = capsys.readouterr().out
    assert "the first prompt as each model reads it:\n  pivot: <user>" in said
    assert "answers closed by <end>" in said


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--gpus", "-1"], "--gpus is -1; expected 1 or more"),
        (["--tflops", "0"], "--tflops is 0; expected a positive number"),
    ],
)
def test_mistakes_are_one_line(built, tmp_path, capsys, flags, message):
    path = written(built(), tmp_path)
    capsys.readouterr()
    assert inspect_command(["--config", path, *flags]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
