"""Build the tokenizers and models of the embedded default from their recipes, and keep them in the cache."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from gwfast_llm.system.cache_folder import built_once, cache_folder
from gwfast_llm.text.examples import Example, encode_all, pad_right
from gwfast_llm.tiny.recipes import ModelRecipe, TokenizerRecipe
from gwfast_llm.tiny.tasks import ALL_TASKS, draw_each, stream

PAD = "<pad>"
MAX_LENGTH = 96
Progress = Callable[[int, int], None]


def build_tokenizer(recipe: TokenizerRecipe) -> PreTrainedTokenizerFast:
    """Train a byte-pair tokenizer on the texts of the tasks, with every character of every task in its alphabet."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(recipe.pattern), "isolated")
    tokenizer.decoder = decoders.Fuse()
    texts = [p.prompt + p.response for p in draw_each(recipe.tasks, 400, seed=5)]
    alphabet = sorted({c for p in draw_each(ALL_TASKS, 300, seed=5) for c in p.prompt + p.response})
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab_size, special_tokens=[PAD], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, model_max_length=MAX_LENGTH)


def initial_model(recipe: ModelRecipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM | Qwen2ForCausalLM:
    """Make the model of a recipe with random weights, a function of the recipe's seed alone."""
    torch.manual_seed(recipe.seed)
    pad = _pad_id(tokenizer)
    full_stop = tokenizer.convert_tokens_to_ids(".")
    if recipe.architecture == "llama":
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden_size,
            intermediate_size=3 * recipe.hidden_size,
            num_hidden_layers=recipe.layers,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=MAX_LENGTH,
            tie_word_embeddings=True,
            pad_token_id=pad,
            bos_token_id=None,
            eos_token_id=full_stop,
        )
        return LlamaForCausalLM(config)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=2 * recipe.hidden_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        pad_token_id=pad,
        bos_token_id=None,
        eos_token_id=full_stop,
    )
    return Qwen2ForCausalLM(config)


def build_model(recipe: ModelRecipe, progress: Progress = lambda done, total: None) -> Path:
    """Train the model of a recipe, or find it in the cache.

    Parameters
    ----------
    recipe : ModelRecipe
        What to build.
    progress : callable, optional
        Called with (steps done, steps in all).

    Returns
    -------
    Path
        Folder with model and tokenizer in Hugging Face format.
    """
    target = cache_folder() / "tiny" / f"{recipe.name}-{recipe.fingerprint()}"
    found = built_once(target, lambda folder: _train(recipe, folder, progress))
    progress(recipe.steps, recipe.steps)
    return found


def _train(recipe: ModelRecipe, folder: Path, progress: Progress) -> None:
    """Train the model of a recipe and save it."""
    tokenizer = build_tokenizer(recipe.tokenizer)
    model = initial_model(recipe, tokenizer)
    done = 0
    for phase in recipe.phases:
        draw = stream(phase.tasks, random.Random(phase.seed))
        optimiser = torch.optim.AdamW(model.parameters(), lr=phase.lr, weight_decay=0.01)
        steps = phase.steps
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda i, n=steps: min(1.0, (i + 1) / 50) * (1 - 0.95 * i / n)
        )
        model.train()
        for _ in range(phase.steps):
            problems = [next(draw) for _ in range(recipe.batch_size)]
            loss = answer_loss(model, tokenizer, problems)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            done += 1
            progress(done, recipe.steps)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def answer_loss(model, tokenizer: PreTrainedTokenizerFast, problems) -> torch.Tensor:
    """Mean cross-entropy (nats a token) of the answers given their prompts."""
    rows = encode_all([Example(p.prompt, p.response) for p in problems], tokenizer)
    ids = pad_right([row.ids for row in rows], _pad_id(tokenizer))
    mask = pad_right([[1] * len(row.ids) for row in rows], 0)
    labels = pad_right([row.labels for row in rows], -100)
    logits = model(input_ids=ids, attention_mask=mask).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def _pad_id(tokenizer: PreTrainedTokenizerFast) -> int:
    return int(tokenizer.get_vocab()[PAD])
