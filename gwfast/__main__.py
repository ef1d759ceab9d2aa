"""The command line: python -m gwfast A B."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from pathlib import Path

from gwfast.errors import GWFastError, InputError
from gwfast.io import BUILT_IN, Loaded, load
from gwfast.plot import plot_matching, pyplot
from gwfast.result import Result
from gwfast.schedule import EFFORTS
from gwfast.solve import entropic_gw, exact_gw, sorted_gw

METHODS = ("sorted", "exact", "entropic")


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of the command."""
    p = argparse.ArgumentParser(
        prog="python -m gwfast",
        description="Compare two graphs or cost matrices by Gromov-Wasserstein, with a proved interval.",
        epilog=f"A and B: .npy or .csv cost matrix, .csv edge list (source,target[,length]), .graphml, "
        f"or a built-in graph: {', '.join(BUILT_IN)}.  Example: python -m gwfast karate les_miserables",
    )
    p.add_argument("first", metavar="A")
    p.add_argument("second", metavar="B")
    p.add_argument("--method", choices=METHODS, default="sorted", help="solver (default: %(default)s)")
    p.add_argument("--effort", choices=EFFORTS, help="how far to climb the ladder of lower bounds (not for sorted)")
    p.add_argument("--rtol", type=float, metavar="R", help="relative gap to reach; implies --method exact")
    p.add_argument("--time-limit", type=float, metavar="S", help="seconds; the best so far is printed")
    p.add_argument(
        "--cost",
        choices=("shortest_path", "adjacency"),
        default="shortest_path",
        help="cost between graph nodes (default: %(default)s)",
    )
    p.add_argument(
        "--weight",
        help="edge attribute used as length; by default the third column of a .csv, and 1 for every other edge",
    )
    p.add_argument("--unweighted", action="store_true", help="count every edge as 1, also those of a .csv with lengths")
    p.add_argument("--plot", metavar="FILE", help="draw the matching into a .png, .pdf or .svg file")
    p.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    return p


def _solve(options: argparse.Namespace, first: Loaded, second: Loaded) -> Result:
    spaces = first.space, second.space
    limit, method = options.time_limit, options.method
    if options.rtol is not None:
        return exact_gw(*spaces, rtol=options.rtol, effort=options.effort, time_limit=limit, verbose=not options.json)
    if method == "exact":
        return exact_gw(*spaces, effort=options.effort, time_limit=limit)
    if method == "entropic":
        return entropic_gw(*spaces, effort=options.effort or "sort", time_limit=limit)
    if options.effort is not None or limit is not None:
        raise InputError("--effort, --time-limit: the sorted plan has a closed form; pass --method exact as well")
    return sorted_gw(*spaces)


def as_record(result: Result, first: Loaded, second: Loaded) -> dict[str, object]:
    """Return what the JSON output holds."""
    rows, cols, mass = result.plan.atoms()
    plan = [
        {"from": first.labels[i], "to": second.labels[k], "mass": w}
        for i, k, w in zip(rows.tolist(), cols.tolist(), mass.tolist())
    ]
    return {
        "first": first.name,
        "second": second.name,
        "solver": result.solver,
        "value": result.value,
        "lower": result.lower,
        "upper": result.upper,
        "gap": result.gap,
        "bounds": {b.theorem: b.value for b in result.certificate.bounds},
        "stop": result.stop.name,
        "seconds": result.seconds,
        "plan": plan,
        "read": {file.name: file.said for file in (first, second)},
    }


def _picture(path: str) -> Path:
    """Check where a picture goes, before the time that it takes to solve."""
    target = Path(path)
    if target.suffix not in (".png", ".pdf", ".svg"):
        raise InputError(f"--plot: expected a file ending in .png, .pdf or .svg, found {path!r}")
    if not target.parent.is_dir():
        raise InputError(f"--plot: no folder {str(target.parent)!r}; make it first")
    pyplot()
    return target


def _draw(target: Path, result: Result, first: Loaded, second: Loaded) -> None:
    import matplotlib

    matplotlib.use("Agg")
    # drawn beside the target and moved, so that a failure leaves no half-written picture
    temporary = str(target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}"))
    try:
        plot_matching(
            result,
            first.space,
            second.space,
            names=(first.name, second.name),
            graphs=(first.graph, second.graph),
            path=temporary,
        )
        os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 for input that cannot be used."""
    options = parser().parse_args(arguments)
    try:
        first = load(options.first, options.cost, options.weight, options.unweighted)
        second = load(options.second, options.cost, options.weight, options.unweighted)
        picture = _picture(options.plot) if options.plot else None
        result = _solve(options, first, second)
        if options.json:
            print(json.dumps(as_record(result, first, second)))
        else:
            read = "".join(f"{file.name}: {file.said}\n" for file in (first, second) if file.said)
            print(f"{first.name} against {second.name}\n{read}{result}")
        if picture is not None:
            _draw(picture, result, first, second)
    except GWFastError as error:
        print(f"gwfast: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("gwfast: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"gwfast: {error.filename or ''}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
