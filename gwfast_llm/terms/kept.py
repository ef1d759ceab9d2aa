"""Kept logits at the positions that count, and the checks of losses on plain logit tensors.

Shapes: B batch, L tokens, V vocabulary, P positions, K kept logits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gwfast_llm.models.logits import TopK, pack_rows
from gwfast_llm.system.errors import FusionError


def answers_only(kept: TopK, mask: Tensor) -> tuple[TopK, Tensor]:
    """Kept logits of the masked positions alone, moved to the front, with the mask of real ones."""
    values, real = pack_rows(kept.values, mask)
    ids, _ = pack_rows(kept.ids, mask)
    lse, _ = pack_rows(kept.logsumexp, mask)
    return TopK(values, ids, lse), real


def at_positions(kept: TopK, positions: Tensor) -> TopK:
    """Kept logits at positions (B, P) of every example."""
    rows = torch.arange(len(positions), device=positions.device)[:, None]
    return TopK(kept.values[rows, positions], kept.ids[rows, positions], kept.logsumexp[rows, positions])


def check_pair(student_logits: Tensor, teacher_logits: Tensor, student_mask: Tensor, teacher_mask: Tensor) -> None:
    """Refuse logits and masks that do not fit together.

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
        if not mask.any():
            raise FusionError(f"{name}_mask excludes every position; at least one must be an answer position")
    if len(student_logits) != len(teacher_logits):
        raise FusionError(
            f"student_logits has {len(student_logits)} examples, teacher_logits {len(teacher_logits)}; "
            "the same examples are needed in the same order"
        )
