"""``hellinger``: squared Hellinger distance after carrying the source into the pivot's vocabulary along the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gwfast_llm.terms.carried import CarriedTerm
from gwfast_llm.terms.part import Part, sum_items


def hellinger_part(
    log_probs: Tensor, target_probs: Tensor, target_tail: Tensor, mask: Tensor, weight: Tensor | None = None
) -> Part:
    """Squared Hellinger distance at matched positions, sum_v (sqrt p_v - sqrt q_v)^2 = 2 - 2 sum_v sqrt(p_v q_v).

    Parameters
    ----------
    log_probs, target_probs, target_tail, mask, weight
        As in `gwfast_llm.terms.path.kl_part`; what lies outside the kept tokens counts as one cell.

    Returns
    -------
    Part
        Between 0 and 2, one item a position.
    """
    kept = target_probs > 0
    p = torch.where(kept, log_probs, torch.zeros_like(log_probs)).exp() * kept
    overlap = (_root(p) * target_probs.sqrt()).sum(-1)
    rest = (1 - p.sum(-1)).clamp_min(0.0)
    overlap = overlap + _root(rest) * target_tail.clamp_min(0.0).sqrt()
    return sum_items(2 - 2 * overlap, mask, weight)


def _root(x: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0 and not infinite."""
    positive = x > 1e-12
    return torch.where(positive, torch.where(positive, x, torch.ones_like(x)).sqrt(), torch.zeros_like(x))


@dataclass(frozen=True)
class Hellinger(CarriedTerm):
    """Squared Hellinger distance between the carried distribution of a source and the pivot's."""

    name: ClassVar[str] = "hellinger"

    def loss(
        self, log_probs: Tensor, target_probs: Tensor, target_tail: Tensor, mask: Tensor, weight: Tensor | None = None
    ) -> Part:
        """Squared Hellinger distance; see `hellinger_part`."""
        return hellinger_part(log_probs, target_probs, target_tail, mask, weight)
