"""Folders that hold no causal language model with every weight trained: one line that says what was found."""

import json
import shutil

import pytest
import torch
import transformers
import yaml
from safetensors.torch import load_file, save_file

from gwfast_llm.cache import main as cache_command
from gwfast_llm.config import ModelConfig, SourceConfig
from gwfast_llm.evaluate import main as evaluate_command
from gwfast_llm.fuse import main as fuse_command
from gwfast_llm.inspect import main as inspect_command
from gwfast_llm.models.loading import check_weights, load_model, load_tokenizer
from gwfast_llm.system.errors import FusionError

SMALL = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 128,
}


def size(home):
    return json.loads((home / "A" / "config.json").read_text())["vocab_size"]


def saved(model, home, folder):
    """A model with the tokenizer of source A."""
    model.save_pretrained(folder)
    for path in (home / "A").glob("tokenizer*"):
        shutil.copy(path, folder / path.name)
    return folder


def edited(home, folder, settings=None, weights=None, tied=False):
    """A Llama, its configuration or weights changed afterwards."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=size(home), tie_word_embeddings=tied, **SMALL)
    saved(transformers.LlamaForCausalLM(config), home, folder)
    if settings:
        path = folder / "config.json"
        content = json.loads(path.read_text()) | settings
        path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    if weights:
        path = folder / "model.safetensors"
        save_file(weights(load_file(path)), path, metadata={"format": "pt"})
    return folder


def without(word):
    return lambda found: {name: value for name, value in found.items() if word not in name}


def of_class(name, **more):
    """A small model of a class of transformers."""

    def make(home, folder):
        torch.manual_seed(0)
        model = getattr(transformers, name)
        own = {"vocab_size": size(home), **more}
        return saved(model(model.config_class(**own)), home, folder)

    return make


def adapter(home, folder):
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "big/model", "peft_type": "LORA"}')
    return folder


def adapter_beside_a_model(home, folder):
    edited(home, folder)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "big/model", "peft_type": "LORA"}')
    return folder


def quantised(method):
    return lambda home, folder: edited(home, folder, {"quantization_config": {"quant_method": method, "bits": 4}})


BERT = {key: value for key, value in SMALL.items()}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
REFUSED = {
    "no head": (
        lambda h, f: edited(h, f, weights=without("lm_head")),
        "no trained output layer (lm_head.weight",
    ),
    "a layer lacks": (
        lambda h, f: edited(h, f, weights=without("layers.1.")),
        "lacks 9 weights that its",
    ),
    "more layers asked": (lambda h, f: edited(h, f, {"num_hidden_layers": 3}), "lacks 9 weights"),
    "fewer layers asked": (
        lambda h, f: edited(h, f, {"num_hidden_layers": 1}),
        "holds 9 weights more than its",
    ),
    "no layers asked": (lambda h, f: edited(h, f, {"num_hidden_layers": 0}), "holds 18 weights more than its"),
    "int8": (
        lambda h, f: edited(h, f, weights=lambda w: w | {n: w[n].to(torch.int8) for n in w if "proj" in n}),
        "is stored as int8, and its config.json has no quantization_config",
    ),
    "float8": (
        lambda h, f: edited(h, f, weights=lambda w: {n: v.to(torch.float8_e4m3fn) for n, v in w.items()}),
        "is stored as float8_e4m3, and its config.json has no quantization_config",
    ),
    "packed bits": (
        lambda h, f: edited(h, f, weights=lambda w: w | {"lm_head.weight": w["lm_head.weight"].to(torch.uint8)}),
        "lm_head.weight of",
    ),
    "architectures of numbers": (lambda h, f: edited(h, f, {"architectures": [3]}), "architectures in config.json of"),
    "an architecture": (
        lambda h, f: edited(h, f, {"architectures": "LlamaForCausalLM"}),
        "is 'LlamaForCausalLM'; expected a list of names of classes",
    ),
    "a list of classes": (lambda h, f: edited(h, f, {"auto_map": ["x"]}), "auto_map in config.json of"),
    "another width": (lambda h, f: edited(h, f, {"hidden_size": 8, "head_dim": 8}), "has shape"),
    "another vocabulary": (lambda h, f: edited(h, f, {"vocab_size": 999}), "has shape"),
    "prefixed": (
        lambda h, f: edited(h, f, weights=lambda w: {f"module.{n}": v for n, v in w.items()}),
        "it holds module.lm_head.weight instead",
    ),
    "a value head": (
        lambda h, f: edited(h, f, weights=lambda w: w | {"v_head.summary.weight": torch.zeros(1, 16)}),
        "is no plain language model; it holds v_head.summary.weight",
    ),
    "classifier": (
        lambda h, f: of_class("LlamaForSequenceClassification", **SMALL)(h, f),
        "is a llama model saved as LlamaForSequenceClassification, whose output layer is not that of a language model",
    ),
    "reward model of tied weights": (
        of_class("LlamaForSequenceClassification", num_labels=1, tie_word_embeddings=True, pad_token_id=0, **SMALL),
        "saved as LlamaForSequenceClassification",
    ),
    "bare model": (of_class("LlamaModel", tie_word_embeddings=True, **SMALL), "saved as LlamaModel"),
    "tokens": (of_class("LlamaForTokenClassification", **SMALL), "saved as LlamaForTokenClassification"),
    "masked": (of_class("BertForMaskedLM", **BERT), "saved as BertForMaskedLM"),
    "encoder": (of_class("BertModel", **BERT), "saved as BertModel"),
    "encoder-decoder": (of_class("T5ForConditionalGeneration", **T5), "an encoder-decoder"),
    "vision": (of_class("ViTModel", **SMALL), "of which transformers has no causal language model"),
    "adapter": (adapter, "holds an adapter for 'big/model', not a whole model"),
    "adapter beside a model": (adapter_beside_a_model, "holds an adapter for 'big/model', not a whole model"),
    "gptq": (quantised("gptq"), "are quantised by 'gptq', which needs a library that is not installed"),
    "unknown quantisation": (quantised("nonsense"), "are quantised by 'nonsense', which transformers does not know"),
    "unknown architecture": (
        lambda h, f: edited(h, f, {"model_type": "brandnew", "architectures": ["BrandNewForCausalLM"]}),
        "is of type 'brandnew', which the installed transformers does not know",
    ),
    "own code": (
        lambda h, f: edited(
            h, f, {"model_type": "own", "auto_map": {"AutoConfig": "c.C", "AutoModelForCausalLM": "m.M"}}
        ),
        "needs code of its own to be loaded",
    ),
    "no type": (lambda h, f: edited(h, f, {"model_type": None}), "config.json of"),
    "impossible": (
        lambda h, f: edited(h, f, {"num_attention_heads": 3}),
        "is not a multiple of the number",
    ),
    "textual width": (lambda h, f: edited(h, f, {"hidden_size": "16"}), "expected int, got str"),
    "unknown activation": (lambda h, f: edited(h, f, {"hidden_act": "nope"}), "nope"),
}


@pytest.fixture(scope="module")
def folders(home, tmp_path_factory):
    """Refused folders, each made where it is first used."""
    base, made = tmp_path_factory.mktemp("refused"), {}

    def folder(kind):
        if kind not in made:
            made[kind] = REFUSED[kind][0](home, base / kind.replace(" ", "-"))
        return str(made[kind])

    return folder


@pytest.mark.filterwarnings("ignore")  # transformers remarks on such folders
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_trained_language_model_is_one_line(folders, kind):
    message = REFUSED[kind][1]
    for config, role in (
        (ModelConfig(folders(kind)), "pivot: "),
        (SourceConfig(folders(kind), name="s"), "source s: "),
    ):
        for look in (check_weights, load_model):
            with pytest.raises(FusionError) as found:
                look(config)
            assert message in str(found.value)
            assert str(found.value).startswith(role)
            assert "\n" not in str(found.value)


@pytest.mark.parametrize("kind", ["no head", "classifier", "adapter"])
@pytest.mark.parametrize("place", ["pivot", "source"])
def test_every_command_says_so_before_any_work(home, folders, tmp_path, capsys, monkeypatch, place, kind):
    for module in ("reports.inspection", "training.prepare"):  # the first one takes its name from the second
        monkeypatch.setattr(f"gwfast_llm.{module}.prepare_run", None)
    own = {"pivot": str(home / "pivot"), "source": str(home / "A")} | {place: folders(kind)}
    content = {
        "pivot": {"model": own["pivot"]},
        "sources": [{"model": own["source"], "name": "s"}],
        "data": {"train": str(home / "train.jsonl"), "validation": str(home / "held-out.jsonl"), "end_token": False},
    }
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(content))
    capsys.readouterr()  # of the folder's making
    commands = [inspect_command, evaluate_command, lambda line: fuse_command([*line, "--runs", str(tmp_path / "runs")])]
    for command in commands:
        assert command(["--config", str(path)]) == 2
        said = capsys.readouterr()
        assert not said.out
        assert said.err.startswith("error: " + ("pivot" if place == "pivot" else "source s"))
        assert REFUSED[kind][1] in said.err
        assert len(said.err.splitlines()) == 1
    content["sources"][0]["cache"] = str(tmp_path / "cache")
    path.write_text(yaml.safe_dump(content))
    assert cache_command(["--config", str(path)]) == 2
    assert REFUSED[kind][1] in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()
    assert list((tmp_path / "runs").glob("*")) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_said_of_the_model(home, tmp_path, capsys, value):
    def spoil(found):
        found["model.layers.1.mlp.up_proj.weight"][3, 5] = value
        return found

    folder = str(edited(home, tmp_path / "m", weights=spoil))
    message = f"model.layers.1.mlp.up_proj.weight of {folder} holds numbers that are not finite"
    for config, role in ((ModelConfig(folder), "pivot"), (SourceConfig(folder, name="s"), "source s")):
        with pytest.raises(FusionError, match=f"{role}: {message}"):
            load_model(config)
    content = {
        "pivot": {"model": folder},
        "sources": [{"model": str(home / "A")}],
        "data": {"train": str(home / "train.jsonl"), "end_token": False},
    }
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(content))
    for command in (inspect_command, lambda line: fuse_command([*line, "--runs", str(tmp_path / "runs")])):
        assert command(["--config", str(path)]) == 2
        said = capsys.readouterr().err
        assert f"error: pivot: {message}" in said
        assert "train.lr" not in said
    assert list((tmp_path / "runs").glob("*")) == []


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_reads_ahead_is_found_by_its_numbers(home, tmp_path):
    folder = of_class("BertLMHeadModel", **BERT)(home, tmp_path / "bert")
    with pytest.raises(FusionError, match=r"pivot: .* reads ahead: .* as in encoders"):
        load_model(ModelConfig(str(folder)))
    decoder = of_class("BertLMHeadModel", is_decoder=True, **BERT)(home, tmp_path / "decoder")
    assert load_model(ModelConfig(str(decoder))).config.is_decoder


GOOD = {
    "LlamaForCausalLM": SMALL,
    "GPT2LMHeadModel": {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64},
    "Gemma2ForCausalLM": SMALL | {"num_key_value_heads": 1, "head_dim": 8},
    "MixtralForCausalLM": SMALL | {"num_key_value_heads": 1, "num_local_experts": 2},
    "MambaForCausalLM": {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4},
    "BloomForCausalLM": {"hidden_size": 16, "n_layer": 1, "n_head": 2},
    "OPTForCausalLM": {
        "hidden_size": 16,
        "ffn_dim": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "word_embed_proj_dim": 16,
    },
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", GOOD)
def test_causal_models_of_every_make_are_taken(home, tmp_path, name):
    folder = of_class(name, **GOOD[name])(home, tmp_path / name)
    check_weights(ModelConfig(str(folder)))
    assert type(load_model(ModelConfig(str(folder)))).__name__ == name


def test_a_head_of_its_own_under_a_tied_configuration_stays_one(home, tmp_path):
    def other_head(found):
        return found | {"lm_head.weight": torch.flip(found["model.embed_tokens.weight"], [0]).contiguous()}

    folder = edited(home, tmp_path / "m", weights=other_head, tied=True)
    model = load_model(ModelConfig(str(folder)))
    ids = torch.arange(8)[None]
    model.save_pretrained(tmp_path / "again")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, model(ids).logits)
    assert not torch.equal(again.lm_head.weight, again.model.embed_tokens.weight)


DAMAGED = {
    "no tokenizer": lambda folder: [path.unlink() for path in folder.glob("tokenizer*")],
    "cut": lambda folder: (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {'),
    "another form": lambda folder: (folder / "tokenizer.json").write_text('{"version": "9"}'),
    "settings cut": lambda folder: (folder / "tokenizer_config.json").write_text("{"),
    "settings a list": lambda folder: (folder / "tokenizer_config.json").write_text("[1]"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_tokenizer_is_one_line(home, tmp_path, how):
    shutil.copytree(home / "A", tmp_path / "m")
    DAMAGED[how](tmp_path / "m")
    with pytest.raises(FusionError) as found:
        load_tokenizer(SourceConfig(str(tmp_path / "m"), name="s"))
    assert str(found.value).startswith("source s: ")
    assert "tokenizer" in str(found.value)
    assert "\n" not in str(found.value)
