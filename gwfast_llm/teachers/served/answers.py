"""What a server says about a prompt, as a signal: checked against the example token by token.

Shapes: T tokens of a prompt, L answer tokens, K kept log-probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gwfast_llm.models.logits import TopK
from gwfast_llm.system.errors import FusionError
from gwfast_llm.teachers.signal import Signal
from gwfast_llm.text.examples import Encoded

Entry = dict[int, float]  # token and log-probability, of one position


class NoAnswer(FusionError):
    """What a server sent cannot be used for an example."""


@dataclass(frozen=True)
class Scored:
    """Log-probabilities of a prompt.

    Attributes
    ----------
    entries : sequence of Entry or None
        One a token of the prompt as the server cut it, with the token itself among them; None for the first.
    ids : sequence of int or None
        The prompt's tokens as the server read them, where it says.
    partial : bool
        Whether entries may lack tokens: a server that writes tokens as text writes some of them alike.
    """

    entries: Sequence[Entry | None]
    ids: Sequence[int] | None = None
    partial: bool = False


def shift_of(row: Encoded, scored: Scored, bos: int | None) -> int:
    """Number of tokens that the server put before the prompt, or left out: 1, 0 or -1.

    Raises
    ------
    NoAnswer
        When the server read other tokens than those of the example.
    """
    more = len(scored.entries) - len(row.ids)
    if scored.ids is None:
        if more not in (-1, 0, 1):
            raise NoAnswer(f"it read {len(scored.entries)} tokens where the tokenizer cuts {len(row.ids)}")
        return more
    read, own = list(scored.ids), list(row.ids)
    for shift, same in ((0, read == own), (1, read[:1] == [bos] and read[1:] == own), (-1, own[:1] == [bos])):
        if same and (shift >= 0 or own[1:] == read):
            return shift
    first = next((k for k, (a, b) in enumerate(zip(read, own)) if a != b), min(len(read), len(own)))
    raise NoAnswer(
        f"it read other tokens than the tokenizer of the configuration cuts, first at position {first}; give the "
        "tokenizer of the model that is served"
    )


def signal_of(row: Encoded, scored: Scored, keep: int, size: int, bos: int | None) -> Signal:
    """Kept log-probabilities of the answer of an example.

    Parameters
    ----------
    row : Encoded
        The example under the source's tokenizer.
    scored : Scored
        What the server said.
    keep : int
        Log-probabilities kept a token.
    size : int
        Tokens of the vocabulary.
    bos : int or None
        Token that marks the beginning of a text.

    Returns
    -------
    Signal
        Log-sum-exp is 0: raw logits are not known.  Where a position has fewer than `keep`, the rest is minus infinity.

    Raises
    ------
    NoAnswer
        When a position lacks its own token or too few are given, an id is outside the vocabulary, or the numbers are
        no log-probabilities.
    """
    shift = shift_of(row, scored, bos)
    values, ids, gold = [], [], []
    for place in range(row.prompt_length, len(row.ids)):
        entry = scored.entries[place + shift]
        own = row.ids[place]
        if entry is None or own not in entry:
            raise NoAnswer(f"position {place} has no log-probability of its own token {own}")
        if len(entry) < min(keep, size) and not scored.partial:
            raise NoAnswer(
                f"position {place} has {len(entry)} log-probabilities, objective.source_top_k is {keep}; lower it, or "
                "let the server give more (--max-logprobs of vLLM)"
            )
        _check(entry, size, place)
        largest = sorted(entry.items(), key=lambda item: (-item[1], item[0]))[:keep]
        ids.append([i for i, _ in largest] + [0] * (keep - len(largest)))
        values.append([v for _, v in largest] + [-math.inf] * (keep - len(largest)))
        gold.append(entry[own])
    own_values = torch.tensor(values, dtype=torch.float32)
    return Signal(TopK(own_values, torch.tensor(ids), torch.zeros(len(gold))), torch.tensor(gold, dtype=torch.float32))


def _check(entry: Entry, size: int, place: int) -> None:
    for i, value in entry.items():
        if not 0 <= i < size:
            raise NoAnswer(f"position {place} names token {i}; the tokenizer has {size}")
        if math.isnan(value) or value > 1e-3:
            raise NoAnswer(f"position {place} has {value!r} as a log-probability")
    total = sum(math.exp(value) for value in entry.values())
    if total > 1.01:
        raise NoAnswer(f"the probabilities of position {place} sum to {total:.3f}")


def read_entries(found: Any) -> list[Entry | None]:
    """Entries as vLLM writes ``prompt_logprobs``: a list with None first, then tokens with their log-probability.

    A position is an object of token ids, each with ``{"logprob": ...}`` or a number, or a list of records with
    ``token_id`` (or ``id``) and ``logprob``.

    Raises
    ------
    NoAnswer
        When it is none of these.
    """
    if not isinstance(found, Sequence) or isinstance(found, str) or not len(found):
        raise NoAnswer("prompt_logprobs is no list of positions")
    return [None if one is None else _entry(one) for one in found]


def _entry(one: Any) -> Entry:
    try:
        if isinstance(one, Mapping):
            # parquet makes every token a field of every position
            pairs = [(i, v) for i, v in one.items() if v is not None]
        else:
            pairs = [(r, None) if isinstance(r, (tuple, list)) else (r.get("token_id", r.get("id")), r) for r in one]
            pairs = [r if v is None else (r, v) for r, v in pairs]
        return {int(i): float(v["logprob"] if isinstance(v, Mapping) else v) for i, v in pairs}
    except (TypeError, ValueError, KeyError, AttributeError):
        raise NoAnswer("a position of prompt_logprobs is no record of tokens and log-probabilities") from None
