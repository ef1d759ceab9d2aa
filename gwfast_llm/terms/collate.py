"""Collation: from examples and the sources' answers to the padded tensors of a batch.

Shapes: B batch, S source slots, L pivot tokens, P matched positions, T source answer tokens, K kept logits.  With
`mince` routing there is one slot, filled by each example's own source; with `all` there is one slot a source.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.models.logits import Selection, TopK
from gwfast_llm.teachers.desk import SourceDesk
from gwfast_llm.terms.batch import Batch, CarriedTargets, Pairs, stacked
from gwfast_llm.terms.objective import Objective
from gwfast_llm.terms.spots import spots_of
from gwfast_llm.terms.term import Answer, Term
from gwfast_llm.text.examples import IGNORE, Encoded, pad_right
from gwfast_llm.text.packing import packed_rows

NOBODY = -1  # place in a batch that no example takes


class FusionCollator:
    """Turns example indices into a batch.

    Parameters
    ----------
    rows : sequence of Encoded
        Examples under the pivot's tokenizer.
    pad_id : int
        Token to fill up with; filled positions are masked everywhere.
    objective : ObjectiveConfig
        Decides which tensors are needed.
    desk : SourceDesk or None
        The sources; None without distillation.
    longest : int
        Tokens of a row into which several examples are packed; 0 gives every example a row of its own.
    """

    def __init__(
        self,
        rows: Sequence[Encoded],
        pad_id: int,
        objective: ObjectiveConfig,
        desk: SourceDesk | None,
        longest: int = 0,
    ):
        self._rows = rows
        self._pad = pad_id
        self._objective = Objective.of(objective, desk.slots if desk else 0)
        self._needs = self._objective.needs
        self._desk = desk if self._needs.sources else None
        self._longest = longest

    def __call__(self, indices: Sequence[int]) -> Batch:
        """Make the batch of these examples.

        Places that no example takes are dropped.  Where none is left, a batch is made all the same, marked ``idle``:
        its process runs along with the others, and nothing of it counts.
        """
        real = [i for i in indices if i != NOBODY]
        return self._batch(real) if real else dataclasses.replace(self._batch([0]), idle=True)

    def _batch(self, indices: Sequence[int]) -> Batch:
        rows = [self._rows[i] for i in indices]
        batch = self._read(rows)
        return batch if self._desk is None else self._with_sources(batch, rows, self._desk, indices)

    def _read(self, rows: Sequence[Encoded]) -> Batch:
        """What the pivot reads, and the labels."""
        labels, ids = pad_right([row.labels for row in rows], IGNORE), [row.ids for row in rows]
        if self._longest:
            packed = packed_rows(ids, self._pad, self._longest)
            return Batch(
                packed.input_ids,
                labels,
                position_ids=packed.position_ids,
                places=packed.places,
                spots=spots_of(labels),
            )
        mask = pad_right([[1] * len(own) for own in ids], 0)
        return Batch(pad_right(ids, self._pad), labels, mask, spots=spots_of(labels))

    def _with_sources(self, batch: Batch, rows: Sequence[Encoded], desk: SourceDesk, indices: Sequence[int]) -> Batch:
        """Add what the terms need of the sources."""
        items = desk.items(indices, self._needs.carried)
        answers = [[Answer(item, narrowed(item.signal.kept, self._objective.kept)) for item in row] for row in items]
        pairs, carried, probs = None, None, None
        if self._needs.at_pairs:
            index = [[r.prompt_length - 1 + i.targets.pivot_index for i in row] for r, row in zip(rows, items)]
            pairs = Pairs(
                stacked(index), stacked([[torch.ones_like(x, dtype=torch.bool) for x in row] for row in index])
            )
        if self._needs.carried:
            carried = CarriedTargets(
                stacked([[i.targets.ids for i in row] for row in items]),
                stacked([[i.targets.probs for i in row] for row in items]),
                stacked([[i.targets.tail for i in row] for row in items]),
            )
        if self._needs.source_probs:
            probs = stacked([[a.kept.probs[a.at_pairs] for a in row] for row in answers])
        own = {term.name: made for term in self._terms if (made := term.collate(answers)) is not None}
        return dataclasses.replace(
            batch,
            source_weight=torch.tensor([[item.weight for item in row] for row in items]),
            pairs=pairs,
            carried=carried,
            source_probs=probs,
            own=own,
        )

    @property
    def _terms(self) -> list[Term]:
        return [weighted.term for weighted in self._objective.terms]


def narrowed(kept: TopK, how: Selection) -> TopK:
    """Fewer of the kept logits, as `how` says; see `gwfast_llm.models.logits.select`.

    The entropy is that of the kept logits with the rest as one cell: what was dropped is not known any more.
    """
    width = kept.ids.shape[-1] if how.k <= 0 else min(how.k, kept.ids.shape[-1])
    values, ids, probs = kept.values[..., :width], kept.ids[..., :width], kept.probs[..., :width]
    if how.by == "mass":
        values = values.masked_fill(probs.cumsum(-1) - probs >= how.amount, -torch.inf)
    elif how.by == "entropy":
        rest = (1 - kept.probs.sum(-1)).clamp_min(1e-12)
        entropy = -(kept.probs * kept.log_probs).nan_to_num(0.0).sum(-1) - rest * rest.log()
        number = (how.amount * entropy.exp()).ceil().clamp_min(1)
        values = values.masked_fill(torch.arange(width) >= number[..., None], -torch.inf)
    return TopK(values, ids, kept.logsumexp)
