"""What a model writes after a prompt, greedily or drawn with a seed of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig

AT_ONCE = 16  # prompts of a batch


@torch.no_grad()
def written(
    model: Any,
    prompts: Sequence[Sequence[int]],
    stops: Sequence[int],
    most: int,
    pad_id: int = 0,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[list[int]]:
    """Let a model answer prompts.

    Parameters
    ----------
    model : transformers.PreTrainedModel or peft.PeftModel
        Causal language model; its mode and the random generators are left as they were.
    prompts : sequence of sequence of int
        Token ids, at least one each.
    stops : sequence of int
        Tokens that end an answer; the one that does is part of it.
    most : int
        Tokens of an answer, at most.
    pad_id : int
        Token to fill up with, masked.
    temperature : float
        0 takes the most probable token; above, tokens are drawn from softmax(logits / temperature).
    seed : int
        Seed of the draw.

    Returns
    -------
    list of list of int
        Answers, without what was filled up.

    Notes
    -----
    Cost: one forward pass a token, of `AT_ONCE` prompts at once.  The model's own generation settings are not used.
    """
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    drawn = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature > 0 else {}
    how = GenerationConfig(
        **({"do_sample": False} | drawn),
        max_new_tokens=most,
        repetition_penalty=1.0,
        num_beams=1,
        pad_token_id=pad_id,
        eos_token_id=list(stops) or None,
        use_cache=True,
    )
    found: list[list[int]] = []
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            for start in range(0, len(prompts), AT_ONCE):
                found += _batch(model, prompts[start : start + AT_ONCE], how, set(stops), device)
    finally:
        model.train(was_training)
    return found


def _batch(
    model: Any, prompts: Sequence[Sequence[int]], how: GenerationConfig, stops: set[int], device: torch.device
) -> list[list[int]]:
    width = max(map(len, prompts))
    fill: Any = how.pad_token_id
    ids = torch.tensor([[fill] * (width - len(own)) + list(own) for own in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(own)) + [1] * len(own) for own in prompts], device=device)
    made = model.generate(input_ids=ids, attention_mask=mask, generation_config=how)
    return [_until(row[width:].tolist(), stops) for row in made]


def _until(answer: list[int], stops: set[int]) -> list[int]:
    """An answer up to the first token that ends it."""
    last = next((k for k, i in enumerate(answer) if i in stops), len(answer))
    return answer[: last + 1]
