"""``gld_aligned``: co-activation graphs in one vocabulary, compared edge by edge.

Shapes: B batch, V vocabulary, P matched positions, K kept tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.kept import in_order
from gwfast_llm.terms.part import Part
from gwfast_llm.terms.term import Needs, Student, Term


def gld_aligned_part(
    probs: Tensor,
    target_ids: Tensor,
    target_probs: Tensor,
    mask: Tensor,
    weight: Tensor | None = None,
    *,
    window: int = 0,
    relative: bool = True,
) -> Part:
    """Co-activation graphs in one vocabulary compared edge by edge: the upper end of the GW interval.

    U = ||C_s - C_t||_F^2 / ||C_t||_F^2 with C = (1/P) sum_t h_t h_t', the objective of the coupling that takes every
    token to itself.  With H the (P, V) factors, ||C_s - C_t||^2 = (||HH'||^2 - 2 ||HQ'||^2 + ||QQ'||^2) / P^2, so no
    V x V matrix appears.

    Parameters
    ----------
    probs : Tensor (B, P, V)
        Student's probabilities at matched positions.
    target_ids, target_probs : Tensor (B, P, K)
        Source's distribution in the student's vocabulary, zeros for unused channels.
    mask : Tensor (B, P) of bool
        Positions that count.
    weight : Tensor (B,), optional
        Weight of each example.
    window : int
        Positions of one graph, in order; 0 makes one graph an answer, 1 compares single positions.
    relative : bool
        Divide by ||C_t||^2.  Without, the unit is that of GW times V^2 (uniform node weights).

    Returns
    -------
    Part
        One item a position: every graph counts with its number of positions.

    Notes
    -----
    GW <= whole batch <= answers <= windows <= positions <= 4 KL (unnormalised, mean over positions): the smaller the
    window, the more this is ordinary distillation position by position.

    Cost: O(P^2 V) time and O(P V) memory an answer.
    """
    total = probs.new_zeros(())
    width = probs.shape[1]
    order, real = in_order(mask, width)
    step = max(1, width if window <= 0 else min(window, width))
    for b in range(len(probs)):
        keep = real[b][:, None]
        p = torch.where(keep, probs[b][order[b]], torch.zeros_like(probs[b]))
        q = torch.where(keep, target_probs[b][order[b]], torch.zeros_like(target_probs[b])).to(p.dtype)
        target = torch.zeros_like(p).scatter_add(1, target_ids[b][order[b]], q)
        own = probs.new_zeros(())
        for start in range(0, width, step):
            s, t = p[start : start + step], target[start : start + step]
            count = real[b, start : start + step].sum().clamp_min(1)
            energy = (t @ t.T).pow(2).sum()
            value = ((s @ s.T).pow(2).sum() - 2 * (s @ t.T).pow(2).sum() + energy) / count**2
            if relative:
                value = value / (energy / count**2).clamp_min(1e-6)
            own = own + value * real[b, start : start + step].sum()
        total = total + (own if weight is None else own * weight[b])
    return Part(total, mask.sum().to(probs.dtype))


@dataclass(frozen=True)
class GldAligned(Term):
    """Graphs of pivot and carried source in the pivot's vocabulary.

    Attributes
    ----------
    window : int
        Positions of one graph; 0 for whole answers.
    """

    window: int = 0

    name: ClassVar[str] = "gld_aligned"
    needs: ClassVar[Needs] = Needs(carried=True, whole=True)

    @classmethod
    def of(cls, objective: ObjectiveConfig) -> Self:
        """Make the term of a configuration."""
        return cls(objective.gld_window)

    def part(self, student: Student, batch: Batch, slot: int) -> Part:
        """Compare the graphs of every answer."""
        at, mask = batch.matched(slot)
        assert batch.carried is not None
        ids, probs = batch.carried.ids[:, slot], batch.carried.probs[:, slot]
        return gld_aligned_part(student.probs_at(at), ids, probs, mask, batch.weight(slot), window=self.window)
