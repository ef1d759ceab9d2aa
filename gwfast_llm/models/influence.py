"""Whether tokens of a model's input change its outputs at other positions, compared in every layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

# Share of a layer's largest output by which rounding may change it: measured on tiny models of 22 kinds, what should
# not be seen changes at most 2 units in the last place, and what is seen at least 17 (half of the output in float32).
ROUNDING, UNITS = 1e-3, 8


@torch.no_grad()
def reaches(model: Any, one: dict[str, Tensor], two: dict[str, Tensor], columns: slice) -> bool:
    """Whether what differs between two inputs is seen at these columns, in any layer.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        With its weights.
    one, two : dict
        Inputs (1, L) of one shape.
    columns : slice
        Positions that should not notice.

    Notes
    -----
    Cost: two forward passes.  The outputs of all modules are compared, not the logits alone: a state that is carried
    over from one example to the next may be small beside what the embedding adds.
    """
    length = one["input_ids"].shape[1]
    outputs: list[list[Tensor]] = []

    def keep(module: Any, given: Any, found: Any) -> None:
        for value in found if isinstance(found, (tuple, list)) else (found,):
            if isinstance(value, Tensor) and value.is_floating_point() and value.dim() == 3:
                if value.shape[:2] == (1, length):
                    outputs[-1].append(value[:, columns].detach().clone())
                elif value.shape[0] == 1 and value.shape[2] == length:  # of convolutions along the text
                    outputs[-1].append(value[..., columns].detach().clone())

    hooks = [module.register_forward_hook(keep) for module in model.modules()]
    was_training = model.training
    model.eval()
    try:
        for given in (one, two):
            outputs.append([])
            outputs[-1].append(model(**given, use_cache=False).logits[:, columns].detach())
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return any(_differ(a, b) for a, b in zip(*outputs) if a.shape == b.shape)


def _differ(a: Tensor, b: Tensor) -> bool:
    change, size = (a.float() - b.float()).abs().max(), torch.maximum(a.float().abs().max(), b.float().abs().max())
    return bool(change > max(ROUNDING, UNITS * torch.finfo(a.dtype).eps) * size)


def tokens(model: Any, seed: int, count: int) -> Tensor:
    """Tokens (1, count) drawn with a seed, on the model's device."""
    draw = torch.Generator().manual_seed(seed)
    size = model.get_input_embeddings().num_embeddings
    return torch.randint(0, size, (1, count), generator=draw).to(next(model.parameters()).device)


def all_here(parameters: Iterable[Tensor]) -> bool:
    """Whether all weights are on this process."""
    return not any(p.is_meta or not p.numel() for p in parameters)
