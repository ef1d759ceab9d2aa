"""A check that no example of a packed row sees another one."""

from __future__ import annotations

from typing import Any

import torch

from gwfast_llm.models.influence import all_here, reaches, tokens
from gwfast_llm.system.errors import FusionError

PROBE = 12  # tokens of each of the two examples on which a model is checked


LEFT = 0.1  # share of the influence of one example on the other that rounding may leave


@torch.no_grad()
def check_separate(model: Any) -> None:
    """Check on two short examples in one row that the model keeps them apart.

    transformers separates packed examples where positions start anew, for the models whose masks it makes.  Others
    (recurrent ones, ones with code of their own) may read on across the border without a word.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The pivot, with its weights.

    Raises
    ------
    FusionError
        When the second example's logits are not those that it has alone, or the weights are not here to compute them.

    Notes
    -----
    Cost: five forward passes of at most 24 tokens.  Other tokens before the second example must change nothing in it,
    in any layer: the state of a recurrent layer is small beside what attention adds to the logits.
    """
    if not all_here(model.parameters()):
        raise FusionError(
            "train.packing: the weights are not all on this process, so the model cannot be checked; set "
            "zero3_init_flag and fsdp_cpu_ram_efficient_loading to false, or use --train.packing false"
        )
    was_training = model.training
    model.eval()
    both = tokens(model, 0, 2 * PROBE)
    anew = torch.arange(PROBE, device=both.device).repeat(2)[None]
    other = torch.cat([tokens(model, 1, PROBE), both[:, PROBE:]], 1)
    one, two = ({"input_ids": ids, "position_ids": anew} for ids in (both, other))
    try:
        crosses = reaches(model, one, two, slice(PROBE, None))
        packed = model(**one, use_cache=False).logits[:, PROBE:].float()
    except TypeError:
        raise FusionError(
            "train.packing: this model takes no positions, so packed examples cannot be kept separate; "
            "use --train.packing false"
        ) from None
    alone = model(input_ids=both[:, PROBE:], use_cache=False).logits.float()
    joined = model(input_ids=both, use_cache=False).logits[:, PROBE:].float()
    model.train(was_training)
    if crosses or not (packed - alone).abs().max() <= LEFT * (joined - alone).abs().max():
        raise FusionError(
            "train.packing: in this model an example sees those packed before it; use --train.packing false"
        )
