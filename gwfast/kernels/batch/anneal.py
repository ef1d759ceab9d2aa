"""Annealed and entropic plans of a batch: a fixed number of steps for all problems together."""

from __future__ import annotations

import torch

from gwfast.kernels.batch.problem import Batch, images
from gwfast.kernels.batch.scaling import opened, scalings

Tensor = torch.Tensor
HOT, COLD, STEPS, SCALINGS = 0.4, 0.03, 16, 8


def falling(unit: Tensor, cold: Tensor, hold: int) -> list[Tensor]:
    """Temperatures (B,) of the steps, in shares of `unit`: from `HOT`, or `cold` where that is more, then held."""
    last = torch.where(unit > 0, cold / torch.where(unit > 0, unit, 1.0), 1.0)
    hot = last.clamp_min(HOT)
    ratio = (last / hot) ** (1 / (STEPS - 1))
    return [hot * ratio**k for k in range(STEPS)] + [last] * hold


def anneal(batch: Batch, start: Tensor, unit: Tensor, shares: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Mirror descent over couplings from the linear cost `start` (B, n, m), in `dtype`; returns near couplings.

    Costs are taken in units of `unit` (B,), so that temperatures are shares of it.
    """
    scale = torch.where(unit > 0, 1 / unit, 0.0).reshape(-1, 1, 1)
    # the square root on both sides, so that no product leaves single precision
    C1, C2 = (batch.C1 * scale.sqrt()).to(dtype), (batch.C2 * scale.sqrt()).to(dtype)
    p, q, alpha = batch.p.to(dtype), batch.q.to(dtype), batch.alpha.to(dtype).reshape(-1, 1, 1)
    linear = None if batch.M is None else (1 - alpha) * (batch.M * scale).to(dtype)
    cost, g = (start * scale).to(dtype), opened(q)
    T = p.unsqueeze(2) * q.unsqueeze(1)
    for share in shares:
        T, g = scalings(cost, p, q, g, share.to(dtype), SCALINGS)
        cost = -2 * alpha * images(C1, C2, T, batch.symmetric)
        if linear is not None:
            cost = cost + linear
    return T
