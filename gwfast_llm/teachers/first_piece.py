"""The first token of the pivot for bytes that a source writes."""

from __future__ import annotations

from typing import Any

from gwfast_llm.text.alignment import places_of_bytes
from gwfast_llm.text.examples import spelling


class FirstPiece:
    """Finds the pivot's token that begins a text, in the middle of an answer or at its start.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        The pivot's.

    Attributes
    ----------
    marks_start : bool
        Whether the tokenizer puts a space of its own before every text, as Llama 2 does.
    """

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        self._spelled = spelling(tokenizer)
        self._places: dict[bytes, int] | None = None
        self._longest = 0
        self.marks_start = any(self._adds_space(text) for text in ("a", "1"))

    def _adds_space(self, text: str) -> bool:
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._written(ids) == b" " + text.encode()

    def _written(self, ids: list[int]) -> bytes | None:
        pieces = [self._spelled[i] if i < len(self._spelled) else None for i in ids]
        return None if None in pieces else b"".join(piece for piece in pieces if piece is not None)

    def of(self, text: bytes, start: bool) -> list[int]:
        """The token, none where the vocabulary has no beginning of these bytes.

        Parameters
        ----------
        text : bytes
            May end inside a character.
        start : bool
            Whether an answer begins with it.

        Notes
        -----
        What the tokenizer cuts first, where its tokens spell the text; else, as where it puts a space before, the
        longest token whose bytes begin the text.
        """
        try:
            whole = text.decode()
        except UnicodeDecodeError as problem:
            cut = problem.start if problem.reason == "unexpected end of data" else 0
            whole = text[:cut].decode()
        ids = self._tokenizer(whole, add_special_tokens=False)["input_ids"] if whole else []
        if ids and (start or self._written(ids) == whole.encode()):
            return ids[:1]
        return self._by_bytes(text)

    def _by_bytes(self, text: bytes) -> list[int]:
        if self._places is None:
            self._places = places_of_bytes(self._tokenizer, self._spelled)
            self._longest = max(map(len, self._places), default=0)
        for size in range(min(len(text), self._longest), 0, -1):
            found = self._places.get(text[:size])
            if found is not None:
                return [found]
        return []
