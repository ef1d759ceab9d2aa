"""Chat templates: rendered with a fixed date, and every error they raise said in one line."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from gwfast_llm.system.errors import FusionError, one_line

DAY = "%Y-%m-%d"
_CLOCK = re.compile(r"""strftime_now\s*\(\s*(['"])([^'"]*)\1\s*\)""")


class TemplateError(FusionError):
    """A chat template that is missing, ambiguous, or refuses a conversation."""


def name_of(tokenizer: Any) -> str:
    """Last part of the name of a tokenizer, for messages."""
    return one_line(str(getattr(tokenizer, "name_or_path", "") or "unnamed")).rstrip("/").rsplit("/", 1)[-1]


def has_template(tokenizer: Any) -> bool:
    """Whether a tokenizer comes with a chat template."""
    return bool(getattr(tokenizer, "chat_template", None))


def render(
    tokenizer: Any,
    messages: Sequence[dict[str, Any]],
    prompt: bool = True,
    tools: Sequence[dict[str, Any]] | None = None,
    date: str = "",
) -> str:
    """Write a conversation as a model reads it.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        With its chat template.
    messages : sequence of dict
        Role, content and what else the template takes.
    prompt : bool
        End with what comes before an answer.
    tools : sequence of dict, optional
        Tools that the model may call.
    date : str
        What a template that prints today's date prints, as 2026-01-31; today's where empty.

    Raises
    ------
    TemplateError
        One line that names the model and what the template says.
    """
    own = name_of(tokenizer)
    if not has_template(tokenizer):
        raise TemplateError(
            f"tokenizer {own!r} has no chat template, the data holds conversations; use the instruction-tuned model, "
            "or prompts and responses with --data.chat false"
        )
    named = tokenizer.chat_template
    if isinstance(named, dict) and "default" not in named:
        raise TemplateError(
            f"tokenizer {own!r} has several chat templates ({', '.join(map(str, named))}) and none named default; keep "
            "one of them in the model's folder"
        )
    try:
        return tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            tools=list(tools) if tools else None,
            chat_template=_dated(tokenizer.get_chat_template(None, tools), date),
            tokenize=False,
            add_generation_prompt=prompt,
        )
    except Exception as problem:  # a template is a program and may raise any error
        said = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise TemplateError(f"the chat template of {own!r} refuses it: {said}") from None


def _dated(template: str, date: str) -> str:
    """The template with the day in place of every call that asks the clock."""
    if "strftime_now" not in template:
        return template
    day = datetime.datetime.strptime(date or today(), DAY)
    found = _CLOCK.sub(lambda call: repr(day.strftime(call.group(2))), template)
    if re.search(r"strftime_now\s*\(", found):
        raise ValueError("it asks the clock in a form that no date can be pinned in; write the date into the template")
    return found


_DATED: WeakKeyDictionary = WeakKeyDictionary()


def prints_date(tokenizer: Any) -> bool:
    """Whether the chat template of a tokenizer prints the date."""
    if not has_template(tokenizer):
        return False
    key = str(tokenizer.chat_template)
    if _DATED.get(tokenizer, ("", False))[0] != key:
        found = False
        for turns in _PROBES:
            try:
                found = found or len({render(tokenizer, turns, date=day) for day in ("1971-03-09", "2002-11-26")}) > 1
            except TemplateError:
                continue
        _DATED[tokenizer] = key, found
    return _DATED[tokenizer][1]


_PROBES = (
    ({"role": "user", "content": "a"},),
    ({"role": "system", "content": "b"}, {"role": "user", "content": "a"}),
)


@functools.lru_cache(maxsize=1)
def today() -> str:
    """Day on which this process first asked: it does not change at midnight."""
    return datetime.date.today().strftime(DAY)
