"""Examples, and what a tokenizer makes of them: ids, labels and the byte at which every answer token ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch

from gwfast_llm.config import DataConfig
from gwfast_llm.system.errors import FusionError
from gwfast_llm.text.alignment import byte_ends, vocabulary_bytes
from gwfast_llm.text.conversations import Turn
from gwfast_llm.text.openings import opened
from gwfast_llm.text.special_tokens import marks, stop_tokens
from gwfast_llm.text.templates import TemplateError, has_template, name_of, prints_date, today
from gwfast_llm.text.unwritten import unwritten

IGNORE = -100


@dataclass(frozen=True)
class Example:
    """A prompt and the answer to be learnt, as text.

    Attributes
    ----------
    prompt, response : str
        The response follows the prompt directly.
    task : str
        Group for the report, may be empty.
    log_prob : float or None
        True log-probability (nats) of the response where it is known.
    messages : tuple of (role, content) or (role, content, JSON of further fields)
        Conversation before the response, to be put into each model's chat template; replaces the prompt.
    tools : str
        Tools of the conversation, as JSON.
    line : int
        Where it was read, for messages; 0 where that is not known.
    """

    prompt: str
    response: str
    task: str = ""
    log_prob: float | None = None
    messages: tuple[Turn, ...] = ()
    tools: str = ""
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Encoded:
    """An example under one tokenizer.

    Attributes
    ----------
    ids : list of int
        Prompt tokens, then answer tokens (L of them in all).
    prompt_length : int
        Number of prompt tokens, at least 1.
    ends : list of int
        Byte of the answer at which each answer token ends (see `gwfast_llm.text.alignment`).
    cut : bool
        Whether the answer was cut to fit.
    """

    ids: list[int]
    prompt_length: int
    ends: list[int]
    cut: bool = False

    @property
    def answer(self) -> list[int]:
        """Ids of the answer tokens."""
        return self.ids[self.prompt_length :]

    @property
    def labels(self) -> list[int]:
        """Ids where the token belongs to the answer, `IGNORE` on the prompt."""
        return [IGNORE] * self.prompt_length + self.answer


_SPELLING: WeakKeyDictionary = WeakKeyDictionary()


def spelling(tokenizer: Any, with_marks: bool = False) -> list[bytes | None]:
    """`gwfast_llm.text.alignment.vocabulary_bytes` of a tokenizer, computed once."""
    own = _SPELLING.setdefault(tokenizer, {})
    key = with_marks, tuple(marks(tokenizer)), len(tokenizer)
    if key not in own:
        own[key] = vocabulary_bytes(tokenizer, with_marks)
    return own[key]


def prompt_text(example: Example, tokenizer: Any, date: str = "") -> str:
    """Prompt of an example as this model reads it: plain, or in its chat template (see `gwfast_llm.text.openings`).

    Raises
    ------
    TemplateError
        When a conversation meets a tokenizer without chat template, or the template refuses it.
    """
    if not example.messages:
        return example.prompt
    return opened(tokenizer, example.messages, example.tools, example.response, date or today())


def end_token_of(tokenizer: Any, chat: bool) -> int:
    """Token that closes an answer: the one that the chat template writes after it, else end-of-sequence.

    Raises
    ------
    FusionError
        When there is none.
    """
    found = stop_tokens(tokenizer, chat and has_template(tokenizer))
    if not found or (not chat and tokenizer.eos_token_id is None):
        raise FusionError(
            f"tokenizer {tokenizer.name_or_path!r} has no end-of-sequence token; use --data.end_token false"
        )
    return found[0]


def _prompts(examples: Sequence[Example], tokenizer: Any, date: str) -> list[list[int] | str]:
    """Tokens of every prompt; a reason in words where the template refuses it."""
    found: list[list[int] | str] = ["" for _ in examples]
    # a chat template writes its own special tokens
    for chat in (False, True):
        places, texts = [], []
        for k, example in enumerate(examples):
            if bool(example.messages) != chat:
                continue
            try:
                texts.append(prompt_text(example, tokenizer, date))
                places.append(k)
            except TemplateError as problem:
                found[k] = str(problem)
            except RecursionError:
                found[k] = "a value of the conversation is nested too deep"
        if texts:
            for k, ids in zip(places, tokenizer(texts, add_special_tokens=not chat)["input_ids"]):
                found[k] = list(ids)
    return found


def _encode(
    examples: Sequence[Example], tokenizer: Any, max_length: int | None, end_token: int | None, date: str = ""
) -> list[Encoded | str]:
    """Encoded examples; a reason in words where one cannot be used."""
    if not getattr(tokenizer, "is_fast", False):
        raise FusionError(
            f"tokenizer {getattr(tokenizer, 'name_or_path', '')!r} reports no character offsets; a fast tokenizer "
            "(tokenizer.json) is needed to align it with another: convert it with transformers' from_slow=True"
        )
    if not examples:
        return []
    prompts = _prompts(examples, tokenizer, date)
    answers = tokenizer([e.response for e in examples], add_special_tokens=False, return_offsets_mapping=True)
    table = spelling(tokenizer, with_marks=True)
    rows: list[Encoded | str] = []
    for k, example in enumerate(examples):
        prompt = prompts[k]
        if isinstance(prompt, str):
            rows.append(prompt)
            continue
        closed = example.messages or example.prompt.endswith(tokenizer.eos_token or "\0")
        if prompt and prompt[-1] == tokenizer.eos_token_id and not closed:
            prompt.pop()  # a tokenizer that closes every text would close the prompt before its answer
        ids = list(answers["input_ids"][k])
        if not prompt:
            rows.append(
                "the prompt has no tokens and the tokenizer adds none in front; the first answer token needs "
                "something before it: give a prompt or a tokenizer with BOS"
            )
            continue
        if not ids:
            rows.append("the answer is empty; drop it or give an answer")
            continue
        ends = byte_ends(example.response, answers["offset_mapping"][k], [table[i] for i in ids])
        if end_token is not None:
            ids.append(end_token)
            ends.append(len(example.response.encode()) + 1)
        room = len(ids) if max_length is None else max_length - len(prompt)
        if room < 1:
            rows.append(
                f"the prompt alone has {len(prompt)} tokens, max_length is {max_length}; raise max_length or drop it"
            )
            continue
        rows.append(Encoded(prompt + ids[:room], len(prompt), ends[:room], cut=len(ids) > room))
    return rows


def encode_all(
    examples: Sequence[Example],
    tokenizer: Any,
    max_length: int | None = None,
    end_token: int | None = None,
    date: str = "",
) -> list[Encoded]:
    """Tokenize examples, prompt and answer apart so that no token straddles the border.

    Parameters
    ----------
    examples : sequence of Example
        What to tokenize.
    tokenizer : transformers.PreTrainedTokenizerFast
        A fast tokenizer (one that reports offsets).
    max_length : int, optional
        Answers are cut so that no more than this many tokens remain in all.
    end_token : int, optional
        Token that closes every answer; none by default.
    date : str
        Date that templates print, as 2026-01-31; today's where empty.

    Returns
    -------
    list of Encoded
        In the order of `examples`.

    Raises
    ------
    FusionError
        When the tokenizer has no offsets or chat template, a prompt is empty of tokens or an answer is.
    """
    rows = []
    for k, row in enumerate(_encode(examples, tokenizer, max_length, end_token, date)):
        if isinstance(row, str):
            raise FusionError(f"{_place(k, examples[k])}: {row}")
        rows.append(row)
    return rows


def _place(k: int, example: Example) -> str:
    return f"example {k} (line {example.line})" if example.line else f"example {k}"


def with_chat(examples: Sequence[Example]) -> list[Example]:
    """Prompts as the one message of a user, to be put into each model's chat template."""
    return [e if e.messages else replace(e, prompt="", messages=(("user", e.prompt),)) for e in examples]


@dataclass(frozen=True)
class Prepared:
    """A data set under several tokenizers.

    Attributes
    ----------
    examples : list of Example
        Those that every tokenizer can use.
    rows : list of list of Encoded
        One list a tokenizer.
    notes : list of str
        What was dropped or cut, in words.
    """

    examples: list[Example]
    rows: list[list[Encoded]]
    notes: list[str]


def prepare(examples: Sequence[Example], tokenizers: Sequence[Any], config: DataConfig) -> Prepared:
    """Tokenize a data set under every tokenizer, keeping the examples in step.

    Parameters
    ----------
    examples : sequence of Example
        The data set.
    tokenizers : sequence of transformers.PreTrainedTokenizerFast
        The pivot's and the sources'.
    config : DataConfig
        Length, closing token, and whether bad examples are dropped.

    Returns
    -------
    Prepared

    Raises
    ------
    FusionError
        Naming the first bad example, unless they are to be dropped; when none is left.
    """
    if config.chat:
        examples = with_chat(examples)
    chat = any(e.messages for e in examples)
    encoded = []
    for tokenizer in tokenizers:
        end = end_token_of(tokenizer, chat) if config.end_token else None
        encoded.append(_encode(examples, tokenizer, config.max_length, end, config.date))
    reasons: Counter[str] = Counter()
    kept = []
    for k in range(len(examples)):
        bad = [row for row in (rows[k] for rows in encoded) if isinstance(row, str)]
        if bad and not config.drop_bad:
            raise FusionError(f"{_place(k, examples[k])}: {bad[0]} (--data.drop_bad leaves such examples out)")
        if bad:
            reasons[bad[0].split(";")[0].split(",")[0]] += 1
        else:
            kept.append(k)
    if not kept:
        raise FusionError(f"no example can be used: {reasons.most_common(1)[0][0] if reasons else 'there are none'}")
    rows = [[row for k in kept if isinstance(row := own[k], Encoded)] for own in encoded]
    notes = [f"{count} examples left out: {reason}" for reason, count in reasons.items()]
    for tokenizer, own in zip(tokenizers, rows):
        cut = sum(row.cut for row in own)
        if cut:
            notes.append(f"{cut} of {len(own)} answers cut to {config.max_length} tokens under {name_of(tokenizer)}")
    used = [examples[k] for k in kept]
    notes += _mark_notes(rows, tokenizers, config.end_token) + _template_notes(used, tokenizers, config.date)
    return Prepared(used, rows, notes)


def _mark_notes(rows: Sequence[Sequence[Encoded]], tokenizers: Sequence[Any], closed: bool) -> list[str]:
    """Answers that hold a model's marks as text: that model reads a mark, the others its characters."""
    notes = []
    for tokenizer, own in zip(tokenizers, rows):
        names = {i: mark for i, mark in marks(tokenizer).items() if i != tokenizer.unk_token_id}
        texts = [row.answer[:-1] if closed and not row.cut else row.answer for row in own]
        found = Counter(names[i] for text in texts for i in set(text) if i in names)
        notes += [
            f"{count} of {len(own)} answers hold {mark} as text, which is a mark of {name_of(tokenizer)}"
            for mark, count in found.items()
        ]
    return notes


def _template_notes(examples: Sequence[Example], tokenizers: Sequence[Any], date: str) -> list[str]:
    """What the chat templates leave out of the conversations, and the date they print."""
    talks = [e for e in examples if e.messages]
    notes = []
    for tokenizer in tokenizers if talks else []:
        lost = Counter(what for e in talks for what in unwritten(tokenizer, e.messages, e.tools))
        notes += [
            f"{count} of {len(talks)} conversations hold {what}, which the chat template of {name_of(tokenizer)} does "
            "not write"
            for what, count in lost.items()
        ]
    if talks and any(map(prints_date, tokenizers)):
        notes.append(f"prompts hold the date {date or today()}, as chat templates print it (data.date sets another)")
    return notes


def pad_right(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Stack rows of different length into an integer tensor (B, L), filled up with `value` on the right."""
    length = max(len(row) for row in rows)
    return torch.tensor([[*row, *([value] * (length - len(row)))] for row in rows], dtype=torch.long)
