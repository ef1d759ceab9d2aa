"""Scores of a model on problems, and what it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from experiments.real_fusion.data import TASKS
from experiments.shared.records import Row
from gwfast_llm.text.examples import Example, encode_all, end_token_of, pad_right, prompt_text, with_chat
from gwfast_llm.text.reading import read_examples

AT_ONCE = 20
SAMPLES, WRITTEN = 3, 24  # prompts whose answers are shown, and tokens of an answer


@torch.no_grad()
def scores(model: Any, tokenizer: Any, tests: Path) -> Row:
    """Exact match under teacher forcing, nats a byte, and both of every problem."""
    model.eval()
    examples = with_chat(read_examples(tests))
    every = encode_all(examples, tokenizer, end_token=end_token_of(tokenizer, True))
    nats, right = [0.0] * len(every), [False] * len(every)
    order = sorted(range(len(every)), key=lambda i: len(every[i].ids))  # little padding
    for start in range(0, len(order), AT_ONCE):
        rows = [every[i] for i in order[start : start + AT_ONCE]]
        ids = pad_right([row.ids for row in rows], tokenizer.pad_token_id or 0)
        mask = pad_right([[1] * len(row.ids) for row in rows], 0)
        hidden = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        for i, row, own in zip(order[start:], rows, hidden, strict=False):
            answer = torch.tensor(row.answer)
            logits = model.get_output_embeddings()(own[row.prompt_length - 1 : len(row.ids) - 1]).float()
            nats[i] = float(torch.nn.functional.cross_entropy(logits, answer, reduction="sum"))
            right[i] = bool((logits.argmax(-1) == answer).all())
    size = sum(len(example.response.encode()) + 1 for example in examples)  # and the closing token
    by_task = {f"exact_{t}": _share([r for r, e in zip(right, examples, strict=True) if e.task == t]) for t in TASKS}
    return {
        "exact": _share(right),
        "nats_a_byte": sum(nats) / size,
        "nats": [round(n, 4) for n in nats],
        "right": "".join(str(int(r)) for r in right),
        **by_task,
    }


def _share(right: list[bool]) -> float:
    return sum(right) / len(right)


def written(model: Any, tokenizer: Any, tests: Path) -> list[list[str]]:
    """Question, right answer, and what the model writes of its own, of a few problems."""
    examples: list[Example] = with_chat(read_examples(tests))
    found = []
    for example in examples[:: len(examples) // SAMPLES][:SAMPLES]:
        ids = tokenizer(prompt_text(example, tokenizer), add_special_tokens=False, return_tensors="pt")
        made = model.generate(
            **ids,
            max_new_tokens=WRITTEN,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id or 0,
            eos_token_id=end_token_of(tokenizer, True),
        )
        text = tokenizer.decode(made[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        found.append([example.messages[-1][1], example.response, text])
    return found
