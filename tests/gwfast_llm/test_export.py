"""What a run leaves behind: merged weights, adapters, a model card, and a copy on the hub."""

import peft
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from gwfast_llm.config import DataConfig, FuseConfig, LoraConfig, ModelConfig, ObjectiveConfig, SourceConfig
from gwfast_llm.reports.model_card import model_card
from gwfast_llm.system.errors import FusionError

# peft 0.21 asks transformers 5.23 by a name that is going to change
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def test_adapters_beside_the_merged_model_are_that_model(home, fuse_here, tmp_path):
    code, said = fuse_here("--lora.rank", "2", "--lora.export", "both", eval_every=3)
    assert code == 0, said
    folder = next(tmp_path.rglob("model"))
    ids = torch.arange(5, 25)[None]
    merged = AutoModelForCausalLM.from_pretrained(folder)
    base = AutoModelForCausalLM.from_pretrained(home / "pivot")
    with torch.no_grad():
        before, expected = base(ids).logits, merged(ids).logits
        adapted = peft.PeftModel.from_pretrained(base, str(folder / "adapter"))
        torch.testing.assert_close(adapted(ids).logits, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(before, expected, atol=1e-4)
    card = (folder / "README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert header["library_name"] == "transformers"
    assert "base_model" not in header  # a folder of this machine is no model of the hub
    assert str(home) not in card
    for part in ("`pivot`", "| source | `A`, weight 1 |", "`train.jsonl`", "1 sft, 3 path", "| path |", "Licences"):
        assert part in card


def test_adapters_alone_need_the_pivot(home, fuse_here, tmp_path):
    assert fuse_here("--lora.rank", "2", "--lora.export", "adapter")[0] == 0
    folder = next(tmp_path.rglob("model"))
    assert not (folder / "model.safetensors").exists()
    base = AutoModelForCausalLM.from_pretrained(home / "pivot")
    before = base(torch.arange(5, 25)[None]).logits.detach()
    adapted = peft.PeftModel.from_pretrained(base, str(folder))
    assert not torch.allclose(adapted(torch.arange(5, 25)[None]).logits, before, atol=1e-5)
    with pytest.raises(FusionError, match=r"lora\.export is 'both', but all weights are trained; give lora.rank"):
        LoraConfig(export="both")


def test_a_card_names_models_of_the_hub_and_escapes_what_it_shows():
    config = FuseConfig(
        ModelConfig("org/pivot"),
        DataConfig("org/data"),
        [SourceConfig("org/so|urce"), SourceConfig("/home/me/secret/second")],
        ObjectiveConfig(),
    )
    rows = [{"step": 0, "eval_loss": 2.0, "eval_path": 1.0}, {"step": 7, "eval_loss": 1.0, "eval_path": 0.5}]
    card = model_card(config, rows, ["<script>"], 7)
    assert yaml.safe_load(card.split("---")[1])["base_model"] == ["org/pivot"]
    assert "| path | 1.0000 | 0.5000 |" in card
    assert "`second`" in card
    assert "secret" not in card
    assert "<script>" not in card
    assert "| source | `org/so¦urce`, weight 1 |" in card


def test_the_model_is_pushed_with_its_card_and_kept_where_that_fails(fuse_here, tmp_path, monkeypatch):
    sent = {}

    class Hub:
        def create_repo(self, name, private, exist_ok):
            if name == "me/closed":
                raise OSError("no such user")
            sent["private"] = private
            return type("Repo", (), {"repo_id": name})

        def upload_folder(self, repo_id, folder_path, commit_message):
            sent[repo_id] = folder_path

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert fuse_here("--push_to_hub", "me/open", steps=1)[0] == 0
    folder = next(tmp_path.rglob("model"))
    assert sent == {"private": True, "me/open": str(folder)}
    code, said = fuse_here("--push_to_hub", "me/closed", name="second", steps=1)
    assert code == 0
    assert "could not be pushed to me/closed (OSError: no such user)" in said
