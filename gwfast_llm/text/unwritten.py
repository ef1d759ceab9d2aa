"""Parts of a conversation that a chat template does not write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from gwfast_llm.text.conversations import Turn, fields_of
from gwfast_llm.text.templates import TemplateError, render

SILENT = ("tool_call_id",)  # ids tie a result to its call; templates that keep the order need none
Shape = tuple[tuple[str, bool, tuple[str, ...]], ...]


def unwritten(tokenizer: Any, turns: Sequence[Turn], tools: str) -> tuple[str, ...]:
    """Name what the chat template of a tokenizer does not write of such a conversation.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        With its chat template.
    turns : sequence of Turn
        The conversation.
    tools : str
        Its tools as JSON, or empty.

    Returns
    -------
    tuple of str
        ``tools``, ``tool_calls``, ``name``, ``messages by 'system'``...; empty where everything is written.

    Notes
    -----
    A conversation of the same roles and fields is rendered once, with words of our own that are looked for.
    """
    shape = tuple((turn[0], bool(turn[1].strip()), tuple(sorted(fields_of(turn)))) for turn in turns)
    return _lost(tokenizer, str(tokenizer.chat_template), shape, bool(tools))


@lru_cache(maxsize=4096)
def _lost(tokenizer: Any, template: str, shape: Shape, tools: bool) -> tuple[str, ...]:
    messages, words = [], []
    for k, (role, filled, fields) in enumerate(shape):
        message: dict[str, Any] = {"role": role, "content": f"qz{k}content" if filled else ""}
        if filled:
            words.append((message["content"], f"messages by {role!r}"))
        for field in fields:
            word = f"qz{k}{field.replace('_', '')}"
            message[field] = _stand_in(field, word)
            if field not in SILENT:
                words.append((word, field))
        messages.append(message)
    given = None
    if tools:
        given = [_tool("qztool")]
        words.append(("qztool", "tools"))
    try:
        text = render(tokenizer, messages, tools=given)
    except TemplateError:
        return ()  # the conversation itself says what is refused
    return tuple(dict.fromkeys(what for word, what in words if word not in text))


def _stand_in(field: str, word: str) -> Any:
    if field == "tool_calls":
        return [{"type": "function", "id": "callcall0", "function": {"name": word, "arguments": {"a": "b"}}}]
    if field == "function_call":
        return {"name": word, "arguments": "{}"}
    return "callcall0" if field == "tool_call_id" else word


def _tool(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"a": {"type": "string", "description": "b"}}, "required": []}
    return {"type": "function", "function": {"name": name, "description": "c", "parameters": parameters}}


def parsed(tools: str) -> list[dict[str, Any]] | None:
    """Tools as templates take them."""
    return json.loads(tools) if tools else None
