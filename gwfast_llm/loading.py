"""Load models and tokenizers, with messages that name the argument and the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from gwfast_llm.config import ModelConfig, SourceConfig
from gwfast_llm.errors import FusionError


def _role(config: ModelConfig) -> str:
    return f"source {config.label}" if isinstance(config, SourceConfig) else "pivot"


def _check_path(config: ModelConfig) -> None:
    looks_local = config.model.startswith((".", "/", "~")) or config.model.count("/") > 1
    if looks_local and not Path(config.model).expanduser().is_dir():
        raise FusionError(
            f"{_role(config)}: folder {config.model} does not exist; give a folder with config.json or a hub name"
        )


def load_tokenizer(config: ModelConfig) -> Any:
    """Load the fast tokenizer of a model.

    Raises
    ------
    FusionError
        When it cannot be found or reports no offsets.
    """
    _check_path(config)
    try:
        # A tokenizer saved as generic must be read as generic: for some model types (qwen2) AutoTokenizer would put
        # the family's own splitting rules in the place of those in tokenizer.json, and the ids would change.
        declared = get_tokenizer_config(config.model).get("tokenizer_class")
        if declared in ("TokenizersBackend", "PreTrainedTokenizerFast"):
            tokenizer = PreTrainedTokenizerFast.from_pretrained(config.model)
        else:
            tokenizer = AutoTokenizer.from_pretrained(config.model, trust_remote_code=config.trust_remote_code)
    except (OSError, ValueError) as problem:
        raise FusionError(f"{_role(config)}: no tokenizer at {config.model!r} ({_first_line(problem)})") from None
    if not tokenizer.is_fast:
        raise FusionError(
            f"{_role(config)}: the tokenizer of {config.model!r} reports no character offsets; "
            "a fast tokenizer (tokenizer.json) is needed to align it with another"
        )
    return tokenizer


def load_model(config: ModelConfig) -> Any:
    """Load a causal language model.

    Raises
    ------
    FusionError
        When it cannot be found or is not a causal language model.
    """
    _check_path(config)
    try:
        return AutoModelForCausalLM.from_pretrained(
            config.model, dtype=config.dtype, trust_remote_code=config.trust_remote_code
        )
    except (OSError, ValueError) as problem:
        raise FusionError(f"{_role(config)}: no model at {config.model!r} ({_first_line(problem)})") from None


def check_vocabulary(role: str, model: Any, tokenizer: Any) -> int:
    """Number of logits that belong to tokens; a model may have more rows, filled up to a round number.

    Parameters
    ----------
    role : str
        Name of the model in messages.
    model, tokenizer : transformers objects
        The two that must fit.

    Returns
    -------
    int
        Largest token id in use, plus 1.

    Raises
    ------
    FusionError
        When the tokenizer has ids for which the model has no logit.
    """
    used = max(tokenizer.get_vocab().values()) + 1
    rows = model.get_output_embeddings().weight.shape[0]
    if used > rows:
        raise FusionError(
            f"{role}: the tokenizer has ids up to {used - 1}, the model only {rows} logits; "
            "the tokenizer is not that of the model: give the folder that holds both"
        )
    return used


def _first_line(problem: Exception) -> str:
    return str(problem).strip().splitlines()[0][:200]
