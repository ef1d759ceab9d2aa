"""A sparse matrix from the pivot's vocabulary to a source's, from the spelling of the tokens alone.

Shapes: V pivot tokens, U source tokens, R entries of a row.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gwfast_llm.text.alignment import places_of_bytes
from gwfast_llm.text.examples import spelling
from gwfast_llm.text.special_tokens import mark_map

ENTRIES = 4  # kept of a row, and tokens of a spelling that are looked at
SURE = 0.6  # weight from which a heaviest entry pairs two tokens
DECAY = 0.1  # weight of each further token of a spelling, relative to the one before


@dataclass(frozen=True)
class Projection:
    """Rows of non-negative weights that sum to 1, or of zeros.

    Attributes
    ----------
    ids : Tensor (V, R)
        Source tokens.
    weights : Tensor (V, R)
        Their weights, largest first; unused entries are 0.
    size : int
        U.
    """

    ids: Tensor
    weights: Tensor
    size: int

    def relaxed(self, least: float = SURE) -> tuple[Tensor, Tensor]:
        """One pivot token for each source token: that whose heaviest entry it is, of at least such a weight.

        Returns
        -------
        Tensor (U,)
            Pivot token of every source token, -1 where there is none; of several the heaviest, then the first.
        Tensor (V,) of bool
            Pivot tokens that are some source token's.
        """
        best, weight = self.ids[:, 0], self.weights[:, 0]
        to_pivot = torch.full((self.size,), -1, dtype=torch.long)
        for v in torch.argsort(weight, stable=True, descending=True).tolist():
            if weight[v] >= least and to_pivot[best[v]] < 0:
                to_pivot[best[v]] = v
        in_pivot = torch.zeros(len(best), dtype=torch.bool)
        in_pivot[to_pivot[to_pivot >= 0]] = True
        return to_pivot, in_pivot


def shares(number: int) -> list[float]:
    """Weights of the first, second, ... token of a spelling; they sum to 1.

    Examples
    --------
    >>> [round(share, 4) for share in shares(2)]
    [0.9091, 0.0909]
    """
    raw = [DECAY**k for k in range(number)]
    return [one / sum(raw) for one in raw]


def projection(pivot: Any, source: Any, chat: bool = False) -> Projection:
    """Make the matrix as X-Token does: each token spelled by the other tokenizer, in both directions.

    Parameters
    ----------
    pivot, source : transformers.PreTrainedTokenizerFast
        The two tokenizers.
    chat : bool
        Whether the data are conversations, for the mark that ends a turn.

    Returns
    -------
    Projection
        A token that both spell alike has that one entry, marks go to the marks of their meaning.  Else the first four
        tokens of a spelling count with weights 1 : 0.1 : 0.01 : 0.001, rows are normalised and the four heaviest
        entries kept.  The authors' matrix also holds a constant in its last column ("scale trick") and pairs marks by
        the similarity of their names; this one does not.

    Notes
    -----
    Cost: each vocabulary is tokenized once.
    """
    own, theirs = spelling(pivot), spelling(source)
    table: list[defaultdict[int, float]] = [defaultdict(float) for _ in own]
    for (tokenizer, pieces), forward in (((source, own), True), ((pivot, theirs), False)):
        known = [(i, text) for i, piece in enumerate(pieces) if piece and (text := _text(piece)) is not None]
        if not known:
            continue
        found = tokenizer([text for _, text in known], add_special_tokens=False)["input_ids"]
        for (i, _), ids in zip(known, found):
            for j, share in zip(ids[:ENTRIES], shares(len(ids[:ENTRIES]))):
                row, column = (i, j) if forward else (j, i)
                if row < len(table):
                    table[row][column] += share
    where = places_of_bytes(source, theirs)
    exact = {i: where[piece] for i, piece in enumerate(own) if piece and piece in where}
    exact |= {ours: other for other, ours in mark_map(pivot, source, chat).items()}
    for i, j in exact.items():
        table[i] = defaultdict(float, {j: 1.0})
    return _packed(table, len(theirs))


def _text(piece: bytes) -> str | None:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return None  # a part of a character


def _packed(table: list[defaultdict[int, float]], size: int) -> Projection:
    ids = torch.zeros(len(table), ENTRIES, dtype=torch.long)
    weights = torch.zeros(len(table), ENTRIES)
    for i, row in enumerate(table):
        best = sorted(row.items(), key=lambda item: (-item[1], item[0]))[:ENTRIES]
        total = sum(weight for _, weight in best)
        for k, (j, weight) in enumerate(best):
            ids[i, k], weights[i, k] = j, weight / total
    return Projection(ids, weights, size)
