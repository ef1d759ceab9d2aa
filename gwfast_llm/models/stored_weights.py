"""Weights as they are stored: files, types that need a key, numbers that are not finite."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from gwfast_llm.config import ModelConfig, SourceConfig
from gwfast_llm.system.errors import FusionError

INDEX = "model.safetensors.index.json"
PLAIN = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def role_of(config: ModelConfig) -> str:
    """What a model is in a fusion, for messages."""
    return f"source {config.label}" if isinstance(config, SourceConfig) else "pivot"


def check_stored(role: str, config: ModelConfig) -> None:
    """Refuse weights in a folder whose type needs a quantization_config that is not there."""
    for path in weight_files(Path(config.model)):
        with suppress(SafetensorError, OSError), safe_open(path, "pt") as file:  # damage is said elsewhere
            for name in file.keys():  # noqa: SIM118
                kind = str(file.get_slice(name).get_dtype())
                # masks and positions of old models are whole numbers too, but no weights
                if kind in PLAIN or not (kind.startswith(("F", "I8")) or name.endswith("weight")):
                    continue
                raise FusionError(
                    f"{role}: {name} of {config.model} is stored as {_spelled(kind)}, and its config.json has no "
                    "quantization_config that says how to read it; give the weights in float32, bfloat16 or float16"
                )


def _spelled(kind: str) -> str:
    """Type of a tensor in a safetensors file, as torch spells it."""
    names = {"I": "int", "U": "uint", "F": "float", "C": "complex"}
    found = re.fullmatch(r"([IUFC])(\d.*)", kind)
    return (names[found.group(1)] + found.group(2) if found else kind).lower()


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model in a folder: those of its index, else the one of the usual name, else all."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        named = [folder / name for name in sorted(set(index["weight_map"].values()))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        named = [folder / "model.safetensors"]
    return [path for path in named if path.is_file()] or sorted(folder.glob("*.safetensors"))


def _not_finite(role: str, config: ModelConfig, name: str) -> FusionError:
    return FusionError(
        f"{role}: {name} of {config.model} holds numbers that are not finite (NaN or infinity); its training "
        "diverged or the file is damaged: copy the model again, or give another"
    )


def check_finite(role: str, config: ModelConfig, model: Any) -> None:
    """Refuse a loaded model that holds NaN or infinity.

    Raises
    ------
    FusionError
        Naming the first such weight.

    Notes
    -----
    Cost: one look at every weight.
    """
    for name, weight in model.named_parameters():
        plain = not weight.is_meta and weight.dtype in PLAIN.values()
        if plain and not torch.isfinite(weight.detach()).all():
            raise _not_finite(role, config, name)


def check_numbers(config: ModelConfig) -> None:
    """Refuse a folder whose weights hold NaN or infinity; they are read one after the other.

    Weights of a hub name, and quantised ones, are looked at when they are loaded.

    Raises
    ------
    FusionError
        Naming the first such weight.
    """
    for path in weight_files(Path(config.model)):
        with suppress(SafetensorError, OSError), safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118
                if file.get_slice(name).get_dtype() in PLAIN and not torch.isfinite(file.get_tensor(name)).all():
                    raise _not_finite(role_of(config), config, name)
