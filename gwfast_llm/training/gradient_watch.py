"""Lengths of the gradients of the terms beside that of the cross-entropy, on the first batches of training.

A term that says so has its weight lowered by what is found, so that it does not pull harder than the cross-entropy;
of the others it is said where they do.

Measured is the length of each part's gradient with respect to the trained weights, times the part's weight, over that
of the cross-entropy.  The forward pass is that of the training step itself, so no validation data is needed.  Lengths
with respect to the logits would not do: a loss that pushes all logits one way is short there and long in the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gwfast_llm.config import CROSS_ENTROPY
from gwfast_llm.models.output_layer import ChunkedHead
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.objective import Objective
from gwfast_llm.terms.part import Part
from gwfast_llm.terms.table import TERMS
from gwfast_llm.training.gradients import gradient_of, length_of

TOO_LONG = 10.0  # times the cross-entropy's
FIRST = 4  # steps on whose batches the pull of a limited term is measured
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
    most : float
        Most that it may pull; 0 where its weight stays as given.
    step : int
        Steps that were done when it was measured.
    """

    part: str
    weight: float
    ratio: float
    scaled: bool = False
    most: float = 0.0
    step: int = 0

    @property
    def sentence(self) -> str:
        """What to say about it; empty where it does not pull too hard."""
        if not self.ratio > TOO_LONG or self.most:
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
        return {
            "step": self.step,
            "part": self.part,
            "weight": self.weight,
            KEY: self.ratio,
            "scaled": self.scaled,
            "most": self.most,
        }


def pulls_of(history: Sequence[dict[str, Any]]) -> list[Pull]:
    """What was measured, from the log history of a run."""
    return [
        Pull(row["part"], row["weight"], row[KEY], row["scaled"], row["most"], row["step"])
        for row in history
        if KEY in row
    ]


def share_of(pulls: Sequence[Pull], part: str) -> float:
    """Share of its given weight that a limited part may have: what its hardest pull leaves of it, at most 1.

    Examples
    --------
    >>> share_of([Pull("gld", 1.0, 0.5, most=1.0), Pull("gld", 1.0, 8.0, most=1.0, step=1)], "gld")
    0.125
    """
    shares = [pull.most / pull.ratio for pull in pulls if pull.part == part and pull.most and pull.ratio > pull.most]
    return min([1.0, *shares])


def limits_of(pulls: Sequence[Pull]) -> list[str]:
    """What was found of the limited parts, in words."""
    found = []
    for part in dict.fromkeys(pull.part for pull in pulls if pull.most):
        own = [pull for pull in pulls if pull.part == part]
        weight, hardest, share = own[0].weight, max(pull.ratio for pull in own), share_of(own, part)
        change = f"lowered to {weight * share:.3g}" if share < 1 else "kept"
        found.append(
            f"{part}: weight {weight:g} {change}; on the first batches {weight:g} x {part} pulled up to {hardest:.2g} "
            f"times as hard as the cross-entropy (objective.{part}_pull {own[0].most:g})"
        )
    return found


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
        found.append(length_of([g for g in own if g is not None]))
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
        One a term but the cross-entropy and limited terms; none where the cross-entropy has no gradient.
    """
    others = [own for own in objective.terms if own.term.name != CROSS_ENTROPY and not own.term.most]
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


def measured_limits(
    model: Any,
    batches: Sequence[Batch],
    objective: Objective,
    head: ChunkedHead | None,
    step: int,
    total: Callable[[Tensor], Tensor],
) -> list[Pull]:
    """Measure how hard the limited terms pull over all the batches of a step.

    Parameters
    ----------
    model : callable
        The pivot.
    batches : sequence of Batch
        Those of this process; idle ones left out.
    objective : Objective
        The terms.
    head : ChunkedHead or None
        Works the output layer in chunks.
    step : int
        Steps that are done.
    total : callable
        Sums a tensor over processes.

    Returns
    -------
    list of Pull
        One a limited term.

    Notes
    -----
    Cost: a forward and a backward pass a batch for the cross-entropy and every limited term.  Neither accumulation nor
    the number of processes changes what is found, beyond rounding.
    """
    weights = [p for p in model.parameters() if p.requires_grad]

    def length(one: Objective) -> float:
        none = torch.zeros(len(one.parts), device=weights[0].device)
        counts = total(sum((one.counts(batch).to(none.device) for batch in batches), none))
        return length_of([total(g) for g in gradient_of(model, batches, weights, one, head, counts)])

    given = {own.term.name: own.weight for own in objective.terms}
    unit = length(Objective.cross_entropy()) * (given.get(CROSS_ENTROPY, 0.0) or 1.0)
    limited = [own for own in objective.terms if own.term.most]
    if not unit > 0:
        return []
    return [
        Pull(own.term.name, own.weight, own.weight * length(objective.only(own.term)) / unit, True, own.term.most, step)
        for own in limited
    ]
