"""Kept logits at the positions that count, and the checks of losses on plain logit tensors.

Shapes: B batch, L tokens, V vocabulary, P positions, K kept logits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gwfast_llm.models.logits import TopK
from gwfast_llm.system.errors import FusionError


def at_positions(kept: TopK, positions: Tensor) -> TopK:
    """Kept logits at positions (B, P) of every example."""
    rows = torch.arange(len(positions), device=positions.device)[:, None]
    return TopK(kept.values[rows, positions], kept.ids[rows, positions], kept.logsumexp[rows, positions])


def in_order(mask: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Places (B, width) of the True entries of a mask (B, L), in order, and which of them are real."""
    order = torch.argsort((~mask).to(torch.int8), dim=1, stable=True)[:, :width]
    return order, mask.gather(1, order)


def check_positions(positions: tuple[Tensor, Tensor], student_logits: Tensor, teacher_logits: Tensor) -> None:
    """Refuse positions of pairs that do not fit the logits; values are looked at on the host only.

    Raises
    ------
    FusionError
        Naming what was found and what is expected.
    """
    own, theirs = positions
    size = len(student_logits)
    if own.dim() != 2 or own.shape != theirs.shape or len(own) != size:
        raise FusionError(
            f"positions have shapes {tuple(own.shape)} and {tuple(theirs.shape)}; expected twice ({size}, P)"
        )
    for name, at, logits in (("student", own, student_logits), ("teacher", theirs, teacher_logits)):
        if at.is_floating_point() or at.dtype == torch.bool:
            raise FusionError(f"positions of the {name} have type {at.dtype}; expected whole numbers")
        if at.device.type == "cpu" and at.numel() and not -1 <= int(at.min()) <= int(at.max()) < logits.shape[1]:
            raise FusionError(
                f"positions of the {name} lie from {int(at.min())} to {int(at.max())}; expected -1 to "
                f"{logits.shape[1] - 1}"
            )


def check_pair(student_logits: Tensor, teacher_logits: Tensor, student_mask: Tensor, teacher_mask: Tensor) -> None:
    """Refuse logits and masks that do not fit together.

    Shapes and types are looked at everywhere; whether a mask excludes every position, only where the mask lies on the
    host: on a GPU the question would wait for it at every step.

    Raises
    ------
    FusionError
        Naming the argument, what was found and what is expected.
    """
    for name, logits, mask in (
        ("student", student_logits, student_mask),
        ("teacher", teacher_logits, teacher_mask),
    ):
        if logits.dim() != 3:
            raise FusionError(f"{name}_logits has shape {tuple(logits.shape)}; expected (B, L, V)")
        if mask.shape != logits.shape[:2]:
            raise FusionError(
                f"{name}_mask has shape {tuple(mask.shape)}; expected {tuple(logits.shape[:2])}, (B, L) of "
                f"{name}_logits"
            )
        if mask.dtype != torch.bool:
            raise FusionError(f"{name}_mask has type {mask.dtype}; expected torch.bool: pass mask.bool()")
        if mask.device.type == "cpu" and not mask.any():
            raise FusionError(f"{name}_mask excludes every position; at least one must be an answer position")
    if len(student_logits) != len(teacher_logits):
        raise FusionError(
            f"student_logits has {len(student_logits)} examples, teacher_logits {len(teacher_logits)}; "
            "the same examples are needed in the same order"
        )
