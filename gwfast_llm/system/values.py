"""Configuration files and flags, read as plain data and checked against the records before anything else sees them.

Nothing in a file is a name to be imported or another file to be read: keys are the fields of `gwfast_llm.config`,
values are numbers, truth values, text, and lists and records of those.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import math
import os
import re
import stat
import types
import typing
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

import yaml

from gwfast_llm.system.errors import FusionError

LARGEST, DEEPEST = 2**20, 12  # bytes of a file, levels of nesting
LARGEST_NUMBER = 1e300
LONGEST_NAME, LONGEST_PATH = 255, 4095  # bytes
# numbers as people write them; YAML 1.1 takes 1e-5 for text
_FLOAT = re.compile(
    r"[-+]?(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d[\d_]*(?=[eE]))(?:[eE][-+]?\d+)?\Z"
    r"|[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z"
)


class _Loader(yaml.SafeLoader):
    """Plain data: no dates, no key twice."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in found if tag.rpartition(":")[2] not in ("timestamp", "float", "merge")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise FusionError(f"line {line}: {shown(key)} is no name of a field; put it in quotes if it is meant")
        if key in found:
            raise FusionError(f"line {line}: {key!r} is given twice")
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def plain_data(text: str) -> Any:
    """Read YAML text as plain data.

    Raises
    ------
    FusionError
        One line that says where it is something else: an alias, a tag, a key twice, nested too deep, no YAML.
    """
    try:
        _look_at_events(text)
        return yaml.load(text, _Loader)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        said = getattr(problem, "problem", None) or str(problem)
        raise FusionError(f"{where}no YAML ({' '.join(str(said).split())[:160]})") from None
    except FusionError:
        raise
    except (ValueError, OverflowError, RecursionError):
        raise FusionError("a number in it is too long, or it is nested too deep") from None


def _look_at_events(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, _Loader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise FusionError(f"line {line}: anchors and aliases (& and *) are not read; write the value out")
        if getattr(event, "tag", None):
            raise FusionError(f"line {line}: tags ({event.tag}) are not read; write plain values")
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
        if depth > DEEPEST:
            raise FusionError(f"line {line}: nested more than {DEEPEST} levels deep")


def read_file(path: str) -> dict[str, Any]:
    """Read a configuration file.

    Raises
    ------
    FusionError
        One line that names the file and what is wrong with it.
    """
    place = Path(in_home(path, "--config"))
    try:
        found = place.stat()
        if not stat.S_ISREG(found.st_mode):
            raise FusionError(f"--config {path} is no file; give a YAML file")
        if found.st_size > LARGEST:
            raise FusionError(f"--config {path} has {found.st_size} bytes; a configuration has at most {LARGEST}")
        text = place.read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as problem:
        if isinstance(problem, FusionError):
            raise
        why = "it is not UTF-8" if isinstance(problem, UnicodeDecodeError) else getattr(problem, "strerror", problem)
        raise FusionError(f"--config {path} cannot be read ({why}); give the path of a YAML file") from None
    try:
        content = plain_data(text)
    except FusionError as problem:
        raise FusionError(f"--config {path}: {problem}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise FusionError(f"--config {path} holds {shown(content)}; expected the fields pivot, sources, data, ...")
    return content


def shown(value: Any) -> str:
    """A value in messages."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "a record"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_value(value: Any, kind: Any, where: str) -> None:
    """Refuse a value that is not of the type of its field, at any depth.

    Parameters
    ----------
    value : object
        Plain data, or records of `gwfast_llm.config`.
    kind : type
        The field's annotation.
    where : str
        Name of the field in messages.

    Raises
    ------
    FusionError
        Naming the field, what was found and what is expected.
    """
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        wanted = [one for one in typing.get_args(kind) if one is not type(None)]
        if value is None and type(None) in typing.get_args(kind):
            return
        if len(wanted) == 1:
            check_value(value, wanted[0], where)
        elif not any(_fits(value, one, where) for one in wanted):
            raise FusionError(f"{where} is {shown(value)}; expected true, false, a number or text")
    elif dataclasses.is_dataclass(kind):
        if not isinstance(value, typing.cast(type, kind)):
            check_record(value, typing.cast(type, kind), where)
    elif origin is list:
        if not isinstance(value, list):
            raise FusionError(f"{where} is {shown(value)}; expected a list{_example(typing.get_args(kind)[0])}")
        for place, one in enumerate(value):
            name, each = f"{where.removeprefix('--')}[{place}]", typing.get_args(kind)[0]
            check_value(one, each, name)
            if isinstance(one, Mapping):
                _check_needed(one, each, name)
    elif origin is dict:
        if not isinstance(value, Mapping):
            raise FusionError(f"{where} is {shown(value)}; expected names with a value each")
        for name, one in value.items():
            check_value(name, typing.get_args(kind)[0], where)
            check_value(one, typing.get_args(kind)[1], f"{where}.{name}")
    elif origin is Literal:
        allowed = typing.get_args(kind)
        if not isinstance(value, str) or value not in allowed:
            raise FusionError(f"{where} is {shown(value)}; expected one of {', '.join(map(str, allowed))}")
    else:
        _check_scalar(value, kind, where)


def _fits(value: Any, kind: Any, where: str) -> bool:
    try:
        check_value(value, kind, where)
    except FusionError:
        return False
    return True


def _check_scalar(value: Any, kind: Any, where: str) -> None:
    if kind is bool:
        if not isinstance(value, bool):
            raise FusionError(f"{where} is {shown(value)}; expected true or false")
    elif kind is int:
        if isinstance(value, bool) or not isinstance(value, Integral) or abs(int(value)) >= 2**63:
            raise FusionError(f"{where} is {shown(value)}; expected a whole number")
    elif kind is float:
        number: Any = value if isinstance(value, Real) and not isinstance(value, bool) else math.nan
        if not -LARGEST_NUMBER < number < LARGEST_NUMBER:
            raise FusionError(f"{where} is {shown(value)}; expected a number")
    elif kind is str:
        if not isinstance(value, str):
            quotes = "" if value is None or isinstance(value, (list, tuple, Mapping)) else " (put it in quotes)"
            raise FusionError(f"{where} is {shown(value)}; expected text{quotes}")
        try:
            bad = "\0" in value or (not value.encode() and bool(value))
        except UnicodeEncodeError:
            bad = True
        if bad:
            raise FusionError(f"{where} is {shown(value)}; expected text that UTF-8 can write, without null characters")


def _example(kind: Any) -> str:
    if not dataclasses.is_dataclass(kind):
        return ""
    first = dataclasses.fields(kind)[0].name
    return f" of records with {first} and more, each after a dash"


def check_record(content: Any, record: type, where: str) -> None:
    """Refuse a record with unknown fields, without one that it needs, or with a value of another type."""
    fields = {field.name: field for field in dataclasses.fields(record)}
    first = next(iter(fields))
    if not isinstance(content, Mapping):
        hint = f": {first}: {content}" if isinstance(content, str) and len(content) < 60 else f" with {first} and more"
        raise FusionError(f"{where} is {shown(content)}; expected a record{hint}")
    for name in content:
        if name not in fields:
            raise FusionError(unknown(f"{where}.{name}", str(name), fields))
    hints = typing.get_type_hints(record)
    for name, value in content.items():
        check_value(value, hints[name], f"{where}.{name}")


def _check_needed(content: Mapping[str, Any], record: type, where: str) -> None:
    for field in dataclasses.fields(record):
        without = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if without and field.name not in content:
            raise FusionError(f"{where}.{field.name} is missing")


def unknown(where: str, name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """Say that a name is none of those known, with the nearest."""
    near = difflib.get_close_matches(name, list(known), 1)
    instead = f"did you mean {near[0]}" if near else f"expected one of {', '.join(known)}"
    return f"{where} is no option; {instead}"


def check_fields(record: Any, where: str) -> None:
    """Refuse a record made in Python whose values are not of the types of its fields."""
    hints = typing.get_type_hints(type(record))
    for field in dataclasses.fields(record):
        check_value(getattr(record, field.name), hints[field.name], f"{where}.{field.name}")


def expand_home(record: Any, where: str, *names: str) -> None:
    """Put the home folder in place of a leading ``~`` of these fields of a frozen record."""
    for name in names:
        value = getattr(record, name)
        found = in_home(value, f"{where}.{name}")
        if found.startswith("./~"):
            found = os.path.abspath(found)  # the name of a file, which pathlib would take for a home folder
        object.__setattr__(record, name, found)


def in_home(path: str, where: str) -> str:
    """A path with the home folder in place of a leading ``~``.

    Parameters
    ----------
    path : str
        As the user gave it.
    where : str
        The argument, for messages.

    Raises
    ------
    FusionError
        When there is no such home folder, or no file system can hold such a name.
    """
    if "\0" in path:
        raise FusionError(f"{where} is {shown(path)}; expected a path without null characters")
    found = os.path.expanduser(path)
    if found.startswith("~"):
        raise FusionError(f"{where} is {shown(path)}: there is no such home folder; write the path in full")
    parts = os.fsencode(found).split(b"/")
    if max(map(len, parts)) > LONGEST_NAME or len(parts) + sum(map(len, parts)) > LONGEST_PATH:
        raise FusionError(
            f"{where} is {shown(path)}: no file system holds so long a name; a name has at most {LONGEST_NAME} bytes, "
            f"a path {LONGEST_PATH}"
        )
    return found


def is_day(text: str) -> bool:
    """Whether a text is a day as 2026-01-31."""
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
