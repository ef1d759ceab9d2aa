"""What a report shows beside losses: answers before and after, held-out scores, time and memory beside the estimate."""

import json

import pytest
import torch

from gwfast_llm.config import ModelConfig
from gwfast_llm.models.loading import load_model, load_tokenizer
from gwfast_llm.models.writing import written


def test_a_run_shows_answers_scores_time_and_memory(fuse_here, home, tmp_path, monkeypatch):
    code, said = fuse_here(steps=3, lr=0.1, warmup_steps=0, samples=2, eval_every=-1)
    assert code == 0, said
    run = tmp_path / "runs" / "r"
    record, page = json.loads((run / "run.json").read_text()), (run / "report.md").read_text()
    scored = [row for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "eval_loss" in row]
    assert [row["step"] for row in scored] == [0, 3]
    assert all(f"eval_{part}" in row for row in scored for part in ("sft", "path"))

    model, tokenizer = (load(ModelConfig(str(run / "model"))) for load in (load_model, load_tokenizer))
    before = load_model(ModelConfig(str(home / "pivot")))
    held_out = [json.loads(line) for line in (home / "held-out.jsonl").read_text().splitlines()][::5][:2]
    assert [sample["answer"] for sample in record["samples"]] == [row["response"] for row in held_out]
    for sample, row in zip(record["samples"], held_out, strict=True):
        prompt = tokenizer(row["prompt"])["input_ids"]
        for name, own in (("before", before), ("after", model)):
            ids = written(own, [prompt], [], 48, tokenizer.pad_token_id or 0)[0]
            assert sample[name] == tokenizer.decode(ids, skip_special_tokens=True)
    assert record["samples"][0]["before"] != record["samples"][0]["after"]
    cost = record["cost"]
    assert cost["steps_measured"] == 3
    assert cost["peak_bytes"] >= cost["before_bytes"] > 0
    weights = sum(p.numel() for p in model.parameters())
    assert cost["operations"] > 6 * weights * 3 * 4 * 10  # six a weight and token, 12 examples of more than 10 tokens
    assert cost["estimated_bytes"] > 16 * weights  # weights, gradients and two moments in float32
    for shown in ("the pivot before", "estimated by `inspect`", "TFLOP/s", "| held out | step 0 | step 3 |"):
        assert shown in page

    monkeypatch.setattr(type(before), "generate", lambda *_, **__: 1 / 0)  # a model that cannot write
    code, said = fuse_here(name="mute", steps=1, samples=2)
    assert code == 0, said
    assert json.loads((tmp_path / "runs" / "mute" / "run.json").read_text())["samples"] == []


def test_writing_is_greedy_or_drawn_with_its_own_seed(home):
    model, tokenizer = (load(ModelConfig(str(home / "A"))) for load in (load_model, load_tokenizer))
    model.generation_config.top_k, model.generation_config.repetition_penalty = 1, 9.0  # of no account
    model.train()
    prompts = [tokenizer(text)["input_ids"] for text in ("3 + 4", "a longer prompt", "b")]
    answers = written(model, prompts, [], 5)
    assert model.training
    model.eval()
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = list(prompt)
        for token in answer:
            assert token == int(model(torch.tensor([ids])).logits[0, -1].argmax())
            ids.append(token)
    stop = answers[0][2]
    assert written(model, prompts[:1], [stop], 5)[0] == answers[0][: answers[0].index(stop) + 1]
    state = torch.get_rng_state()
    drawn = [written(model, prompts, [], 12, temperature=1.0, seed=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert torch.equal(state, torch.get_rng_state())


def test_a_negative_number_of_evaluations_is_no_interval():
    from gwfast_llm.config import TrainConfig
    from gwfast_llm.system.errors import FusionError

    with pytest.raises(FusionError, match="eval_every is -2"):
        TrainConfig(eval_every=-2)
