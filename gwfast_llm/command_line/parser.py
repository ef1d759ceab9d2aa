"""What the commands share: one parser for configurations, and one line instead of a traceback for a user's mistake."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
import typing
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

from jsonargparse import ArgumentParser

from gwfast_llm.config import (
    DataConfig,
    FuseConfig,
    LoraConfig,
    ModelConfig,
    ObjectiveConfig,
    SourceConfig,
    TrainConfig,
)
from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.interruption import as_keyboard
from gwfast_llm.system.values import check_value, plain_data, read_file, shown, unknown

MISTAKE, INTERRUPTED = 2, 130
LARGEST_STEPS = 2**53


_CHOICE = re.compile(r'Parser key "([\w.]+)": Expected a typing\.Literal\[(.+?)\]\. Got value: (\S+)')
_SAID = re.compile(r"--([\w.]+) (is '\S+'; expected one of \w+(?:, \w+)*)")  # by the parser of a part
_OUTER = re.compile(r'Parser key "([\w.]+)"')


class _Parser(ArgumentParser):
    def error(self, message: str, ex: Exception | None = None) -> None:  # type: ignore[override]
        raise FusionError(in_words(" ".join(str(message).split())))


def in_words(message: str) -> str:
    """The parser's message; where a value is none of those allowed, the field, what was found and what is expected.

    Examples
    --------
    >>> said = 'Parser key "pivot": Parser key "dtype": Expected a typing.Literal[0, 1]. Got value: c'
    >>> in_words(said)
    "--pivot.dtype is 'c'; expected one of 0, 1"
    """
    outer, said, choice = _OUTER.match(message), _SAID.search(message), _CHOICE.search(message)
    if said:
        return f"--{outer.group(1) + '.' if outer else ''}{said.group(1)} {said.group(2)}"
    if choice:
        field, allowed, found = choice.groups()
        name = field if outer and outer.group(1) == field else f"{outer.group(1) + '.' if outer else ''}{field}"
        return f"--{name} is {found!r}; expected one of {allowed.replace(chr(39), '')}"
    return message


def config_parser(command: str, description: str) -> ArgumentParser:
    """Parser of a command that takes a fusion configuration as file, flags or both.

    Parameters
    ----------
    command : str
        Name of the module.
    description : str
        Shown by ``--help``.

    Returns
    -------
    jsonargparse.ArgumentParser
    """
    parser = _Parser(prog=f"python -m gwfast_llm.{command}", description=description, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file with the options below; later flags win")
    parser.add_argument("--pivot", type=ModelConfig | None, default=None, help="model to fuse into")
    parser.add_argument("--sources", type=list[SourceConfig], default=[], help="models to fuse")
    parser.add_argument("--data", type=DataConfig | None, default=None, help="examples")
    parser.add_argument("--objective", type=ObjectiveConfig, default=ObjectiveConfig(), help="the loss")
    parser.add_argument("--train", type=TrainConfig, default=TrainConfig(), help="optimisation")
    parser.add_argument("--lora", type=LoraConfig, default=LoraConfig(), help="low-rank adapters")
    return parser


SECTIONS: dict[str, Any] = {
    "pivot": ModelConfig,
    "sources": list[SourceConfig],
    "data": DataConfig,
    "objective": ObjectiveConfig,
    "train": TrainConfig,
    "lora": LoraConfig,
}


def checked(arguments: Sequence[str], parser: ArgumentParser) -> list[str]:
    """The command line with every configuration file written out as flags, all of them checked.

    The parser itself never reads a file and is never given a record with other fields than ours: what it would do with
    a ``class_path`` is to import it.

    Raises
    ------
    FusionError
        One line that names the field.
    """
    found: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        if not argument.startswith("--"):
            found.append(argument)
            continue
        name, given, value = argument[2:].partition("=")
        root = name.partition(".")[0].rstrip("+")
        if name == "config" or root in SECTIONS:
            if not given:
                if not left or left[0].startswith("--"):
                    raise FusionError(f"--{name} has no value")
                value = left.pop(0)
            found += _from_file(value, parser) if name == "config" else _flags(name, value)
        elif f"--{name}" not in parser._option_string_actions:
            # argparse would accept the beginning of a name, and read a file that nobody checked
            nested = sorted({action.dest for action in parser._actions if "." in action.dest})
            near = get_close_matches(name, nested, 1)  # said only where it is near: there are many
            raise FusionError(unknown(f"--{name}", name, near or [*_plain_names(parser), "config", *SECTIONS]))
        else:
            found.append(argument)
    for section, needed in (("pivot", "model"), ("data", "train")):
        given = [one for one in found if one.startswith(f"--{section}.")]
        if given and not any(one.startswith(f"--{section}.{needed}=") for one in given):
            raise FusionError(f"--{section}.{needed} is missing")
    return found


def _plain_names(parser: ArgumentParser) -> list[str]:
    """Options that belong to the command alone."""
    own = {action.dest for action in parser._actions if "." not in action.dest}
    return sorted(own - {"help", "config", "print_config", *SECTIONS})


def _flags(name: str, value: str) -> list[str]:
    """A flag of a section, or one for each field of its record, once the value is known to be of the field's type."""
    path = name.removesuffix("+").split(".")
    if any("+" in part for part in path):
        plain = name.replace("+", "")
        instead = "did you mean --" + plain if path[0] != "sources+" else "give a whole record: --sources+ '{model: x}'"
        raise FusionError(f"--{name} is no option; {instead}")
    kind = SECTIONS[path[0]]
    for place, part in enumerate(path[1:], 1):
        record = typing.get_args(kind)[0] if typing.get_origin(kind) is list else kind
        hints = typing.get_type_hints(record) if dataclasses.is_dataclass(record) else {}
        if not hints:
            raise FusionError(
                f"--{name} is no option; {'.'.join(path[:place])} takes one value, such as --{'.'.join(path[:place])} x"
            )
        if part not in hints:
            raise FusionError(unknown(f"--{'.'.join(path[: place + 1])}", part, hints))
        kind = hints[part]
    if name.endswith("+") and typing.get_origin(kind) is not list:
        raise FusionError(f"--{name} is no option, as there is no list to add to; did you mean --{name[:-1]}")
    if kind is not str and typing.get_origin(kind) is not typing.Literal:
        try:
            content = plain_data(value)
        except FusionError as problem:
            raise FusionError(f"--{name}: {problem}") from None
        if name.endswith("+") and isinstance(content, dict):
            content = [content]
        if name in SECTIONS:
            return _section(name, content, f"--{name}")
        content = _rounded(name, content)
        check_value(content, kind, f"--{name}")
        value = json.dumps(content)
    else:
        check_value(value, kind, f"--{name}")
    return [f"--{name}={value}"]


def _from_file(path: str, parser: ArgumentParser) -> list[str]:
    """The fields of a file as flags."""
    content = read_file(path)
    plain = _plain_names(parser)
    found = []
    for name, value in content.items():
        where = f"--config {path}: "
        if name not in plain and name not in SECTIONS:
            more = "; a file includes no other" if name in ("config", "cfg") else ""
            raise FusionError(where + unknown(name, name, [*SECTIONS, *plain]) + more)
        try:
            if name in SECTIONS:
                found += _section(name, value, name)
            else:
                found += _plain(name, value)
        except FusionError as problem:
            raise FusionError(where + str(problem)) from None
    return found


def _section(name: str, value: Any, where: str) -> list[str]:
    kind = SECTIONS[name]
    if value is None and kind in (ModelConfig, DataConfig):
        return []  # as --print_config writes what is not given
    if isinstance(value, dict):
        value = {field: _rounded(f"{name}.{field}", own) for field, own in value.items()}
    check_value(value, kind, where)
    if not isinstance(value, dict):
        return [f"--{name}={json.dumps(value)}"]
    return [f"--{name}.{field}={own if isinstance(own, str) else json.dumps(own)}" for field, own in value.items()]


ROUNDED = ("train.save_every",)  # numbers of steps that need not be exact


def _rounded(name: str, value: Any) -> Any:
    """A number of steps, rounded with a note where it is no whole number; other values as they are."""
    if name not in ROUNDED or not isinstance(value, float) or not 0 < value < LARGEST_STEPS:
        return value
    whole = max(1, round(value))
    if whole != value and int(os.environ.get("RANK", "0")) == 0:
        print(f"note: {name} {value:g} is rounded to {whole}", file=sys.stderr)
    return whole


def _plain(name: str, value: Any) -> list[str]:
    """An option that belongs to the command."""
    if isinstance(value, bool):
        return [f"--{name}"] if value else []
    if value is None or isinstance(value, dict) or (isinstance(value, list) and any(map(_is_nested, value))):
        raise FusionError(f"{name} is {shown(value)}; expected text or a number")
    return [f"--{name}={json.dumps(value) if isinstance(value, list) else value}"]


def _is_nested(value: Any) -> bool:
    return isinstance(value, (dict, list))


def parse(parser: ArgumentParser, arguments: Sequence[str] | None) -> tuple[Any, FuseConfig | None]:
    """Parse a command line.

    Returns
    -------
    options : Namespace
        Every option.
    config : FuseConfig or None
        The fusion, None where no pivot, sources and data were given.

    Raises
    ------
    FusionError
        One line that names the option.
    """
    options: Any = parser.parse_args(checked(list(sys.argv[1:] if arguments is None else arguments), parser))
    for name, kind in SECTIONS.items():
        options[name] = _made(options[name], kind)
    if options.pivot is None and options.data is None and not options.sources:
        defaults = (ObjectiveConfig(), TrainConfig(), LoraConfig())
        if (options.objective, options.train, options.lora) != defaults:
            raise FusionError(
                "--objective, --train and --lora belong to a fusion of your own models; give --pivot.model, --sources "
                "and --data.train too (the embedded default fixes its own objectives)"
            )
        return options, None
    pivot, data = options.pivot, options.data
    if pivot is None or data is None:
        field = "pivot.model" if pivot is None else "data.train"
        raise FusionError(f"--{field} is missing; a fusion needs a pivot, sources and data")
    if not data.train:
        raise FusionError("--data.train is empty; give a .jsonl or .parquet file, or a data set")
    return options, FuseConfig(pivot, data, list(options.sources), options.objective, options.train, options.lora)


def _made(value: Any, kind: Any) -> Any:
    """The records of a section; their own complaints reach the user as they are."""
    if value is None or dataclasses.is_dataclass(value):
        return value
    if typing.get_origin(kind) is list:
        return [_made(one, typing.get_args(kind)[0]) for one in value]
    return kind(**(value if isinstance(value, dict) else vars(value)))


def guard(work: Callable[[], int]) -> int:
    """Run a command's work; a user's mistake becomes one line and exit code 2, a signal that stops it one and 130."""
    try:
        with as_keyboard():
            return work()
    except FusionError as mistake:
        _end_bars()
        print(f"error: {mistake}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt as stop:
        _end_bars()
        if int(os.environ.get("RANK", "0")) == 0:
            print(f"\nstopped; {stop}".removesuffix("; "), file=sys.stderr)
        return INTERRUPTED


def _end_bars() -> None:
    """Close progress bars, so that a message has a line of its own."""
    for module in (sys.modules.get("tqdm"), sys.modules.get("tqdm.auto")):
        for bar in list(getattr(getattr(module, "tqdm", None), "_instances", ())):
            bar.close()
