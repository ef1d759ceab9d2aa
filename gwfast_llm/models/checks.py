"""Whether a folder holds a causal language model with every weight trained: found out before any work."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from logging import CRITICAL
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AutoHfQuantizer
from transformers.utils import logging

from gwfast_llm.config import ModelConfig
from gwfast_llm.models.influence import all_here, reaches, tokens
from gwfast_llm.models.stored_weights import check_stored
from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.trouble import is_out_of_memory
from gwfast_llm.system.values import shown

ADAPTER = "adapter_config.json"
WANTED = "give a causal (decoder-only) language model with its output layer"
PROBE = 8  # tokens on which a model is looked at
# heads that judge or classify; their presence says that the language model was not what was trained
_HEADS = re.compile(
    r"(^|\.)(score|classifier|classification_head|v_head|value_head|reward\w*|rm_head|qa_outputs|regression_head|cls)\."
)


def first_line(problem: BaseException) -> str:
    """First line of an error, short."""
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200]


@contextmanager
def quiet_loading(bars: bool) -> Iterator[None]:
    """Keep transformers' own reports on weights back; what is wrong with them is said in one line."""
    level, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(CRITICAL)
    if not bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def check_no_adapter(role: str, config: ModelConfig) -> None:
    """Refuse a folder of adapters, naming the model they belong to."""
    path = Path(config.model) / ADAPTER
    if not path.is_file():
        return
    try:
        base = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError, RecursionError):
        base = None
    raise FusionError(
        f"{role}: {config.model} holds an adapter{f' for {base!r}' if base else ''}, not a whole model; merge it into "
        "its base (peft's merge_and_unload, then save_pretrained) and give that folder"
    )


def settings_of(role: str, config: ModelConfig, missing: Callable[[Exception], FusionError]) -> Any:
    """Configuration of a model, once it is known to be of a causal language model.

    Parameters
    ----------
    role : str
        The model in messages.
    config : ModelConfig
        Where it is.
    missing : callable
        Makes the error of a model that is not there.

    Raises
    ------
    FusionError
        One line that says what was found instead.
    """
    try:
        found = AutoConfig.from_pretrained(config.model, trust_remote_code=config.trust_remote_code)
    except OSError as problem:
        raise missing(problem) from None
    except Exception as problem:
        raise FusionError(_unreadable(role, config, problem)) from None
    kind, saved, mapped = found.model_type, found.architectures or [], getattr(found, "auto_map", None) or {}
    for name, value, wanted, good in (
        ("architectures", saved, "a list of names of classes", _are_texts(saved)),
        ("auto_map", mapped, "a record of classes and where they are", isinstance(mapped, Mapping)),
    ):
        if not good:
            raise FusionError(
                f"{role}: {name} in config.json of {config.model} is {shown(value)}; expected {wanted}: copy "
                "the model again"
            )
    what = f"{role}: {config.model} is a {kind} model{f' saved as {saved[0]}' if saved else ''}"
    if getattr(found, "is_encoder_decoder", False):
        raise FusionError(f"{what}, an encoder-decoder; {WANTED}")
    own = {str(name).rpartition(".")[2] for name in mapped.values()}
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not own:
        raise FusionError(f"{what}, of which transformers has no causal language model; {WANTED}")
    known = own | {name for names in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values() for name in _each(names)}
    if saved and not any(name in known or name.endswith(("ForCausalLM", "LMHeadModel")) for name in saved):
        raise FusionError(f"{what}, whose output layer is not that of a language model; {WANTED}")
    _check_quantisation(role, config, found)
    if _quantisation(found) is None:
        check_stored(role, config)
    return found


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)


def _each(names: Any) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _quantisation(settings: Any) -> str | None:
    found = getattr(settings, "quantization_config", None)
    if found is None:
        return None
    method = found.get("quant_method") if isinstance(found, Mapping) else getattr(found, "quant_method", None)
    return str(getattr(method, "value", method))


def _check_quantisation(role: str, config: ModelConfig, settings: Any) -> None:
    method = _quantisation(settings)
    if method is None:
        return
    if method not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise FusionError(
            f"{role}: the weights of {config.model} are quantised by {method!r}, which transformers does not know; "
            "give them unquantised"
        )
    try:
        AutoHfQuantizer.from_config(settings.quantization_config, pre_quantized=True).validate_environment()
    except ImportError as problem:
        raise FusionError(
            f"{role}: the weights of {config.model} are quantised by {method!r}, which needs a library that is not "
            f"installed ({first_line(problem)}); install it or give them unquantised"
        ) from None
    except Exception:
        return  # what else is amiss is said where they are loaded


def _unreadable(role: str, config: ModelConfig, problem: Exception) -> str:
    said = str(problem)
    if "trust_remote_code" in said:
        return (
            f"{role}: {config.model} needs code of its own to be loaded; read that code, then set trust_remote_code of "
            "this model to true, or give another model"
        )
    kind = re.search(r"model type `([^`]*)`", said)
    if kind:
        return (
            f"{role}: {config.model} is of type {kind.group(1)!r}, which the installed transformers does not know; "
            "update transformers, or give another model"
        )
    return f"{role}: config.json of {config.model} cannot be used ({_last_line(problem)}); {WANTED}"


def _last_line(problem: Exception) -> str:
    lines = [line.strip() for line in str(problem).strip().splitlines() if line.strip()]
    return f"{type(problem).__name__}: {lines[-1][:200]}" if lines else type(problem).__name__


@dataclass(frozen=True)
class Form:
    """How weights are loaded.

    Attributes
    ----------
    dtype : str
        Type, or `auto`.
    quantised : transformers.BitsAndBytesConfig or None
        How they are quantised on the way.
    device : str or None
        ``meta`` for a model without the contents of its weights.
    """

    dtype: str = "auto"
    quantised: Any = None
    device: str | None = None


WITHOUT = Form(device="meta")


def load_checked(role: str, config: ModelConfig, missing: Callable[[Exception], FusionError], form: Form) -> Any:
    """Load a model and refuse it where a weight is missing, of another shape, or left over.

    Parameters
    ----------
    role, config, missing
        As in `settings_of`.
    form : Form
        How the weights are loaded.

    Raises
    ------
    FusionError
        One line that says what was found.
    ImportError, RuntimeError
        As they are where weights are quantised on the way.
    """
    settings_of(role, config, missing)
    try:
        with quiet_loading(bars=form.device is None):
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                config.model,
                dtype=form.dtype,
                trust_remote_code=config.trust_remote_code,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # refused below, by name
                output_loading_info=True,
                device_map=form.device,
                quantization_config=form.quantised,
            )
    except OSError as problem:
        raise missing(problem) from None
    except ImportError as problem:
        if form.quantised is not None:
            raise
        raise FusionError(
            f"{role}: {config.model} needs a library that is not installed ({first_line(problem)}); install it or give "
            "another model"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as problem:
        raise FusionError(_unreadable(role, config, problem)) from None
    except RuntimeError as problem:
        if form.quantised is not None or is_out_of_memory(problem):
            raise
        raise FusionError(_unreadable(role, config, problem)) from None
    model, report = loaded
    if getattr(model, "_hf_peft_config_loaded", False):
        raise FusionError(f"{role}: {config.model} is an adapter, not a whole model; merge it into its base first")
    _check_report(role, config, model, report)
    return model


def _check_report(role: str, config: ModelConfig, model: Any, report: Mapping[str, Any]) -> None:
    lacking = sorted(report.get("missing_keys") or ())
    left_over = sorted(report.get("unexpected_keys") or ())
    misfits: list[Any] = sorted(report.get("mismatched_keys") or ())
    heads = [name for name in left_over if _HEADS.search(name)]
    judge = f"; it holds {heads[0]}, as classifiers and reward models do" if heads else ""
    if lacking:
        head = _name_of_head(model)
        if head in lacking and len(lacking) <= 2:
            raise FusionError(
                f"{role}: {config.model} has no trained output layer ({head} is missing and would be random){judge}; "
                f"{WANTED}"
            )
        there = f"; it holds {left_over[0]} instead" if left_over and not heads else judge
        raise FusionError(
            f"{role}: {config.model} lacks {len(lacking)} weights that its config.json asks for, which would be "
            f"random; the first is {lacking[0]}{there}; give the folder that config and weights were saved in together"
        )
    if misfits:
        name, there, asked = misfits[0]
        raise FusionError(
            f"{role}: {name} of {config.model} has shape {tuple(there)}, its config.json asks for {tuple(asked)}; "
            "give the folder that config and weights were saved in together"
        )
    if heads:
        raise FusionError(f"{role}: {config.model} is no plain language model{judge}; {WANTED}")
    own = {_unnumbered(name) for name in model.state_dict()}
    lists = {name: len(part) for name, part in model.named_modules() if isinstance(part, torch.nn.ModuleList)}
    further = [name for name in left_over if _unnumbered(name) in own or _is_beyond(name, lists)]
    if further:
        raise FusionError(
            f"{role}: {config.model} holds {len(further)} weights more than its config.json asks for, the first is "
            f"{further[0]}; give the folder that config and weights were saved in together"
        )


def _is_beyond(weight: str, lists: Mapping[str, int]) -> bool:
    """Whether a weight belongs to a layer that a model's lists of layers would hold if they were longer."""
    for number in re.finditer(r"\.(\d+)\.", weight):
        before = weight[: number.start()]
        held = [size for name, size in lists.items() if name == before or name.endswith(f".{before}")]
        if held and int(number.group(1)) >= max(held):
            return True
    return False


def _unnumbered(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def _name_of_head(model: Any) -> str:
    layer = model.get_output_embeddings()
    return next((f"{name}.weight" for name, module in model.named_modules() if module is layer), "")


def check_causal(role: str, config: ModelConfig, model: Any) -> None:
    """Refuse a model that reads ahead, as encoders do.

    Parameters
    ----------
    role, config
        As in `settings_of`.
    model : transformers.PreTrainedModel
        Loaded; where its weights are not all here nothing is checked.

    Notes
    -----
    Cost: two forward passes of 8 tokens.
    """
    if not all_here(model.parameters()):
        return
    one, other = tokens(model, 0, PROBE), tokens(model, 1, PROBE)
    two = torch.cat([one[:, :-1], other[:, -1:]], 1)
    try:
        ahead = reaches(model, {"input_ids": one}, {"input_ids": two}, slice(0, PROBE - 1))
    except Exception as problem:
        if is_out_of_memory(problem):
            raise
        return  # said where the model is used
    if ahead:
        raise FusionError(
            f"{role}: {config.model} reads ahead: what it says of a token depends on later ones, as in encoders; "
            + WANTED
        )
