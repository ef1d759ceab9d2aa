"""Lengths of the gradients of the terms beside that of the cross-entropy, on the first batch of training.

Measured is the length of each part's gradient with respect to the trained weights, times the part's weight, over that
of the cross-entropy.  The forward pass is that of the training step itself, so no validation data is needed.  Lengths
with respect to the logits would not do: a loss that pushes all logits one way is short there and long in the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gwfast_llm.config import CROSS_ENTROPY
from gwfast_llm.terms.objective import Objective
from gwfast_llm.terms.part import Part
from gwfast_llm.terms.table import TERMS

TOO_LONG = 10.0  # times the cross-entropy's
KEY = "pull"


@dataclass(frozen=True)
class Pull:
    """How hard a part pulls.

    Attributes
    ----------
    part : str
        Its name.
    weight : float
        Its weight in the objective.
    ratio : float
        Weight times length of its gradient, over that of the cross-entropy.
    scaled : bool
        Whether the options already do what the term's remedy says.
    """

    part: str
    weight: float
    ratio: float
    scaled: bool = False

    @property
    def sentence(self) -> str:
        """What to say about it; empty where it does not pull too hard."""
        if not self.ratio > TOO_LONG:
            return ""
        lower = f"lower objective.{self.part} (a preset fixes it, custom does not)"
        remedy = TERMS[self.part].remedy if self.part in TERMS and not self.scaled else ""
        fix = f"{remedy}, or {lower}" if remedy else lower
        return (
            f"warning: {self.weight:g} x {self.part} pulls {self.ratio:.0f} times as hard as the cross-entropy and "
            f"outweighs it (lengths of the gradients of the weights on the first batch of training); {fix}"
        )

    def record(self) -> dict[str, Any]:
        """As a row of the log history."""
        return {"step": 0, "part": self.part, "weight": self.weight, KEY: self.ratio, "scaled": self.scaled}


def pulls_of(history: Sequence[dict[str, Any]]) -> list[Pull]:
    """What was measured, from the log history of a run."""
    return [Pull(row["part"], row["weight"], row[KEY], row["scaled"]) for row in history if KEY in row]


def lengths(values: Sequence[Tensor], weights: Sequence[Tensor]) -> list[float]:
    """Length of the gradient of every value with respect to the trained weights; the graph stays whole.

    Notes
    -----
    Cost: one backward pass a value, and memory for one gradient.
    """
    found = []
    for value in values:
        if not value.requires_grad:
            found.append(0.0)
            continue
        own = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
        squares = [torch.linalg.vector_norm(g, dtype=torch.float32).square() for g in own if g is not None]
        found.append(float(torch.stack(squares).sum().sqrt()) if squares else 0.0)
    return found


def measured_pulls(
    objective: Objective, parts: Sequence[Part], cross_entropy: Part, weights: Sequence[Tensor]
) -> list[Pull]:
    """Measure how hard every term pulls beside the cross-entropy.

    Parameters
    ----------
    objective : Objective
        The terms.
    parts : sequence of Part
        Their values on a batch, as `Objective.values` gives them.
    cross_entropy : Part
        The cross-entropy on the same batch.
    weights : sequence of Tensor
        Trained weights.

    Returns
    -------
    list of Pull
        One a term but the cross-entropy; none where the cross-entropy has no gradient.
    """
    others = [own for own in objective.terms if own.term.name != CROSS_ENTROPY]
    totals: dict[str, Tensor] = {}
    for name, part in zip(objective.names, parts, strict=True):
        totals[name] = totals[name] + part.mean if name in totals else part.mean
    unit, *found = lengths([cross_entropy.mean, *(totals[own.term.name] for own in others)], weights)
    unit *= {own.term.name: own.weight for own in objective.terms}.get(CROSS_ENTROPY, 0.0) or 1.0
    if not unit > 0:
        return []
    return [
        Pull(own.term.name, own.weight, own.weight * length / unit, own.term.scaled)
        for own, length in zip(others, found, strict=True)
    ]
