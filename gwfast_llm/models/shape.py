"""Sizes of a model, counted from its configuration; no weights are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from gwfast_llm.config import LoraConfig, ModelConfig
from gwfast_llm.models.checks import quiet_loading
from gwfast_llm.system.errors import FusionError


@dataclass(frozen=True)
class Shape:
    """Sizes of a causal language model.

    Attributes
    ----------
    weights : int
        Number of weights, shared ones once.
    outer : int
        Those of the embedding and of the output layer.
    linear : int
        Those of the linear layers, without the output layer.
    widths : int
        Inputs plus outputs, summed over those linear layers.
    adapted : int
        The same over the linear layers that get adapters: rank times this is the number of the adapters' weights.
    vocabulary, hidden, layers : int
        Rows of the output layer, width of a hidden state, number of layers.
    dtype : str
        Type in which the weights come.
    experts : bool
        Whether a token uses a part of the weights only.
    """

    weights: int
    outer: int
    linear: int
    widths: int
    adapted: int
    vocabulary: int
    hidden: int
    layers: int
    dtype: str
    experts: bool

    @property
    def layer(self) -> float:
        """Weights of one layer."""
        return (self.weights - self.outer) / self.layers


def shape_of(model: ModelConfig, lora: LoraConfig | None = None) -> Shape:
    """Count the sizes of a model.

    Parameters
    ----------
    model : ModelConfig
        The model.
    lora : LoraConfig, optional
        Says which layers get adapters; all linear ones by default.

    Raises
    ------
    FusionError
        When there is no model of that name, or its architecture is not known.
    """
    try:
        config = AutoConfig.from_pretrained(model.model, trust_remote_code=model.trust_remote_code)
        with quiet_loading(bars=False), torch.device("meta"):
            made: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=model.trust_remote_code)
    except (OSError, ValueError) as problem:
        first = (str(problem).strip().splitlines() or ["unknown reason"])[0]
        raise FusionError(f"no model at {model.model!r} ({first[:160]})") from None
    own = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
    text = config.get_text_config()
    first, last = made.get_input_embeddings().weight, made.get_output_embeddings().weight
    inner = [(name, p) for name, p in made.named_parameters() if p is not first and p is not last]
    linear = [(name.split(".")[-2], p) for name, p in inner if p.dim() == 2 and p.shape[1] > 1 and ".wpe." not in name]
    targets = None if lora is None or lora.targets == "all-linear" else {t.strip() for t in lora.targets.split(",")}
    return Shape(
        weights=sum(p.numel() for p in made.parameters()),
        outer=first.numel() + (0 if first is last else last.numel()),
        linear=sum(p.numel() for _, p in linear),
        widths=sum(sum(p.shape) for _, p in linear),
        adapted=sum(sum(p.shape) for name, p in linear if targets is None or name in targets),
        vocabulary=last.shape[0],
        hidden=first.shape[1],
        layers=max(1, int(getattr(text, "num_hidden_layers", 1))),
        dtype=own if model.dtype == "auto" else model.dtype,
        experts=any(p.dim() == 3 and p.shape[0] > 1 and p.shape[1] > 1 for _, p in inner),
    )


def spell_count(number: float) -> str:
    """Write a number of weights or tokens for people.

    Examples
    --------
    >>> spell_count(812), spell_count(3085938688)
    ('812', '3.09 G')
    """
    for unit in ("", " k", " M"):
        if number < 999.5:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g} G"
