"""The value of a term on a batch: a sum over items, and their number.

Sum and number are kept apart, so that a mean over an accumulated or distributed batch is the mean over all its items
and not a mean of means.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Part:
    """A loss as the sum over its items and their number; the loss is ``total / count``.

    Attributes
    ----------
    total : Tensor ()
        Sum over items, in nats or as the loss says; differentiable.
    count : Tensor ()
        Number of items (weighted), not differentiable.
    """

    total: Tensor
    count: Tensor

    @property
    def mean(self) -> Tensor:
        """The loss; 0 where there are no items."""
        return self.total / self.count.clamp_min(1e-9)


def sum_items(value: Tensor, mask: Tensor, weight: Tensor | None) -> Part:
    """Sum the items that count.

    Parameters
    ----------
    value : Tensor
        Value of every item.
    mask : Tensor of bool
        Items that count.
    weight : Tensor broadcastable to `value`, optional
        Weight of each item in the sum; the number stays that of the items.

    Returns
    -------
    Part
    """
    value = torch.where(mask, value, torch.zeros_like(value))
    if weight is not None:
        value = value * weight
    return Part(value.sum(), mask.sum().to(value.dtype))


def widen(values: Tensor, width: int) -> Tensor:
    """Fill the last axis up with zeros to `width`."""
    return F.pad(values, (0, width - values.shape[-1]))
