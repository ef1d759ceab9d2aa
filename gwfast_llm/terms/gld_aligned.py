"""``gld_aligned``: co-activation graphs in one vocabulary, compared edge by edge.

Shapes: B batch, V vocabulary, P matched positions, K kept tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.terms.batch import Batch
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
    for b in range(len(probs)):
        p, ids, q = probs[b][mask[b]], target_ids[b][mask[b]], target_probs[b][mask[b]]
        if not len(p):
            continue
        used, column = ids.unique(return_inverse=True)
        target = p.new_zeros(len(q), len(used)).scatter_add(1, column.reshape(q.shape), q.to(p.dtype))
        step = len(p) if window <= 0 else window
        own = probs.new_zeros(())
        for start in range(0, len(p), step):
            s, t = p[start : start + step], target[start : start + step]
            cross = (s[:, used] @ t.T).pow(2).sum()
            energy = (t @ t.T).pow(2).sum()
            value = ((s @ s.T).pow(2).sum() - 2 * cross + energy) / len(s) ** 2
            if relative:
                value = value / (energy / len(s) ** 2).clamp_min(1e-6)
            own = own + value * len(s)
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
