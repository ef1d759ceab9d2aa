"""The chat template that a configuration chooses for a model, with the variables that it sets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gwfast_llm.system.errors import FusionError, one_line
from gwfast_llm.text.templates import name_of

Variables = Mapping[str, bool | int | float | str]
_NAME = re.compile(r"[A-Za-z_]\w*\Z")
RESERVED = ("messages", "tools", "documents", "add_generation_prompt", "strftime_now", "raise_exception")


def choose_template(tokenizer: Any, role: str, chosen: str, variables: Variables) -> None:
    """Give a tokenizer the template of its configuration.

    The variables become defaults at the head of the template, so that fingerprints, caches and the exported tokenizer
    hold them.  A program that renders the template may still give other values.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        Changed.
    role : str
        Of the model, for messages.
    chosen : str
        Name of one of its templates, or a file; empty for its own.
    variables : mapping of str to bool, int, float or str
        Variables of the template and their values.

    Raises
    ------
    FusionError
        When there is no such template, or a variable cannot be set.
    """
    if chosen:
        tokenizer.chat_template = _chosen(tokenizer, role, chosen)
    if not variables:
        return
    text = tokenizer.chat_template
    if isinstance(text, dict):
        text = text.get("default")
    if not text:
        raise FusionError(
            f"{role}: chat_template_kwargs sets {', '.join(variables)}, but {name_of(tokenizer)!r} has no chat "
            "template of its own; choose one with chat_template"
        )
    for name in variables:
        if not _NAME.match(name) or name in RESERVED:
            raise FusionError(f"{role}: chat_template_kwargs.{one_line(name)} is no variable that can be set")
        if not re.search(rf"\b{name}\b", text):
            raise FusionError(
                f"{role}: the chat template of {name_of(tokenizer)!r} has no variable {name!r}; leave it out of "
                "chat_template_kwargs"
            )
    heads = [
        f"{{%- if {name} is not defined %}}{{%- set {name} = {json.dumps(value)} %}}{{%- endif -%}}"
        for name, value in variables.items()
    ]
    tokenizer.chat_template = "".join(heads) + text


def _chosen(tokenizer: Any, role: str, chosen: str) -> str:
    named = tokenizer.chat_template if isinstance(tokenizer.chat_template, dict) else {}
    if chosen in named:
        return named[chosen]
    path = Path(chosen).expanduser()
    try:
        if path.is_file():
            return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise FusionError(f"{role}: chat_template {one_line(chosen)} cannot be read ({problem})") from None
    there = f"one of {', '.join(map(str, named))}, or a file" if named else "a file (the model names no templates)"
    raise FusionError(f"{role}: chat_template is {one_line(chosen)!r}; expected {there}")
