"""Conversations as data sets hold them: turns with tool calls, names, parts and empty contents, read into examples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gwfast_llm.system.values import shown

TEXT_PARTS = ("text", "input_text", "output_text")
CALLS = ("tool_calls", "function_call")
# further fields of a turn that chat templates write; others, such as dates and ratings, are not part of the text
FIELDS = (*CALLS, "name", "tool_call_id", "reasoning_content", "reasoning", "thinking")

DEEPEST = 64  # levels of tools and of the further fields of a turn

Turn = tuple[str, ...]  # role, content, and the further fields as JSON where there are some


class BadRow(Exception):
    """A row of a data set that cannot be used.

    Parameters
    ----------
    reason : str
        By which such rows are counted.
    detail : str
        What else is said where this row stops the run.
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason + detail)
        self.reason = reason


def read_turns(messages: Any, column: str) -> tuple[tuple[Turn, ...], Turn]:
    """Turns before the answer, and the answer's.

    Parameters
    ----------
    messages : object
        What the column holds.
    column : str
        Its name.

    Raises
    ------
    BadRow
        When it is no conversation, or its last turn is no text by the assistant.
    """
    if isinstance(messages, str) and messages.lstrip().startswith("["):
        try:
            messages = json.loads(messages)
        except (ValueError, RecursionError):
            messages = None
    if not isinstance(messages, (list, tuple)) or not all(isinstance(turn, Mapping) for turn in messages):
        raise BadRow(
            f"column {column!r} is not a conversation",
            "; expected a list of at least two objects with role and content",
        )
    turns = [_turn(turn) for turn in messages]
    if len(turns) < 2:
        raise BadRow(
            f"column {column!r} is not a conversation",
            "; expected a list of at least two objects with role and content",
        )
    last = turns[-1]
    if last[0] != "assistant":
        raise BadRow(f"the last message is by {last[0]!r}", "; expected the assistant's answer")
    if any(name in fields_of(last) for name in CALLS):
        raise BadRow("the last message calls a tool", "; only answers in words are trained on")
    return tuple(turns[:-1]), last


def _turn(message: Mapping[str, Any]) -> Turn:
    role = message.get("role")
    if not isinstance(role, str) or not role:
        raise BadRow(
            "this is not a conversation: a message has no role",
            f" (its fields: {', '.join(sorted(map(str, message))) or 'none'})",
        )
    further = {name: message[name] for name in FIELDS if message.get(name) not in (None, "", [], {})}
    content = message.get("content")
    if content is None and not any(name in further for name in CALLS):
        raise BadRow("this is not a conversation: a message has neither content nor tool calls", f" (by {role!r})")
    text = "" if content is None else _text(content)
    if not further:
        return role, text
    if "tool_calls" in further:
        further["tool_calls"] = [_call(call) for call in _listed(further["tool_calls"])]
    return role, text, _as_json(further, "a message", f" (by {role!r})")


def _as_json(value: Any, what: str, detail: str = "") -> str:
    """Write fields for a template; whatever reads them again gets through their levels."""
    if _deeper(value, DEEPEST):
        raise BadRow(f"{what} is nested too deep", f"; expected at most {DEEPEST} levels")
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        raise BadRow(f"{what} holds what JSON cannot say", detail) from None


def _deeper(value: Any, levels: int) -> bool:
    """Whether lists and records are nested more than so many levels deep."""
    if not isinstance(value, (list, tuple, Mapping)):
        return False
    inner = value.values() if isinstance(value, Mapping) else value
    return not levels or any(_deeper(one, levels - 1) for one in inner)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, (list, tuple)):
        raise BadRow(
            "this is not a conversation: the content of a message is no text", f" but {type(content).__name__}"
        )
    pieces = []
    for part in content:
        if isinstance(part, str):
            pieces.append(part)
            continue
        kind = part.get("type", "text") if isinstance(part, Mapping) else type(part).__name__
        text = part.get("text") if isinstance(part, Mapping) else None
        if kind not in TEXT_PARTS or not isinstance(text, str):
            raise BadRow(f"a message has a part of type {shown(kind)}", "; only text is read")
        pieces.append(text)
    return "".join(pieces)


def _listed(value: Any) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(call, Mapping) for call in value):
        raise BadRow("tool_calls is no list of objects")
    return value


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call whose arguments are an object, as templates expect them; servers write them as JSON."""
    made = dict(call)
    function = made.get("function")
    if isinstance(function, Mapping) and isinstance(function.get("arguments"), str):
        try:
            made["function"] = {**function, "arguments": json.loads(function["arguments"])}
        except (ValueError, RecursionError):
            return made
    return made


def read_tools(tools: Any) -> str:
    """Tools of a conversation as JSON, empty where there are none.

    Raises
    ------
    BadRow
        When they are no list of objects, or hold what JSON cannot say.
    """
    if isinstance(tools, str) and tools:
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError):
            raise BadRow("tools is no list of objects") from None
    if tools is None or tools == [] or tools == "":
        return ""
    if not isinstance(tools, (list, tuple)) or not all(isinstance(tool, Mapping) for tool in tools):
        raise BadRow("tools is no list of objects")
    return _as_json(tools, "tools")


def fields_of(turn: Turn) -> dict[str, Any]:
    """Further fields of a turn."""
    return json.loads(turn[2]) if len(turn) > 2 else {}


def as_messages(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Turns as templates take them."""
    return [{"role": turn[0], "content": turn[1], **fields_of(turn)} for turn in turns]
