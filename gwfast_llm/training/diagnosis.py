"""Whether each part of the objective pulls where the cross-entropy on held-out text pulls.

A distillation loss is worth its weight only if following it lowers the loss on text that was not trained on.  The
cosine between its gradient and the cross-entropy's on held-out examples says so before any GPU hour is spent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gwfast_llm.config import PARTS, ObjectiveConfig
from gwfast_llm.models.output_layer import ChunkedHead
from gwfast_llm.student.combine import Batch, batch_counts, batch_parts, part_names, run_student

SURE = 0.9  # a source that gives one token more than this is following the layout, not choosing a word
AGAINST = -0.1  # cosine below which a part is said to point against the cross-entropy
INSTEAD = "use preset path instead (CE + 3 path-KL), or lower the weight"


@dataclass(frozen=True)
class Agreement:
    """How one part's gradient lies to the cross-entropy's on held-out examples.

    Attributes
    ----------
    part : str
        Name of the part.
    cosine : float
        Cosine of the angle between the two gradients, over all held-out answer tokens.
    cosine_text : float
        The same over the tokens where the source itself is unsure (none of its probabilities above 0.9): predictable
        layout tokens dominate the plain mean.  NaN where there are none.
    size : float
        Length of the part's gradient over that of the cross-entropy's on the same examples.
    """

    part: str
    cosine: float
    cosine_text: float
    size: float

    @property
    def against(self) -> bool:
        """Whether the part points against the cross-entropy, over all held-out tokens.

        The cosine over unsure tokens is shown and not judged: few tokens make it, and at the start even that of the
        cross-entropy on other examples may be negative there.
        """
        return self.cosine < AGAINST

    def sentence(self) -> str:
        """The finding in words, with what to do about it where it is bad."""
        text = (
            f"{self.part}: cosine with the held-out cross-entropy {self.cosine:+.2f} "
            f"({self.cosine_text:+.2f} where the source is unsure), gradient {self.size:.2g} times as long"
        )
        return f"warning: {text}; it points against it: {INSTEAD}" if self.against else text


def diagnose(
    model: Any,
    batches: Sequence[Batch],
    held_out: Sequence[Batch],
    objective: ObjectiveConfig,
    slots: int,
    head: ChunkedHead | None = None,
) -> list[Agreement]:
    """Compare the gradient of every weighted part with the cross-entropy's on held-out text.

    Parameters
    ----------
    model : transformers.PreTrainedModel or peft.PeftModel
        The pivot; its weights and gradients are left as they are.
    batches : sequence of dict
        Training examples, from `gwfast_llm.terms.collate.FusionCollator`, in batches small
        enough for one backward pass.
    held_out : sequence of dict
        Other examples, collated with `path` targets.
    objective : ObjectiveConfig
        Its parts with a weight are measured.
    slots : int
        Source slots of a batch.
    head : ChunkedHead, optional
        Works the model's output layer in chunks, as in training.

    Returns
    -------
    list of Agreement
        One a part, the cross-entropy on the training examples first.

    Notes
    -----
    Cost: one forward and backward pass a part and batch, and memory for three gradients.
    """
    was_training = model.training
    model.eval()
    weights = [p for p in model.parameters() if p.requires_grad]
    plain = ObjectiveConfig(preset="sft")
    every = _gradient(model, held_out, weights, 0, plain, head)
    unsure = [dict(batch, labels=_unsure_labels(batch)) for batch in held_out]
    unsure = [batch for batch in unsure if (batch["labels"] != -100).any()]
    text = _gradient(model, unsure, weights, 0, plain, head) if unsure else None
    names = ["sft", *(name for name, weight in objective.weights.items() if weight and name != "sft")]
    found, size = [], 1.0
    for name in names:
        only = dataclasses.replace(objective, preset="custom", **{part: float(part == name) for part in PARTS})
        own = _gradient(model, batches, weights, slots, only, head)
        length = _dot(own, own) ** 0.5
        if name == "sft":
            size = max(length, 1e-30)
        found.append(Agreement(name, _cosine(own, every), _cosine(own, text) if text else float("nan"), length / size))
    model.train(was_training)
    return found


def _gradient(
    model: Any,
    batches: Sequence[Batch],
    weights: Sequence[Tensor],
    slots: int,
    objective: ObjectiveConfig,
    head: ChunkedHead | None,
) -> list[Tensor]:
    """Gradient of an objective of one part over all batches, summed over source slots."""
    device = next(model.parameters()).device
    names = part_names(objective, slots)
    counts = torch.stack([batch_counts(batch, names) for batch in batches]).sum(0).clamp_min(1)
    found = [torch.zeros_like(w) for w in weights]
    for batch in batches:
        here = {name: value.to(device) for name, value in batch.items()}
        student, _ = run_student(model, here, objective, slots, head)
        with torch.autocast(device.type, enabled=False):  # losses are added up in float32, as in training
            parts = batch_parts(student, here, objective, slots)
        total = torch.stack([part.total.float() / count for part, count in zip(parts, counts.to(device))]).sum()
        if not total.requires_grad:  # nothing in this batch that the part looks at
            continue
        for kept, own in zip(found, torch.autograd.grad(total, weights, allow_unused=True)):
            if own is not None:
                kept += own
    return found


def _unsure_labels(batch: Batch) -> Tensor:
    """Labels of the tokens for which the source has no single likely continuation, the others ignored."""
    labels = torch.full_like(batch["labels"], -100)
    sure = batch["path_probs"].amax(-1) > SURE
    for b, s, p in (batch["pair_mask"] & ~sure).nonzero().tolist():
        at = int(batch["pair_index"][b, s, p]) + 1
        labels[b, at] = batch["labels"][b, at]
    return labels


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    return float(sum((x.double() * y.double()).sum() for x, y in zip(a, b)))


def _cosine(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    scale = (_dot(a, a) * _dot(b, b)) ** 0.5
    return _dot(a, b) / scale if scale > 0 else float("nan")
