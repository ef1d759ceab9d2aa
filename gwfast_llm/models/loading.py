"""Load models and tokenizers, with messages that name the argument and the fix."""

from __future__ import annotations

import functools
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoTokenizer, BitsAndBytesConfig, PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from gwfast_llm.config import ModelConfig, SourceConfig
from gwfast_llm.models.checks import (
    WITHOUT,
    Form,
    check_causal,
    check_no_adapter,
    first_line,
    load_checked,
    settings_of,
)
from gwfast_llm.models.elsewhere import is_elsewhere, tokenizer_folder
from gwfast_llm.models.stored_weights import INDEX, check_finite, check_numbers, role_of
from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.trouble import out_of_memory
from gwfast_llm.text.chosen_template import choose_template


def _check_path(config: ModelConfig) -> None:
    looks_local = config.model.startswith((".", "/", "~")) or config.model.count("/") > 1
    folder = Path(config.model)
    if looks_local and not folder.is_dir():
        raise FusionError(
            f"{role_of(config)}: folder {config.model} does not exist; give a folder with config.json or a hub name"
        )
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise FusionError(
            f"{role_of(config)}: folder {config.model} holds no config.json; give the folder that a model was saved in"
        )


def check_weights(config: ModelConfig) -> None:
    """Look at the configuration and the weight files of a model, without loading them.

    Weights of a hub name are left to the hub; sources that are known from their cache have none here.

    Raises
    ------
    FusionError
        When it is no causal language model, when there are no weights in safetensors, or one is missing, cut short,
        left over or of another shape.
    """
    if is_elsewhere(config):
        return
    _check_files(config)
    missing = functools.partial(_not_found, config, "model")
    found = settings_of(role_of(config), config, missing)
    if Path(config.model).is_dir() and getattr(found, "quantization_config", None) is None:
        with out_of_memory(memory_message(config)):
            load_checked(role_of(config), config, missing, WITHOUT)


def _check_files(config: ModelConfig) -> None:
    """Look at the weight files of a model in a folder."""
    check_no_adapter(role_of(config), config)
    _check_path(config)
    folder = Path(config.model)
    if not folder.is_dir():
        return
    there = sorted(folder.glob("*.safetensors"))
    if not there:
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        found = f"only {pickles[0]}, a pickle, which can run code and is never loaded" if pickles else "no weights"
        raise FusionError(
            f"{role_of(config)}: {config.model} holds {found}; give a folder with .safetensors files (a pickle of your "
            "own is converted by loading and saving it with transformers)"
        )
    if (folder / INDEX).is_file():
        needed = _named_in_index(config, folder / INDEX)
        missing = sorted(needed - {path.name for path in there})
        if missing:
            raise FusionError(f"{role_of(config)}: {config.model} lacks {missing[0]}; copy or download the model again")
    for path in there:
        try:
            with safe_open(path, "pt"):
                pass
        except (SafetensorError, OSError) as problem:
            raise FusionError(
                f"{role_of(config)}: {path} is damaged or cut short ({first_line(problem)}); copy or download it again"
            ) from None


def _named_in_index(config: ModelConfig, path: Path) -> set[str]:
    try:
        found = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
        if not all(isinstance(name, str) for name in found):
            raise ValueError
        return found
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        raise FusionError(f"{role_of(config)}: {path} is damaged; copy or download the model again") from None


def _not_found(config: ModelConfig, what: str, problem: Exception) -> FusionError:
    where = "" if Path(config.model).is_dir() else ", neither here nor on a hub that can be reached"
    return FusionError(
        f"{role_of(config)}: no {what} at {config.model!r}{where} ({first_line(problem)}); give a folder with "
        "config.json or the name of a model on the hub"
    )


def memory_message(config: ModelConfig) -> str:
    """What to do when memory runs out while a model is loaded."""
    cached = isinstance(config, SourceConfig) and not config.cache
    alone = "; or cache it alone first (python -m gwfast_llm.cache)" if cached else ""
    half = "" if config.dtype in ("bfloat16", "float16") else "dtype bfloat16 or "
    return (
        f"{role_of(config)}: out of memory while its weights are loaded; use {half}a smaller model, or end what else "
        f"uses the device{alone}"
    )


def load_tokenizer(config: ModelConfig) -> Any:
    """Load the fast tokenizer of a model.

    Raises
    ------
    FusionError
        When it cannot be found or reports no offsets.
    """
    kept, choose = tokenizer_folder(config), True
    if kept is not None:
        config, choose = ModelConfig(str(kept)), False  # the template in it is the one that was chosen
    elif not is_elsewhere(config):
        _check_path(config)
    try:
        # A tokenizer saved as generic must be read as generic: for some model types (qwen2) AutoTokenizer would put
        # the family's own splitting rules in the place of those in tokenizer.json, and the ids would change.
        declared = get_tokenizer_config(config.model).get("tokenizer_class")
        if declared in ("TokenizersBackend", "PreTrainedTokenizerFast"):
            tokenizer = PreTrainedTokenizerFast.from_pretrained(config.model)
        else:
            tokenizer = AutoTokenizer.from_pretrained(config.model, trust_remote_code=config.trust_remote_code)
    except OSError as problem:
        raise _not_found(config, "tokenizer", problem) from None
    except Exception as problem:  # the libraries raise many kinds, plain Exception among them
        if "trust_remote_code" in str(problem):
            raise FusionError(
                f"{role_of(config)}: the tokenizer of {config.model} needs code of its own; read that code, then set "
                "trust_remote_code of this model to true, or give another model"
            ) from None
        raise FusionError(
            f"{role_of(config)}: the tokenizer of {config.model} cannot be read ({first_line(problem)}); give a folder "
            "with a fast tokenizer (tokenizer.json)"
        ) from None
    if not tokenizer.is_fast:
        raise FusionError(
            f"{role_of(config)}: the tokenizer of {config.model!r} reports no character offsets; "
            "a fast tokenizer (tokenizer.json) is needed to align it with another"
        )
    if choose:
        choose_template(tokenizer, role_of(config), config.chat_template, config.chat_template_kwargs)
    return tokenizer


def load_model(config: ModelConfig) -> Any:
    """Load a causal language model from safetensors files; pickles are never read.

    Raises
    ------
    FusionError
        When it cannot be found, is damaged, holds NaN, is not a causal language model, or memory runs out.
    """
    _check_files(config)
    role = role_of(config)
    with out_of_memory(memory_message(config)):
        model = load_checked(role, config, functools.partial(_not_found, config, "model"), Form(dtype=config.dtype))
        check_finite(role, config, model)
        check_causal(role, config, model)
    _untie_as_loaded(model)
    return model


def _untie_as_loaded(model: Any) -> None:
    """Let the configuration say what the file held: a head of its own stays one when the model is saved."""
    settings = model.config.get_text_config()
    head, first = model.get_output_embeddings(), model.get_input_embeddings()
    tied = getattr(settings, "tie_word_embeddings", False)
    if head is None or first is None or head.weight is first.weight or not tied:
        return
    settings.tie_word_embeddings = model.config.tie_word_embeddings = False


def load_to_train(config: ModelConfig, adapters: bool) -> tuple[Any, torch.dtype]:
    """Load the pivot; weights that are trained themselves are held in float32.

    An update of a bfloat16 weight is rounded to 8 binary digits: below 1/256 of the weight it is lost.

    Parameters
    ----------
    config : ModelConfig
        The pivot.
    adapters : bool
        Whether only adapters are trained; the weights then stay as they are.

    Returns
    -------
    transformers.PreTrainedModel
    torch.dtype
        The type in which it came.
    """
    model = load_model(config)
    came = model.dtype
    if not adapters and came != torch.float32:
        with out_of_memory(memory_message(config)):
            (_emptied(model) if filled_by_another() else model).float()
    return model, came


def filled_by_another() -> bool:
    """Whether FSDP sends the weights of the first process to this one, so that it need not hold any before."""
    said = (os.environ.get(name, "").lower() for name in ("ACCELERATE_USE_FSDP", "FSDP_CPU_RAM_EFFICIENT_LOADING"))
    return all(word == "true" for word in said) and int(os.environ.get("RANK", "0")) > 0


def _emptied(model: Any) -> Any:
    """The model without the contents of its weights; buffers stay, as they are not sent."""
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            # one number in the shape of all of them: accelerate identifies weights by their places in memory
            one = torch.zeros((), dtype=torch.float32).expand_as(weight)
            setattr(module, name, torch.nn.Parameter(one, weight.requires_grad))
    model.tie_weights()
    return model


def held_note(config: ModelConfig, came: torch.dtype) -> str:
    """Say that a pivot that came in half precision is held in float32; empty where it did not."""
    if came == torch.float32:
        return ""
    own = str(came).removeprefix("torch.")
    saved = (
        f"rounded to {own} at the end, as pivot.dtype says"
        if config.dtype != "auto"
        else f"saved in float32 (--pivot.dtype {own} rounds it at the end)"
    )
    return (
        f"pivot: all of its {own} weights are trained, so they are held in float32, since most updates would round to "
        f"nothing in {own}; the result is {saved}"
    )


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

    _check_files(config)
    check_numbers(config)
    how = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
    role = role_of(config)
    try:
        model = load_checked(role, config, functools.partial(_not_found, config, "model"), Form(config.dtype, how))
    except (ImportError, RuntimeError) as problem:
        raise FusionError(
            f"lora.four_bit: bitsandbytes cannot work here ({first_line(problem)}); use --lora.four_bit false"
        ) from None
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
