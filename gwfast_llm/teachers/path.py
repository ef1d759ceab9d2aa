"""Carry a source's next-token distribution into the pivot's vocabulary by following the text.

Where a token of both tokenizers starts at the same byte, the pivot's distribution over its next token is the source's
distribution over what text comes next.  The source is followed along the text inside the pivot's token: mass that
leaves the text is mapped at once, mass that stays is refined by the source's next distribution.  Leaving mass is
mapped by counting which pivot token starts where the source writes this very sequence of tokens, backing off to
which pivot token starts where the text reads alike, then to the first piece the pivot's tokenizer would cut.
Counting reads a sample of fixed size, drawn with a fixed seed, and only once a part of the objective needs it.
"""

from __future__ import annotations

import functools
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gwfast_llm.teachers.first_piece import FirstPiece
from gwfast_llm.teachers.projection import Projection, projection
from gwfast_llm.teachers.signal import Signal
from gwfast_llm.text.alignment import UNKNOWN, matched_starts, places_of_bytes, starts_of
from gwfast_llm.text.examples import Encoded, Example, spelling
from gwfast_llm.text.special_tokens import mark_map

SEQUENCE = 4  # longest counted sequence of source tokens
PREFIX = 8  # longest counted stretch of text, bytes
LOOK_AHEAD = 4  # further source tokens read while one could begin several pivot tokens
COUNTED = 2**20  # answer tokens on which is counted, at most
REMEMBERED = 2**20  # rows of the map kept at hand, at most
SURE = 0.99  # a source token that maps to one pivot token with this share is not ambiguous
NEGLIGIBLE = 1e-7


@dataclass(frozen=True)
class Targets:
    """Distributions for the pivot at P matched positions of one answer.

    Attributes
    ----------
    pivot_index, source_index : Tensor (P,)
        Answer token of the pivot and of the source that start at the same byte.
    ids : Tensor (P, K)
        Pivot tokens, most probable first.
    probs : Tensor (P, K)
        Their probabilities; unused channels are 0.
    tail : Tensor (P,)
        Mass outside: what the source kept no logits for, and what has no pivot token.
    """

    pivot_index: Tensor
    source_index: Tensor
    ids: Tensor
    probs: Tensor
    tail: Tensor


@dataclass(frozen=True)
class SharedTokens:
    """Tokens that two vocabularies spell alike.

    Attributes
    ----------
    to_pivot : Tensor (V',)
        Pivot id of each source token, -1 where the pivot has none of that spelling.
    in_pivot : Tensor (V,) of bool
        Which pivot tokens the source has.
    """

    to_pivot: Tensor
    in_pivot: Tensor


def shared_tokens(pivot_tokenizer, source_tokenizer, chat: bool = False) -> SharedTokens:
    """Find the tokens of equal bytes, and the marks of equal meaning: see `gwfast_llm.text.special_tokens.mark_map`."""
    pivot, source = spelling(pivot_tokenizer), spelling(source_tokenizer)
    where = places_of_bytes(pivot_tokenizer, pivot)
    to_pivot = torch.tensor([where.get(piece, -1) if piece is not None else -1 for piece in source])
    for theirs, own in mark_map(pivot_tokenizer, source_tokenizer, chat).items():
        to_pivot[theirs] = own
    in_pivot = torch.zeros(len(pivot), dtype=torch.bool)
    in_pivot[to_pivot[to_pivot >= 0]] = True
    return SharedTokens(to_pivot, in_pivot)


class PathMap:
    """Counted map from source token sequences to the pivot's next token.

    Parameters
    ----------
    pivot_tokenizer, source_tokenizer : transformers.PreTrainedTokenizerFast
        The two tokenizers.
    examples : sequence of Example
        Texts on which to count; no model is involved.  Where they hold more than `COUNTED` answer tokens of the pivot,
        a sample of whole examples of that size is drawn with a fixed seed.
    pivot_rows, source_rows : sequence of Encoded
        The same texts under both tokenizers.

    Notes
    -----
    Cost: one pass over the sample when the first row is asked for, about 20 us and 400 bytes a token: at most half a
    minute and 0.4 GB.  Equal tokenizers never count.
    """

    def __init__(
        self,
        pivot_tokenizer,
        source_tokenizer,
        examples: Sequence[Example],
        pivot_rows: Sequence[Encoded],
        source_rows: Sequence[Encoded],
    ):
        chat = any(example.messages for example in examples)
        self._spelled = spelling(source_tokenizer)
        self._pieces = FirstPiece(pivot_tokenizer)
        self._marks = mark_map(pivot_tokenizer, source_tokenizer, chat)
        self.same = pivot_tokenizer.get_vocab() == source_tokenizer.get_vocab()
        self.shared = shared_tokens(pivot_tokenizer, source_tokenizer, chat)
        self._tokenizers = pivot_tokenizer, source_tokenizer, chat
        self._texts = examples, pivot_rows, source_rows
        # the first token of an answer counts apart where the pivot's tokenizer marks it with a space of its own
        self._by_sequence: defaultdict[tuple[bool, tuple[int, ...]], Counter[int]] = defaultdict(Counter)
        self._by_text: defaultdict[tuple[bool, bytes], Counter[int]] = defaultdict(Counter)
        self._rows: dict[tuple[tuple[int, ...], int, bool], list[tuple[int, float]]] = {}
        self._counted = False

    @functools.cached_property
    def projection(self) -> Projection:
        """Matrix from the pivot's vocabulary to the source's, by spelling; made when it is first asked for."""
        return projection(*self._tokenizers)

    @functools.cached_property
    def paired(self) -> tuple[Tensor, Tensor]:
        """Tokens that the heaviest entries of that matrix pair; see `Projection.relaxed`."""
        return self.projection.relaxed()

    def _count(self) -> None:
        self._counted = True
        examples, pivot_rows, source_rows = self._texts
        for k in sampled([len(row.ids) - row.prompt_length for row in pivot_rows[: len(examples)]], COUNTED):
            pivot, source = pivot_rows[k], source_rows[k]
            text = examples[k].response.encode()
            answer = source.answer
            for place, (i, start) in enumerate(zip(pivot.answer, starts_of(pivot.ends))):
                if start != UNKNOWN:
                    first = place == 0 and self._pieces.marks_start
                    for n in range(1, min(PREFIX, len(text) - start) + 1):
                        self._by_text[first, text[start : start + n]][i] += 1
            for p, s in matched_starts(pivot.ends, source.ends):
                first = p == 0 and self._pieces.marks_start
                for n in range(1, min(SEQUENCE, len(answer) - s) + 1):
                    self._by_sequence[first, tuple(answer[s : s + n])][pivot.answer[p]] += 1

    def row(self, before: tuple[int, ...], token: int, first: bool = False) -> list[tuple[int, float]]:
        """Pivot tokens, with shares, that start where the source writes `before` and then `token`.

        Empty where the text has no pivot token (a mark that the pivot lacks).  `first` says that the text begins an
        answer.
        """
        first = first and self._pieces.marks_start
        key = (before, token, first)
        if key not in self._rows:
            if not self._counted:
                self._count()
            if len(self._rows) >= REMEMBERED:
                self._rows.clear()
            counts = self._counts((*before, token), first)
            total = sum(counts.values())
            self._rows[key] = [(i, c / total) for i, c in counts.items()]
        return self._rows[key]

    def _counts(self, sequence: tuple[int, ...], first: bool) -> Counter[int]:
        pieces = [self._spelled[i] if i < len(self._spelled) else None for i in sequence]
        if pieces[0] is None:
            mark = self._marks.get(sequence[0])  # never text, whatever was counted
            return Counter() if mark is None else Counter([mark])
        counts = self._by_sequence.get((first, sequence))
        if counts:
            return counts
        known = pieces.index(None) if None in pieces else len(pieces)
        text = b"".join(piece for piece in pieces[:known] if piece is not None)
        if known == len(pieces):
            counts = self._by_text.get((first, text[:PREFIX]))
        return counts or Counter(self._pieces.of(text, first))

    def targets(self, pivot: Encoded, source: Encoded, signal: Signal, keep: int = 0) -> Targets:
        """Carry a signal into the pivot's vocabulary.

        Parameters
        ----------
        pivot, source : Encoded
            One example under both tokenizers.
        signal : Signal
            The source's output on it.
        keep : int
            Pivot tokens kept a position; 0 keeps all that have mass.

        Returns
        -------
        Targets
            For equal tokenizers the signal itself, unchanged.

        Notes
        -----
        Cost: O(P K) look-ups, P matched positions and K kept logits; no model is run.
        """
        pairs = self._pairs(pivot, source, signal)
        where = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
        if self._equal(pivot, source):
            kept = signal.kept
            width = kept.ids.shape[1] if keep <= 0 else min(keep, kept.ids.shape[1])
            ids, probs = kept.ids[where[:, 1], :width], kept.probs[where[:, 1], :width]
            return Targets(where[:, 0], where[:, 1], ids, probs, (1 - probs.sum(1)).clamp_min(0.0))
        ids, probs = signal.kept.ids.tolist(), signal.kept.probs.tolist()
        gold = signal.gold.exp().tolist()
        found = [self._carry(pivot.ends[p], s, source, ids, probs, gold, p == 0) for p, s in pairs]
        return _pack(where, found, keep)

    def matched(self, pivot: Encoded, source: Encoded, signal: Signal) -> Targets:
        """Only the matched positions, for parts that carry nothing: every target is empty, its whole mass the tail."""
        where = torch.tensor(self._pairs(pivot, source, signal), dtype=torch.long).reshape(-1, 2)
        return _pack(where, [{} for _ in where], 0)

    def _equal(self, pivot: Encoded, source: Encoded) -> bool:
        return self.same and pivot.answer == source.answer

    def _pairs(self, pivot: Encoded, source: Encoded, signal: Signal) -> list[tuple[int, int]]:
        """Positions that match; under equal tokenizers all of them, also inside a character of several tokens."""
        size = len(signal.gold)
        if self._equal(pivot, source):
            return [(t, t) for t in range(size)]
        return [(p, s) for p, s in matched_starts(pivot.ends, source.ends) if s < size]

    def _carry(
        self,
        end: int,
        first: int,
        source: Encoded,
        ids: list[list[int]],
        probs: list[list[float]],
        gold: list[float],
        opens: bool,
    ) -> dict[int, float]:
        """Distribution over pivot tokens from the source token `first` on; the pivot's own token ends at `end`.

        `opens` says that the answer begins there.
        """
        answer, ends = source.answer, source.ends
        carried: defaultdict[int, float] = defaultdict(float)
        mass, t = 1.0, first
        while True:
            before = tuple(answer[first:t])
            follow = t + 1 < len(gold) and ends[t] < end
            if not follow and t + 1 < len(gold) and t - first < LOOK_AHEAD:
                shares = self.row(before, answer[t], opens)
                follow = bool(shares) and max(share for _, share in shares) < SURE
            for i, p in zip(ids[t], probs[t]):
                if p * mass < NEGLIGIBLE or (follow and i == answer[t]):
                    continue
                for j, share in self.row(before, i, opens):
                    carried[j] += mass * p * share
            if not follow:
                return carried
            mass *= gold[t]
            t += 1


def sampled(sizes: Sequence[int], most: int) -> list[int]:
    """Numbers of the examples that are counted on, in order: all, or a sample drawn with a fixed seed.

    Parameters
    ----------
    sizes : sequence of int
        Tokens of each example.
    most : int
        Tokens of the sample, exceeded by at most one example.

    Examples
    --------
    >>> sampled([5, 5, 5], 100), len(sampled([5] * 1000, 100))
    ([0, 1, 2], 20)
    """
    order = list(range(len(sizes)))
    if sum(sizes) <= most:
        return order
    random.Random(0).shuffle(order)
    taken, total = [], 0
    for k in order:
        if total >= most:
            break
        taken.append(k)
        total += sizes[k]
    return sorted(taken)


def _pack(where: Tensor, found: list[dict[int, float]], keep: int) -> Targets:
    ranked = [sorted(one.items(), key=lambda item: -item[1]) for one in found]
    if keep > 0:
        ranked = [one[:keep] for one in ranked]
    width = max((len(one) for one in ranked), default=0)
    ids = torch.zeros(len(ranked), width, dtype=torch.long)
    probs = torch.zeros(len(ranked), width)
    for k, one in enumerate(ranked):
        if one:
            ids[k, : len(one)] = torch.tensor([i for i, _ in one])
            probs[k, : len(one)] = torch.tensor([p for _, p in one])
    return Targets(where[:, 0], where[:, 1], ids, probs, (1 - probs.sum(1)).clamp_min(0.0))
