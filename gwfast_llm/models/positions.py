"""How many positions a model has; learnt or tabulated ones end with their table."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from gwfast_llm.config import ModelConfig
from gwfast_llm.models.checks import quiet_loading
from gwfast_llm.models.stored_weights import role_of
from gwfast_llm.system.errors import FusionError

_TABLE = re.compile(r"(^|[._])(wpe|pos|position|positions|pos_emb|pos_embed|positional)(_|\.|$)|embed_positions")


def check_positions(config: ModelConfig, length: int, what: str, instead: str = "") -> None:
    """Refuse texts longer than the positions of a model.

    Parameters
    ----------
    config : ModelConfig
        The model.
    length : int
        Tokens of the longest text.
    what : str
        What asks for them.
    instead : str
        What to do; a smaller ``data.max_length`` by default.

    Raises
    ------
    FusionError
        Where its table of positions is shorter; rotary positions have no end.
    """
    known = table_length(config.model, config.trust_remote_code)
    if known and length > known:
        instead = instead or f"use --data.max_length {known}, or a model with more"
        raise FusionError(
            f"{role_of(config)}: {config.model} has {known} positions, {what} asks for {length}; {instead}"
        )


@functools.lru_cache(maxsize=64)
def table_length(model: str, trust_remote_code: bool) -> int:
    """Positions in the table of a model, 0 where it has none; no weights are read."""
    try:
        settings = AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code)
        with quiet_loading(bars=False), torch.device("meta"):
            made: Any = AutoModelForCausalLM.from_config(settings, trust_remote_code=trust_remote_code)
    except Exception:
        return 0  # said where the model is loaded
    words = made.get_input_embeddings()
    found = [int(own) for own in [getattr(settings, "max_seq_len", None)] if own]  # of MPT, whose slopes are tabulated
    for name, module in made.named_modules():
        if isinstance(module, torch.nn.Embedding) and module is not words and _TABLE.search(name):
            found.append(_usable(module, settings))
        grows = hasattr(module, "make_weights")  # computed anew where it is too short
        for part, table in module.named_buffers(recurse=False):
            if table.dim() == 2 and table.is_floating_point() and not grows and _TABLE.search(f"{name}.{part}"):
                found.append(table.shape[0])
    return min(found, default=0)


def positions_note(config: ModelConfig, lengths: Sequence[int]) -> str:
    """Say how many texts are longer than a model was made for; empty where none is or that is not known.

    Rotary positions have no end, so such texts run; models read them worse.

    Parameters
    ----------
    config : ModelConfig
        The model.
    lengths : sequence of int
        Tokens of every text under its tokenizer.
    """
    known = made_for(config.model, config.trust_remote_code)
    longer = sum(length > known for length in lengths) if known else 0
    if not longer:
        return ""
    return (
        f"{longer} of {len(lengths)} examples have more tokens (at most {max(lengths)}) than the {known} positions "
        f"that {role_of(config)} was made for (max_position_embeddings); data.max_length {known} cuts them"
    )


@functools.lru_cache(maxsize=64)
def made_for(model: str, trust_remote_code: bool) -> int:
    """Positions that the configuration of a model states, stretched where it says so; 0 where it states none."""
    try:
        settings = AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code).get_text_config()
        stated = int(getattr(settings, "max_position_embeddings", None) or 0)
        rope: Any = getattr(settings, "rope_parameters", None) or getattr(settings, "rope_scaling", None) or {}
        if rope.get("rope_type", rope.get("type")) in ("linear", "dynamic", "yarn") and rope.get("factor"):
            first = rope.get("original_max_position_embeddings") or stated
            return max(stated, int(first * rope["factor"]))
        return stated
    except Exception:
        return 0  # what is wrong with it is said where the model is loaded


def _usable(module: torch.nn.Embedding, settings: Any) -> int:
    """Rows of a table less those that no position reaches: an offset, or all up to the padding row."""
    offset = getattr(module, "offset", None)
    if offset is None and module.padding_idx is not None:
        offset = module.padding_idx + 1
    asked = getattr(settings, "max_position_embeddings", None) or module.num_embeddings
    return min(module.num_embeddings - (offset or 0), int(asked))
