"""Positions of two tokenizers on the same text, by byte offsets.

Every token of an answer is given the byte of the answer's UTF-8 text at which it ends; a token starts where the one
before it ends.  Working with ends alone makes tokenizers agree that trim the leading space from their offsets and
those that do not.  The token that closes an answer (end of sequence, end of turn) counts as one byte after the text,
so two different closing tokens line up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from gwfast_llm.text.special_tokens import marks

UNKNOWN = -1  # end inside a character whose share of bytes is not known
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>\Z")


@lru_cache(maxsize=1)
def _byte_alphabet() -> dict[str, int]:
    """Printable character of the GPT-2 byte alphabet -> byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = {chr(b): b for b in plain}
    spare = 256
    for b in range(256):
        if chr(b) not in alphabet or b not in plain:
            alphabet[chr(spare)] = b
            spare += 1
    return alphabet


def is_byte_level(tokenizer) -> bool:
    """Whether the tokens of a fast tokenizer are spelled in the GPT-2 byte alphabet."""
    backend = tokenizer.backend_tokenizer
    return any("ByteLevel" in repr(stage) for stage in (backend.pre_tokenizer, backend.decoder) if stage)


def vocabulary_bytes(tokenizer, with_marks: bool = False) -> list[bytes | None]:
    """Bytes that each token id stands for in running text, None for marks and unused ids.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        Any fast tokenizer: byte-level, byte-fallback (``<0xE2>``), metaspace or plain.
    with_marks : bool
        Spell marks (see `gwfast_llm.text.special_tokens.marks`) too, as a text that holds them writes them.

    Returns
    -------
    list of bytes or None
        One entry per id, up to the largest id in use.

    Notes
    -----
    Cost: one pass over the vocabulary, about 0.1 s for V = 150 000.
    """
    never = marks(tokenizer)
    byte_level = is_byte_level(tokenizer)
    alphabet = _byte_alphabet()
    vocabulary = tokenizer.get_vocab()
    added = tokenizer.added_tokens_decoder
    table: list[bytes | None] = [None] * (max(vocabulary.values()) + 1)
    for text, i in vocabulary.items():
        if i in never:
            table[i] = text.encode() if with_marks else None
            continue
        match = _BYTE_TOKEN.match(text)
        if match:
            table[i] = bytes([int(match.group(1), 16)])
        elif byte_level and i not in added and all(c in alphabet for c in text):
            table[i] = bytes(alphabet[c] for c in text)
        elif byte_level and i in added:
            table[i] = text.encode()  # added tokens are written as they are
        else:
            table[i] = text.replace("▁", " ").encode()
    return table


def places_of_bytes(tokenizer, spelled: Sequence[bytes | None]) -> dict[bytes, int]:
    """Token of each spelling; a piece of the vocabulary rather than the byte token (``<0x61>``) of the same byte.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        Any fast tokenizer.
    spelled : sequence of bytes or None
        Its `vocabulary_bytes`.
    """
    spare = {i for text, i in tokenizer.get_vocab().items() if _BYTE_TOKEN.match(text)}
    order = sorted((i for i, piece in enumerate(spelled) if piece), key=lambda i: (i in spare, i), reverse=True)
    return {piece: i for i in order if (piece := spelled[i])}


def byte_ends(text: str, offsets: Sequence[tuple[int, int]], spelled: Sequence[bytes | None]) -> list[int]:
    r"""Byte of `text` at which each token ends.

    Parameters
    ----------
    text : str
        The text that was tokenized.
    offsets : sequence of (int, int)
        Character offsets reported by the tokenizer, one pair a token.
    spelled : sequence of bytes or None
        What each token spells (`vocabulary_bytes` of its id).

    Returns
    -------
    list of int
        Non-decreasing ends in bytes; the last is ``len(text.encode())``.  `UNKNOWN` where several tokens share one
        character and their spelling does not say how its bytes are split.

    Examples
    --------
    The euro sign is three bytes, here cut after the first:

    >>> byte_ends("a€", [(0, 1), (1, 2), (1, 2)], [b"a", b"\xe2", b"\x82\xac"])
    [1, 2, 4]
    """
    size = len(text.encode())
    if all(s is not None for s in spelled) and b"".join(s for s in spelled if s is not None) == text.encode():
        ends, at = [], 0
        for piece in spelled:
            at += len(piece or b"")
            ends.append(at)
        return ends
    prefix = [0]
    for character in text:
        prefix.append(prefix[-1] + len(character.encode()))
    ends = [prefix[stop] for _, stop in offsets]
    for j in range(len(ends) - 1):
        if offsets[j + 1][0] < offsets[j][1]:  # the next token starts inside this one's last character
            ends[j] = UNKNOWN
    if ends:
        ends[-1] = size
    return ends


def starts_of(ends: Sequence[int]) -> list[int]:
    """Starts of tokens from their ends: the first starts at 0, each later one where the one before it ends."""
    return [0, *ends[:-1]] if len(ends) else []


def matched_starts(pivot_ends: Sequence[int], source_ends: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs (pivot token, source token) that start at the same byte of the same text.

    Parameters
    ----------
    pivot_ends, source_ends : sequence of int
        Ends of the tokens of one answer under the two tokenizers.

    Returns
    -------
    list of (int, int)
        Indices into the answer's tokens, increasing in both.  The first token always matches.

    Examples
    --------
    >>> matched_starts([2, 5, 6], [1, 2, 6])  # cut as ab|cde|f and a|b|cdef
    [(0, 0), (1, 2)]
    """
    where = {start: j for j, start in reversed(list(enumerate(starts_of(source_ends)))) if start != UNKNOWN}
    return [(i, where[s]) for i, s in enumerate(starts_of(pivot_ends)) if s != UNKNOWN and s in where]
