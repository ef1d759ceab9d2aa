"""Several short examples in one row: where each of them lies.

Only the model sees packed rows.  The losses go on speaking of example b and its position t; `Places` says where in
the rows that is.  Hence every loss, also one of whole answers, and every count is that of unpacked examples.

Shapes: B examples, L tokens of the longest, R rows of M tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gwfast_llm.system.errors import FusionError
from gwfast_llm.text.tensors import Tensors


@dataclass(frozen=True)
class Places(Tensors):
    """Where examples lie in packed rows.

    Attributes
    ----------
    row, start : Tensor (B,)
        Row of each example, and the column of its first token.
    length : int
        Tokens L of the longest example.
    """

    row: Tensor
    start: Tensor
    length: int

    def at(self, example: Tensor, position: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Row and column of these positions of these examples, both of one shape; padding stays inside `width`."""
        return self.row[example], (self.start[example] + position).clamp_max(width - 1)


@dataclass(frozen=True)
class PackedRows:
    """Several examples in each row.

    Attributes
    ----------
    input_ids, position_ids : Tensor (R, M)
        Tokens; positions that start at 0 in every example, and at every token of the filling.
    places : Places
        Where the examples lie.
    """

    input_ids: Tensor
    position_ids: Tensor
    places: Places


def place(lengths: Sequence[int], longest: int) -> list[tuple[int, int]]:
    """Row and first column of each example: longest first, each into the first row with room.

    Parameters
    ----------
    lengths : sequence of int
        Tokens of each example.
    longest : int
        Tokens of a row, at least the largest length.

    Returns
    -------
    list of (int, int)
        In the order of `lengths`; the same for the same lengths.

    Raises
    ------
    FusionError
        When an example is longer than a row.

    Notes
    -----
    Cost: O(B R).  Rows needed: at most 11/9 of the fewest possible, plus 1 (first fit decreasing).

    Examples
    --------
    >>> place([3, 7, 5, 2], 10)
    [(0, 7), (0, 0), (1, 0), (1, 5)]
    """
    if lengths and max(lengths) > longest:
        raise FusionError(f"an example has {max(lengths)} tokens, a packed row {longest}; raise data.max_length")
    filled: list[int] = []
    places = [(0, 0)] * len(lengths)
    for k in sorted(range(len(lengths)), key=lambda k: -lengths[k]):
        row = next((r for r, used in enumerate(filled) if used + lengths[k] <= longest), len(filled))
        if row == len(filled):
            filled.append(0)
        places[k] = (row, filled[row])
        filled[row] += lengths[k]
    return places


def packed_rows(examples: Sequence[Sequence[int]], pad_id: int, longest: int) -> PackedRows:
    """Put examples into rows.

    Parameters
    ----------
    examples : sequence of sequence of int
        Token ids of each example.
    pad_id : int
        Token to fill up with.
    longest : int
        Tokens of a row.

    Returns
    -------
    PackedRows
    """
    places = place([len(ids) for ids in examples], longest)
    height = max(row for row, _ in places) + 1
    width = max(start + len(ids) for (_, start), ids in zip(places, examples))
    tokens = torch.full((height, width), pad_id, dtype=torch.long)
    positions = torch.zeros_like(tokens)
    for (row, start), ids in zip(places, examples):
        tokens[row, start : start + len(ids)] = torch.tensor(ids)
        positions[row, start : start + len(ids)] = torch.arange(len(ids))
    row, start = torch.tensor(places).T
    return PackedRows(tokens, positions, Places(row, start, max(len(ids) for ids in examples)))
