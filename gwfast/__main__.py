"""The command line: python -m gwfast A B."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from dataclasses import replace

from gwfast.command.options import demo_parser, parser, readings
from gwfast.command.picture import draw, picture_file
from gwfast.command.printing import as_record, table
from gwfast.command.solving import check_limits, solve
from gwfast.command.warm import warm
from gwfast.errors import GWFastError
from gwfast.io import load


def compare(options: argparse.Namespace) -> None:
    """Read two spaces, match them, print the answer and draw it."""
    check_limits(options)
    picture = picture_file(options.plot) if options.plot else None
    first, second = (load(name, how) for name, how in zip((options.first, options.second), readings(options)))
    if first.name == second.name and options.first != options.second:  # files of one name in two folders
        first, second = replace(first, name=options.first), replace(second, name=options.second)
    answer = solve(options, first.space, second.space)
    if options.json:
        print(json.dumps(as_record(options, answer, first, second), allow_nan=False))
    else:
        print(table(options, answer, first, second))
    if picture is not None:
        draw(picture, answer.result, first, second)


def demo(options: argparse.Namespace) -> None:
    """Measure and draw the picture of the README."""
    picture_file(options.plot or "gwfast_demo.png")
    import matplotlib

    from gwfast.demo import main as measure

    matplotlib.use("Agg")
    measure(options.plot)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 for input that cannot be used."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if given[:1] == ["demo"]:
            demo(demo_parser().parse_args(given[1:]))
        elif given == ["warm"]:
            print(warm())
        else:
            compare(parser().parse_args(given))
    except GWFastError as error:
        print(f"gwfast: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("gwfast: interrupted", file=sys.stderr)
        return 130
    except MemoryError:
        print("gwfast: not enough memory; pass fewer points, or --method sorted", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"gwfast: {error.filename or ''}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    for library in ("PYTORCH", "JAX", "CUPY", "TENSORFLOW"):  # that POT would import and the command does not use
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{library}", "1")
    warnings.formatwarning = lambda message, *place: f"gwfast: {message}\n"  # one line, without the place in the code
    sys.exit(main())
