"""One batch from beginning to end: plans without a tape, values and bounds with it."""

from __future__ import annotations

from typing import NamedTuple

import torch

from gwfast.kernels.batch.anneal import COLD, anneal, falling
from gwfast.kernels.batch.bounds import Bounds
from gwfast.kernels.batch.problem import Batch, objective, product_loss
from gwfast.kernels.batch.scaling import to_marginals

Tensor = torch.Tensor


class Outcome(NamedTuple):
    """Values (B,), bounds (B,) and plans (B, n, m); None for what was not asked for."""

    annealed: Tensor
    lower: Tensor
    plan: Tensor
    entropic: Tensor | None
    entropic_plan: Tensor | None


def solve(
    C1: Tensor,
    C2: Tensor,
    p: Tensor,
    q: Tensor,
    M: Tensor | None,
    alpha: Tensor,
    epsilon: Tensor | None,
    *,
    relative: bool,
    steps: int,
    symmetric: bool,
    uniform: bool,
    rows: bool,
) -> Outcome:
    """Solve and bound a batch; weights are 0 at absent points, steps run in the precision of `C1`.

    `epsilon` (B,) is a share of the product loss where `relative`, held for `steps` steps; `rows` asks for the bound by
    linear programs.
    """
    p, q = (w.double() / w.double().sum(1, keepdim=True) for w in (p, q))
    here, there = p > 0, q > 0
    dtype = C1.dtype
    C1 = torch.where(here.unsqueeze(2) & here.unsqueeze(1), C1.double(), 0.0)
    C2 = torch.where(there.unsqueeze(2) & there.unsqueeze(1), C2.double(), 0.0)
    if M is not None:
        M = torch.where(here.unsqueeze(2) & there.unsqueeze(1), M.double(), 0.0)
    batch = Batch(C1, C2, p, q, here, there, M, alpha.double(), symmetric, uniform)
    bounds = Bounds(batch)
    entropic_plan = cold = None
    with torch.set_grad_enabled(rows and torch.is_grad_enabled()):
        start = bounds.start()
    with torch.no_grad():
        unit = product_loss(batch)
        plan = to_marginals(anneal(batch, start, unit, falling(unit, COLD * unit, 0), dtype).double(), p, q)
        if epsilon is not None:
            cold = epsilon.double() * unit if relative else epsilon.double()
            near = anneal(batch, start, unit, falling(unit, cold, steps), dtype)
            entropic_plan = to_marginals(near.double(), p, q)
    lower = bounds.sorting()
    if rows:
        lower = torch.maximum(lower, bounds.rows())
    entropic = None
    if entropic_plan is not None and cold is not None:
        entropic = objective(batch, entropic_plan) + cold * _information(entropic_plan, p, q)
    return Outcome(objective(batch, plan), lower, plan, entropic, entropic_plan)


def _information(T: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Relative entropy (B,) of couplings T with respect to the product coupling."""
    ratio = T / torch.where(T > 0, p.unsqueeze(2) * q.unsqueeze(1), 1.0)
    return (T * torch.where(T > 0, ratio, 1.0).log()).sum((1, 2))
