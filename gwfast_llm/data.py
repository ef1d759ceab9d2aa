"""Examples, and what a tokenizer makes of them: ids, labels and the byte at which every answer token ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch

from gwfast_llm.align import byte_ends, vocabulary_bytes
from gwfast_llm.config import DataConfig
from gwfast_llm.errors import FusionError

IGNORE = -100
Message = tuple[str, str]


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
    messages : tuple of (role, content)
        Conversation before the response, to be put into each model's chat template; replaces the prompt.
    """

    prompt: str
    response: str
    task: str = ""
    log_prob: float | None = None
    messages: tuple[Message, ...] = ()


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
        Byte of the answer at which each answer token ends (see `gwfast_llm.align`).
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


def spelling(tokenizer: Any) -> list[bytes | None]:
    """`gwfast_llm.align.vocabulary_bytes` of a tokenizer, computed once."""
    if tokenizer not in _SPELLING:
        _SPELLING[tokenizer] = vocabulary_bytes(tokenizer)
    return _SPELLING[tokenizer]


def prompt_text(example: Example, tokenizer: Any) -> str:
    """Prompt of an example as this model reads it: plain, or in its chat template.

    Raises
    ------
    FusionError
        When a conversation meets a tokenizer without chat template.
    """
    if not example.messages:
        return example.prompt
    if not tokenizer.chat_template:
        raise FusionError(
            f"tokenizer {tokenizer.name_or_path!r} has no chat template, the data holds conversations; "
            "use the instruction-tuned model, or prompts and responses with --data.chat false"
        )
    messages = [{"role": role, "content": content} for role, content in example.messages]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def end_token_of(tokenizer: Any, chat: bool) -> int:
    """Token that closes an answer: the first one of the chat template after it, else end-of-sequence.

    Raises
    ------
    FusionError
        When there is none.
    """
    if chat and tokenizer.chat_template:
        turn = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "\x02"}]
        rest = tokenizer.apply_chat_template(turn, tokenize=False).rpartition("\x02")[2].lstrip()
        ids = tokenizer(rest, add_special_tokens=False)["input_ids"]
        if ids and ids[0] in tokenizer.all_special_ids:
            return ids[0]
    if tokenizer.eos_token_id is None:
        raise FusionError(
            f"tokenizer {tokenizer.name_or_path!r} has no end-of-sequence token; use --data.end_token false"
        )
    return tokenizer.eos_token_id


def _encode(
    examples: Sequence[Example], tokenizer: Any, max_length: int | None, end_token: int | None
) -> list[Encoded | str]:
    """Encoded examples; a reason in words where one cannot be used."""
    if not getattr(tokenizer, "is_fast", False):
        raise FusionError(
            f"tokenizer {getattr(tokenizer, 'name_or_path', '')!r} reports no character offsets; a fast tokenizer "
            "(tokenizer.json) is needed to align it with another: convert it with transformers' from_slow=True"
        )
    if not examples:
        return []
    # a chat template writes its own special tokens
    prompts: list[list[int]] = [[] for _ in examples]
    for chat in (False, True):
        own = [k for k, e in enumerate(examples) if bool(e.messages) == chat]
        if own:
            texts = [prompt_text(examples[k], tokenizer) for k in own]
            for k, ids in zip(own, tokenizer(texts, add_special_tokens=not chat)["input_ids"]):
                prompts[k] = list(ids)
    answers = tokenizer([e.response for e in examples], add_special_tokens=False, return_offsets_mapping=True)
    table = spelling(tokenizer)
    rows: list[Encoded | str] = []
    for k, example in enumerate(examples):
        prompt = prompts[k]
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
    examples: Sequence[Example], tokenizer: Any, max_length: int | None = None, end_token: int | None = None
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
    for k, row in enumerate(_encode(examples, tokenizer, max_length, end_token)):
        if isinstance(row, str):
            raise FusionError(f"example {k}: {row}")
        rows.append(row)
    return rows


def with_chat(examples: Sequence[Example]) -> list[Example]:
    """Prompts as the one message of a user, to be put into each model's chat template."""
    return [e if e.messages else Example("", e.response, e.task, e.log_prob, (("user", e.prompt),)) for e in examples]


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
        encoded.append(_encode(examples, tokenizer, config.max_length, end))
    reasons: Counter[str] = Counter()
    kept = []
    for k in range(len(examples)):
        bad = [row for row in (rows[k] for rows in encoded) if isinstance(row, str)]
        if bad and not config.drop_bad:
            raise FusionError(f"example {k}: {bad[0]} (--data.drop_bad leaves such examples out)")
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
            name = str(tokenizer.name_or_path).rstrip("/").rsplit("/", 1)[-1]
            notes.append(f"{cut} of {len(own)} answers cut to {config.max_length} tokens under {name}")
    return Prepared([examples[k] for k in kept], rows, notes)


def pad_right(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Stack rows of different length into an integer tensor (B, L), filled up with `value` on the right."""
    length = max(len(row) for row in rows)
    return torch.tensor([[*row, *([value] * (length - len(row)))] for row in rows], dtype=torch.long)
