"""The pivot's forward pass on a batch, with whole logits or in chunks."""

from __future__ import annotations

from typing import Any

import torch

from gwfast_llm.models.output_layer import ChunkedHead, Request
from gwfast_llm.student.chunked import ChunkedStudent, Columns
from gwfast_llm.student.dense import DenseStudent
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.objective import Objective


def request_of(batch: Batch, objective: Objective) -> tuple[Request, Columns]:
    """What the terms will ask of the pivot on a batch, for an output layer that works in chunks.

    Parameters
    ----------
    batch : Batch
        The batch.
    objective : Objective
        The terms.

    Returns
    -------
    Request
        Answer positions, their own next tokens, and the tokens that the terms ask for there.
    Columns
        Columns of the asked tokens of each group; the first column is that of the next tokens.
    """
    labels = batch.labels
    tokens, columns, first = [torch.cat([labels[:, 1:], labels[:, :1]], 1)[..., None]], {}, 1
    for asked in objective.asked(batch):
        at, mask = batch.matched(asked.slot)
        size, length = labels.shape
        spare = torch.full_like(at, length)  # a column that is cut off takes what is not real
        place = torch.where(mask, at, spare)[..., None].expand_as(asked.ids)
        whole = asked.ids.new_zeros(size, length + 1, asked.ids.shape[-1]).scatter(1, place, asked.ids)[:, :length]
        tokens.append(whole)
        columns[asked.slot, asked.group] = (first, first + whole.shape[-1])
        first += whole.shape[-1]
    flat = batch.answers.flat
    kept = objective.kept if objective.needs.kept else None
    wanted = torch.cat(tokens, -1).flatten(0, 1)[flat]
    return Request(flat, (labels.shape[0], labels.shape[1]), wanted, kept, batch.places), columns


def run_student(
    model: Any, batch: Batch, objective: Objective, head: ChunkedHead | None
) -> tuple[DenseStudent | ChunkedStudent, Any]:
    """Run the pivot on a batch and make its output ready for the terms.

    Parameters
    ----------
    model : callable
        The pivot, however wrapped.
    batch : Batch
        From `gwfast_llm.terms.collate.FusionCollator`.
    objective : Objective
        Decides what is asked of the output layer.
    head : ChunkedHead or None
        Works the output layer in chunks; without it whole logits are made.

    Returns
    -------
    DenseStudent or ChunkedStudent
    outputs
        What the model returned.
    """
    if head is None:
        outputs = model(**batch.model_inputs, use_cache=False)
        return DenseStudent(outputs.logits, batch.places), outputs
    request, columns = request_of(batch, objective)
    head.pending = request
    outputs = model(**batch.model_inputs, use_cache=False)
    return ChunkedStudent(request, head.answer(), columns), outputs
