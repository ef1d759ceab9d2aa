"""Load models and tokenizers, with messages that name the argument and the fix."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, PreTrainedTokenizerFast
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


def load_in_four_bits(config: ModelConfig, compute: torch.dtype) -> Any:
    """Load a causal language model with its linear layers in 4 bits (NF4, scales quantised too), ready for adapters.

    Parameters
    ----------
    config : ModelConfig
        The model.
    compute : torch.dtype
        Type in which products are computed; what is not in 4 bits is in float32.

    Returns
    -------
    transformers.PreTrainedModel
        Frozen, on the GPU of this process where there is one.

    Raises
    ------
    FusionError
        When bitsandbytes is missing or does not know the device, or the model cannot be found.
    """
    if find_spec("bitsandbytes") is None:
        raise FusionError(
            "lora.four_bit needs bitsandbytes, which is not installed: pip install 'gwfast-ot[qlora]', or use "
            "--lora.four_bit false"
        )
    from peft import prepare_model_for_kbit_training

    _check_path(config)
    how = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
    try:
        model = AutoModelForCausalLM.from_pretrained(
            config.model, dtype=config.dtype, trust_remote_code=config.trust_remote_code, quantization_config=how
        )
    except (ImportError, RuntimeError) as problem:
        raise FusionError(
            f"lora.four_bit: bitsandbytes cannot work here ({_first_line(problem)}); use --lora.four_bit false"
        ) from None
    except (OSError, ValueError) as problem:
        raise FusionError(f"{_role(config)}: no model at {config.model!r} ({_first_line(problem)})") from None
    for layer in model.modules():
        # on CPUs a layer would repack its weights for good the first time it is evaluated; that form has no gradient
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


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
