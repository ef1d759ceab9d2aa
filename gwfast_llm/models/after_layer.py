"""What a model's own code does to its logits after the output layer: soft caps, scales, excluded tokens.

Configurations name it in many ways, and one name means to divide in one model and to multiply in another; so the code
itself is run, with what comes before it put aside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPast

from gwfast_llm.system.errors import FusionError

Change = Callable[[Tensor], Tensor]


def change_of(model: Any) -> Change | None:
    """Find what a model does to logits after its output layer.

    Parameters
    ----------
    model : transformers.PreTrainedModel or peft.PeftModel
        Causal language model.

    Returns
    -------
    callable or None
        Takes logits (N, V) and returns those the model would return; None for models that do nothing.

    Raises
    ------
    FusionError
        When the model's code does not run without the part that makes hidden states.

    Notes
    -----
    Cost: the code runs once, without the model's layers, on a few rows of V numbers.
    """
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    base, layer = whole.base_model, whole.get_output_embeddings()
    width = whole.config.get_text_config().hidden_size

    def change(logits: Tensor) -> Tensor:
        hidden = logits.new_zeros(1, 1, width)
        token = torch.zeros(1, 1, dtype=torch.long, device=logits.device)
        with _put_aside(base, lambda *_, **__: _Hidden(hidden)), _put_aside(layer, lambda _: logits[None]):
            return whole.forward(input_ids=token, use_cache=False).logits[0]

    weight = layer.weight
    kind = weight.dtype if weight.dtype.is_floating_point else torch.float32  # else in 4 bits
    probe = torch.linspace(-50, 50, 3 * weight.shape[0]).to(weight.device, kind).reshape(3, -1)
    try:
        with torch.no_grad():
            found = change(probe)
    except Exception as problem:
        raise FusionError(
            f"what {type(whole).__name__} does to its logits after the output layer cannot be found out "
            f"({type(problem).__name__} where its code is run without its layers)"
        ) from None
    return None if torch.equal(found, probe) else change


class _Hidden(BaseModelOutputWithPast):
    """Hidden states, and None for whatever else a model looks for (router logits, caches)."""

    def __init__(self, hidden: Tensor):
        super().__init__(last_hidden_state=hidden)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


@contextmanager
def _put_aside(module: Any, stand_in: Callable[..., Any]) -> Iterator[None]:
    """Let a module's forward be another one for a while."""
    own = module.__dict__.get("forward")
    module.forward = stand_in
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own
