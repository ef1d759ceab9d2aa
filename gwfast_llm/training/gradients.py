"""The gradient of one term of the objective over several batches, for the diagnosis and the limits of weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gwfast_llm.models.output_layer import ChunkedHead
from gwfast_llm.student.forward import run_student
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.objective import Objective


def gradient_of(
    model: Any,
    batches: Sequence[Batch],
    weights: Sequence[Tensor],
    objective: Objective,
    head: ChunkedHead | None,
    counts: Tensor | None = None,
    done: Callable[[], object] | None = None,
) -> list[Tensor]:
    """Gradient of an objective of one term over all batches, summed over source slots; its weight is left out.

    Parameters
    ----------
    model : callable
        The pivot.
    batches : sequence of Batch
        Small enough for one backward pass each.
    weights : sequence of Tensor
        Trained weights.
    objective : Objective
        Of one term.
    head : ChunkedHead or None
        Works the output layer in chunks.
    counts : Tensor, optional
        Items of every slot over which the mean is taken; those of the batches by default.
    done : callable, optional
        Called after every batch.

    Notes
    -----
    Cost: one forward and backward pass a batch, and memory for two gradients.
    """
    device = next(model.parameters()).device
    if counts is None:
        counts = torch.stack([objective.counts(batch) for batch in batches]).sum(0)
    counts = counts.clamp_min(1).to(device)
    found = [torch.zeros_like(w) for w in weights]
    for batch in batches:
        here = batch.to(device)
        student, _ = run_student(model, here, objective, head)
        with torch.autocast(device.type, enabled=False):  # losses are added up in float32, as in training
            parts = objective.values(student, here)
        total = torch.stack([part.total.float() / count for part, count in zip(parts, counts)]).sum()
        if total.requires_grad:  # else the term has no item in this batch
            for kept, own in zip(found, torch.autograd.grad(total, weights, allow_unused=True)):
                if own is not None:
                    kept += own
        if done is not None:
            done()
    return found


def length_of(gradient: Sequence[Tensor]) -> float:
    """Euclidean length of a gradient."""
    squares = [torch.linalg.vector_norm(g, dtype=torch.float32).square() for g in gradient]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0
