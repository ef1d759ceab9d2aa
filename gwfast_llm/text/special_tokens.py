"""Which tokens are marks and not text, which of them end an answer, and which mean the same in two vocabularies."""

from __future__ import annotations

import re
from typing import Any
from weakref import WeakKeyDictionary

from gwfast_llm.text.templates import TemplateError, has_template, render

ANSWER = "\x02"  # stands for an answer in a rendered conversation
_NAMES = r"(?:think\w*|thought|reason\w*|tools?|tool_?\w*|function\w*|mask|pad|unk|unused_?\d+|reserved\w*)"
# marks of reserved shape, and the usual names of those that frame thoughts and calls of tools
_MARK = re.compile(rf"[<\[](?:[|｜].*[|｜]|/?{_NAMES})[>\]]\Z", re.IGNORECASE | re.DOTALL)
_SHAPE = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")

_MARKS: WeakKeyDictionary = WeakKeyDictionary()
_CLOSING: WeakKeyDictionary = WeakKeyDictionary()


def _state(tokenizer: Any) -> tuple[Any, ...]:
    """What the findings depend on; a tokenizer can be changed after it is loaded."""
    return str(getattr(tokenizer, "chat_template", "")), len(tokenizer), tuple(tokenizer.all_special_ids)


def marks(tokenizer: Any) -> dict[int, str]:
    """Tokens that are never text: by the tokenizer's own table, by the chat template, or by their shape.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        Any fast tokenizer.

    Returns
    -------
    dict of int to str
        Id and spelling.  Added tokens that the table does not flag count where the chat template writes them or
        they look like marks (``<|...|>``, ``<think>``); others, such as runs of spaces or ``<table>``, are text.
    """
    key = _state(tokenizer)
    if _MARKS.get(tokenizer, (None,))[0] != key:
        template = str(getattr(tokenizer, "chat_template", None) or "")
        found = {i: str(tokenizer.convert_ids_to_tokens(i)) for i in tokenizer.all_special_ids}
        for i, added in tokenizer.added_tokens_decoder.items():
            written = bool(_SHAPE.fullmatch(added.content)) and added.content in template
            if added.special or written or _MARK.match(added.content):
                found[i] = added.content
        closing = closing_token(tokenizer)
        if closing is not None:
            found[closing] = str(tokenizer.convert_ids_to_tokens(closing))
        _MARKS[tokenizer] = key, found
    return _MARKS[tokenizer][1]


def closing_token(tokenizer: Any) -> int | None:
    """Token that the chat template writes after an answer; None where there is no template or it writes none.

    Found by rendering a conversation and reading what follows the answer, whatever the token is called and whether
    it is flagged as special or not.
    """
    key = _state(tokenizer)
    if _CLOSING.get(tokenizer, (None,))[0] != key:
        _CLOSING[tokenizer] = key, _closing(tokenizer)
    return _CLOSING[tokenizer][1]


def _closing(tokenizer: Any) -> int | None:
    if not has_template(tokenizer):
        return None
    user, answer = {"role": "user", "content": "a"}, {"role": "assistant", "content": ANSWER}
    system = {"role": "system", "content": "b"}
    for turns in ([user, answer], [system, user, answer]):
        found = _after(tokenizer, turns)
        if found:
            return found[0]
    # some templates close a turn only where another follows: the first of several marks there
    found = _after(tokenizer, [user, answer, {"role": "user", "content": "c"}], "c")
    return found[0] if len(found) > 1 else None


def _after(tokenizer: Any, turns: list[dict[str, str]], until: str = "") -> list[int]:
    """Marks that follow the answer directly in a rendered conversation."""
    try:
        rest = render(tokenizer, turns, prompt=False).rpartition(ANSWER)[2]
    except TemplateError:
        return []
    if until:
        rest = rest.rpartition(until)[0]
    ids = tokenizer(rest.strip(), add_special_tokens=False)["input_ids"] if rest.strip() else []
    added, special = tokenizer.added_tokens_decoder, set(tokenizer.all_special_ids)

    def is_mark(i: int) -> bool:
        return i in special or i in added or bool(_SHAPE.fullmatch(str(tokenizer.convert_ids_to_tokens(i))))

    return [i for i in ids if is_mark(i)] if ids and is_mark(ids[0]) else []


def stop_tokens(tokenizer: Any, chat: bool) -> list[int]:
    """Tokens that end an answer, first the one that closes the rows of such data.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        Any fast tokenizer.
    chat : bool
        Whether the data are conversations.

    Returns
    -------
    list of int
        The closing token of the chat template and the end of the sequence; one where they are the same, none where
        there are none.
    """
    ends = [closing_token(tokenizer), tokenizer.eos_token_id]
    ordered = ends if chat else ends[::-1]
    return list(dict.fromkeys(i for i in ordered if i is not None))


def mark_map(pivot: Any, source: Any, chat: bool) -> dict[int, int]:
    """Marks of a source and the pivot's marks of the same meaning.

    Parameters
    ----------
    pivot, source : transformers.PreTrainedTokenizerFast
        The two tokenizers.
    chat : bool
        Whether the data are conversations.

    Returns
    -------
    dict of int to int
        The end of a turn goes to the end of a turn and the end of a sequence to that of a sequence, or to the only
        end there is; other marks to the pivot's mark of that name.  Marks that the pivot lacks are left out.
    """
    own = {text: i for i, text in marks(pivot).items() if i != pivot.unk_token_id}
    found = {i: own[text] for i, text in marks(source).items() if text in own and i != source.unk_token_id}
    theirs, ours = stop_tokens(source, chat), stop_tokens(pivot, chat)
    for place, i in enumerate(theirs):
        if ours:
            found[i] = ours[min(place, len(ours) - 1)]
        else:
            found.pop(i, None)
    return found
