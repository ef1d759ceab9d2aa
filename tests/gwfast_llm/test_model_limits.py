"""What a model cannot do: saved otherwise than trained, packed with a state that runs on, longer than its positions."""

import json
import shutil

import pytest
import torch
import transformers
import yaml
from transformers import AutoModelForCausalLM

from gwfast_llm.cache import main as cache_command
from gwfast_llm.config import (
    DataConfig,
    FuseConfig,
    LoraConfig,
    ModelConfig,
    ObjectiveConfig,
    SourceConfig,
    TrainConfig,
)
from gwfast_llm.evaluate import main as evaluate_command
from gwfast_llm.fuse import main as fuse_command
from gwfast_llm.inspect import main as inspect_command
from gwfast_llm.models.positions import positions_note, table_length
from gwfast_llm.models.separate import check_separate
from gwfast_llm.system.errors import FusionError
from gwfast_llm.training.fusion import fuse

SIZE = 120
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
GPT = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 40}
ONE = {"num_key_value_heads": 1}
STATE = {"mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 8}


def made(name, **settings):
    torch.manual_seed(0)
    model = getattr(transformers, name)
    return model(model.config_class(**{"vocab_size": SIZE, "pad_token_id": 0, **settings})).eval()


# --- adapters on tied layers


# peft 0.21 asks transformers 5.23 by a name that is going to change
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("targets", ["lm_head", "embed_tokens", "lm_head,embed_tokens,q_proj", "all-linear"])
def test_a_tied_model_is_saved_as_it_was_trained(home, tmp_path, targets, monkeypatch):
    """The logits of the last step's model, adapters in place, are those of the model that is saved and read back."""
    from gwfast_llm.training import fusion

    ids, seen = torch.arange(3, 20)[None], []

    def look(trainer, config):
        with torch.no_grad():
            seen.append(trainer.model.eval()(input_ids=ids).logits)
        return gather(trainer, config)

    gather = fusion.whole_model
    monkeypatch.setattr(fusion, "whole_model", look)
    config = FuseConfig(
        ModelConfig(str(home / "pivot")),
        DataConfig(str(home / "train.jsonl"), max_length=96, end_token=False),
        objective=ObjectiveConfig(preset="sft"),
        train=TrainConfig(steps=4, batch_size=4, lr=0.05, warmup_steps=0, log_every=4, diagnose=0, samples=0),
        lora=LoraConfig(rank=4, targets=targets),
    )
    assert AutoModelForCausalLM.from_pretrained(home / "pivot").config.tie_word_embeddings
    fused = fuse(config, lambda done, total: None)
    fused.model.save_pretrained(tmp_path / "saved")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved").eval()
    with torch.no_grad():
        before = AutoModelForCausalLM.from_pretrained(home / "pivot").eval()(input_ids=ids).logits
        found = again(input_ids=ids).logits
    torch.testing.assert_close(found, seen[0], rtol=1e-4, atol=1e-4)
    assert (found - before).abs().max() > 0.05  # it was trained
    assert again.config.tie_word_embeddings == (targets == "all-linear")


# --- states that run on over the border of a packed example

CROSSING = {
    "FalconH1ForCausalLM": SMALL | ONE | STATE | {"mamba_d_ssm": 32},
    "JambaForCausalLM": SMALL
    | ONE
    | {"num_experts": 2, "num_experts_per_tok": 1, "attn_layer_period": 2, "attn_layer_offset": 1}
    | {"expert_layer_period": 2, "expert_layer_offset": 1, "mamba_d_state": 4, "mamba_dt_rank": 4}
    | {"use_mamba_kernels": False},
    "BambaForCausalLM": SMALL | ONE | STATE | {"attn_layer_indices": [1]},
    "Lfm2ForCausalLM": SMALL | ONE | {"layer_types": ["conv", "full_attention"], "block_multiple_of": 8},
    "Qwen3NextForCausalLM": SMALL
    | ONE
    | {"head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8}
    | {"linear_value_head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
    | {"shared_expert_intermediate_size": 8, "layer_types": ["linear_attention", "full_attention"]},
    "RecurrentGemmaForCausalLM": SMALL
    | ONE
    | {"lru_width": 16, "head_dim": 8, "block_types": ["recurrent", "attention"]},
    "MambaForCausalLM": {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4},
    "RwkvForCausalLM": {"hidden_size": 16, "num_hidden_layers": 2, "attention_hidden_size": 16},
}
SEPARATE = {
    "LlamaForCausalLM": SMALL,
    "GPT2LMHeadModel": GPT,
    "Gemma3ForCausalLM": SMALL | ONE | {"head_dim": 8},
    "MixtralForCausalLM": SMALL | ONE | {"num_local_experts": 2},
}


@pytest.mark.filterwarnings("ignore")  # transformers remarks on kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", [*CROSSING, *SEPARATE])
def test_packing_refuses_what_crosses_the_border_in_any_type(name, dtype):
    model = made(name, **(CROSSING | SEPARATE)[name]).to(dtype)
    if name in SEPARATE:
        check_separate(model)
    else:
        with pytest.raises(FusionError, match=r"train\.packing: "):
            check_separate(model)


# --- positions

TABLES = {
    "GPT2LMHeadModel": (GPT, 40),
    "GPTJForCausalLM": (GPT | {"rotary_dim": 4}, 40),
    "OPTForCausalLM": (SMALL | {"ffn_dim": 32, "word_embed_proj_dim": 16, "max_position_embeddings": 40}, 40),
    "MptForCausalLM": ({"d_model": 16, "n_heads": 2, "n_layers": 1, "max_seq_len": 40}, 40),
    "RobertaForCausalLM": (SMALL | {"is_decoder": True, "max_position_embeddings": 40}, 39),
    "LlamaForCausalLM": (SMALL | {"max_position_embeddings": 40}, 0),
    "BloomForCausalLM": ({"hidden_size": 16, "n_layer": 1, "n_head": 2}, 0),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TABLES)
def test_the_table_of_positions_is_as_long_as_the_model_runs(tmp_path, name):
    settings, length = TABLES[name]
    model = made(name, **settings)
    model.save_pretrained(tmp_path / "m")
    assert table_length(str(tmp_path / "m"), False) == length

    def run(tokens):
        with torch.no_grad():
            model(input_ids=torch.full((1, tokens), 5), use_cache=False)

    if length:
        run(length)
        with pytest.raises((IndexError, RuntimeError)):
            run(length + 1)
    else:
        run(90)


def test_too_few_positions_are_one_line_before_any_work(home, tmp_path, capsys):
    size = json.loads((home / "A" / "config.json").read_text())["vocab_size"]
    made("GPT2LMHeadModel", **GPT | {"vocab_size": size}).save_pretrained(tmp_path / "short")
    for path in (home / "A").glob("tokenizer*"):
        shutil.copy(path, tmp_path / "short" / path.name)

    def written(pivot, source, **data):
        config = FuseConfig(
            ModelConfig(str(pivot)),
            DataConfig(str(home / "train.jsonl"), str(home / "held-out.jsonl"), end_token=False, **data),
            [SourceConfig(str(source), name="s", cache=str(tmp_path / "cache"))],
        )
        path = tmp_path / "c.yaml"
        path.write_text(yaml.safe_dump(config.as_dict()))
        return str(path)

    commands = (inspect_command, cache_command, lambda line: fuse_command([*line, "--runs", str(tmp_path / "runs")]))
    for pivot, source in ((tmp_path / "short", home / "A"), (home / "pivot", tmp_path / "short")):
        path = written(pivot, source)
        for command in commands:
            assert command(["--config", path]) == 2
            said = capsys.readouterr().err.splitlines()[-1]
            assert f"{'pivot' if pivot != home / 'pivot' else 'source s'}: " in said
            assert "has 40 positions, data.max_length asks for 2048; use --data.max_length 40" in said
    assert not (tmp_path / "cache").exists()
    rows = [{"prompt": "S ab:", "response": " ab."}, {"prompt": "S ab:", "response": " ab." * 20}]
    (tmp_path / "held.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = ["--config", written(home / "pivot", tmp_path / "short"), "--data.validation", str(tmp_path / "held.jsonl")]
    assert evaluate_command(line) == 2
    assert "source s: " in (said := capsys.readouterr().err)
    assert "the longest held-out example asks for" in said


@pytest.mark.parametrize(
    ("rope", "known"),
    [
        ({}, 40),
        ({"rope_type": "linear", "factor": 2.0}, 80),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 40}, 160),
    ],
)
def test_texts_longer_than_a_rotary_model_was_made_for_are_counted(tmp_path, rope, known):
    more = {"rope_parameters": {"rope_theta": 1e4, **rope}} if rope else {}
    transformers.LlamaConfig(**SMALL | {"max_position_embeddings": 40}, **more).save_pretrained(tmp_path / "m")
    one = ModelConfig(str(tmp_path / "m"))
    assert positions_note(one, [known]) == ""
    assert f"2 of 3 examples have more tokens (at most 999) than the {known} positions that pivot" in positions_note(
        one, [7, known + 1, 999]
    )
