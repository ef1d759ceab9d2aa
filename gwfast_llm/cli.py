"""What the commands share: one parser for configurations, and one line instead of a traceback for a user's mistake."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
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
from gwfast_llm.errors import FusionError
from gwfast_llm.interruption import as_keyboard

MISTAKE, INTERRUPTED = 2, 130


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
    parser = _Parser(prog=f"python -m gwfast_llm.{command}", description=description)
    parser.add_argument("--config", action="config", help="YAML file with the options below; later flags win")
    parser.add_argument("--pivot", type=ModelConfig | None, default=None, help="model to fuse into")
    parser.add_argument("--sources", type=list[SourceConfig], default=[], help="models to fuse")
    parser.add_argument("--data", type=DataConfig | None, default=None, help="examples")
    parser.add_argument("--objective", type=ObjectiveConfig, default=ObjectiveConfig(), help="the loss")
    parser.add_argument("--train", type=TrainConfig, default=TrainConfig(), help="optimisation")
    parser.add_argument("--lora", type=LoraConfig, default=LoraConfig(), help="low-rank adapters")
    return parser


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
    raw = parser.parse_args(list(sys.argv[1:] if arguments is None else arguments))
    options: Any = parser.instantiate(raw)
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
    return options, FuseConfig(pivot, data, list(options.sources), options.objective, options.train, options.lora)


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
