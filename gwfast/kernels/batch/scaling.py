"""Sinkhorn scalings of a batch of costs, and the way from near couplings to exact ones."""

from __future__ import annotations

import torch

Tensor = torch.Tensor
CLOSED = -1e30  # potential of absent columns


def scalings(cost: Tensor, p: Tensor, q: Tensor, g: Tensor, epsilon: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Scale kernels (B, n, m) from column potentials g (B, m) `count` times; returns plans and new potentials.

    Each kernel is a softmax over its rows, so that no number leaves its range; rows of a plan are exact to rounding.
    """
    eps = epsilon.unsqueeze(1)
    tiny = 1e-34 if cost.dtype == torch.float32 else 1e-280
    K = torch.softmax((g.unsqueeze(1) - cost) / eps.unsqueeze(2), dim=2) * p.unsqueeze(2)
    columns = K.sum(1)
    a, b = torch.ones_like(p), torch.ones_like(q)
    for _ in range(count):
        b = q / columns.clamp_min(tiny)
        a = p / torch.bmm(K, b.unsqueeze(2)).squeeze(2).clamp_min(tiny)
        columns = torch.bmm(a.unsqueeze(1), K).squeeze(1)
    g = torch.where(q > 0, g + eps * b.clamp_min(tiny).log(), CLOSED)
    return K * a.unsqueeze(2) * b.unsqueeze(1), g


def opened(q: Tensor) -> Tensor:
    """First column potentials (B, m): 0, and closed where there is no point."""
    return torch.where(q > 0, torch.zeros_like(q), CLOSED)


def to_marginals(T: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Couplings near the matrices T (B, n, m): shrink what is too heavy, spread the rest; Altschuler et al. 2017."""
    rows, columns = T.sum(2), T.sum(1)
    T = T * torch.where(rows > p, p / torch.where(rows > 0, rows, 1.0), 1.0).unsqueeze(2)
    columns = T.sum(1)
    T = T * torch.where(columns > q, q / torch.where(columns > 0, columns, 1.0), 1.0).unsqueeze(1)
    left, right = (p - T.sum(2)).clamp_min(0.0), (q - T.sum(1)).clamp_min(0.0)
    r, c = left.sum(1, keepdim=True), right.sum(1, keepdim=True)
    # what is missing in rows and in columns differs by rounding: that is spread too
    left = left + (c - r).clamp_min(0.0) * p
    right = right + (r - c).clamp_min(0.0) * q
    most = torch.maximum(r, c)
    return T + left.unsqueeze(2) * (right / torch.where(most > 0, most, 1.0)).unsqueeze(1)
