"""A batch of problems: costs whose absent points are zeros, their moments, the objective of a batch of plans."""

from __future__ import annotations

from typing import NamedTuple

import torch

Tensor = torch.Tensor


class Batch(NamedTuple):
    """B problems in float64; a point is absent where its weight is 0.

    Attributes
    ----------
    C1, C2 : tensors (B, n, n) and (B, m, m)
        0 at absent points.
    p, q : tensors (B, n) and (B, m)
        Weights of sum 1.
    here, there : boolean tensors (B, n) and (B, m)
        Which points there are.
    M : tensor (B, n, m) or None
        Feature cost, 0 at absent points.
    alpha : tensor (B,)
        Weight of the structure.
    symmetric : bool
        Whether all costs are.
    uniform : bool
        Whether all points of a space have one weight, known without a look at the values.
    """

    C1: Tensor
    C2: Tensor
    p: Tensor
    q: Tensor
    here: Tensor
    there: Tensor
    M: Tensor | None
    alpha: Tensor
    symmetric: bool
    uniform: bool


class Moments(NamedTuple):
    """Mean (B,), mean square (B,) and row means (B, n) of a batch of costs."""

    total: Tensor
    second: Tensor
    mean: Tensor


def moments(C: Tensor, p: Tensor) -> Moments:
    """Mean, mean square and row means of costs (B, n, n) under weights (B, n)."""
    mean = (C @ p.unsqueeze(2)).squeeze(2)
    second = (((C * C) @ p.unsqueeze(2)).squeeze(2) * p).sum(1)
    return Moments((mean * p).sum(1), second, mean)


def images(C1: Tensor, C2: Tensor, T: Tensor, symmetric: bool) -> Tensor:
    """Minus half the gradient of the square loss at T, less what is constant over couplings."""
    if symmetric:
        return 2 * (C1 @ T @ C2)
    return C1 @ T @ C2.mT + C1.mT @ T @ C2


def structure(batch: Batch, T: Tensor) -> Tensor:
    """Square loss (B,) of couplings T (B, n, m), at least 0.

    Costs are taken off their means first, so that what cancels is as small as it can be.
    """
    m1, m2 = moments(batch.C1, batch.p).total, moments(batch.C2, batch.q).total
    C1, C2 = batch.C1 - m1.reshape(-1, 1, 1), batch.C2 - m2.reshape(-1, 1, 1)
    spread = moments(C1, batch.p).second + moments(C2, batch.q).second
    cross = ((C1 @ T @ C2.mT) * T).sum((1, 2))
    return (spread - 2 * cross + (m1 - m2) ** 2).clamp_min(0.0)


def objective(batch: Batch, T: Tensor) -> Tensor:
    """(1 - alpha) <M, T> + alpha times the square loss (B,) of couplings T (B, n, m)."""
    if batch.M is None:
        return structure(batch, T)
    return (1 - batch.alpha) * (batch.M * T).sum((1, 2)) + batch.alpha * structure(batch, T)


def product_loss(batch: Batch) -> Tensor:
    """The unit (B,) of temperatures: the product coupling's loss about its mean, and the spread of M under it."""
    m1, m2 = moments(batch.C1, batch.p), moments(batch.C2, batch.q)
    loss = (m1.second + m2.second - 2 * m1.total * m2.total).clamp_min(0.0)
    if batch.M is None:
        return loss
    T = batch.p.unsqueeze(2) * batch.q.unsqueeze(1)
    mean = (batch.M * T).sum((1, 2))
    spread = (((batch.M - mean.reshape(-1, 1, 1)) ** 2) * T).sum((1, 2)).sqrt()
    return batch.alpha * loss + (1 - batch.alpha) * spread
