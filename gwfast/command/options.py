"""The arguments of the command, and what of them belongs to which file."""

from __future__ import annotations

import argparse

from gwfast.errors import InputError
from gwfast.io import BUILT_IN, Reading
from gwfast.method import EFFORTS
from gwfast.readers.content import KINDS
from gwfast.readers.formats import READERS

METHODS = ("exact", "sorted", "entropic")


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of the command."""
    p = argparse.ArgumentParser(
        prog="python -m gwfast",
        description="Compare two graphs, point sets or cost matrices by Gromov-Wasserstein, with a proved interval.",
        epilog=f"A and B: a file ending in {', '.join(READERS)} (also .gz), or a built-in graph: "
        f"{', '.join(BUILT_IN)}.  Examples: python -m gwfast karate les_miserables;  python -m gwfast demo",
    )
    p.add_argument("first", metavar="A")
    p.add_argument("second", metavar="B")
    p.add_argument("--method", choices=METHODS, default="exact", help="solver (default: %(default)s)")
    p.add_argument("--effort", choices=EFFORTS, help="how far to climb the ladder of lower bounds (not for sorted)")
    p.add_argument("--rtol", type=float, metavar="R", help="relative gap to reach; implies --method exact")
    p.add_argument("--time-limit", type=float, metavar="S", help="seconds; the best so far is printed")
    p.add_argument("--plot", metavar="FILE", help="draw the matching into a .png, .pdf or .svg file")
    p.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    files = p.add_argument_group("how files are read", "by default header and shape decide, and a line says how")
    one = files.add_mutually_exclusive_group()
    for kind, what in zip(KINDS, ("lists of edges", "costs", "adjacency matrices", "coordinates"), strict=True):
        one.add_argument(f"--{kind}", action="store_const", const=kind, dest="kind", help=f"read tables as {what}")
    files.add_argument("--first", choices=KINDS, dest="first_kind", help="read A as this")
    files.add_argument("--second", choices=KINDS, dest="second_kind", help="read B as this")
    graphs = p.add_argument_group("graphs")
    graphs.add_argument(
        "--cost",
        choices=("shortest_path", "adjacency"),
        default="shortest_path",
        help="cost between nodes (default: %(default)s)",
    )
    graphs.add_argument(
        "--weight",
        metavar="NAME",
        help="edge attribute used as length, A,B for one of each file; by default the third column of a table, and 1 "
        "for every other edge",
    )
    graphs.add_argument("--unweighted", action="store_true", help="count every edge as 1")
    graphs.add_argument("--undirected", action="store_true", help="ignore directions")
    graphs.add_argument("--directed", action="store_true", help="lists of edges have directions")
    graphs.add_argument("--largest-component", action="store_true", help="keep the largest connected component")
    graphs.add_argument("--unreachable", type=float, metavar="VALUE", help="distance of nodes that no path joins")
    return p


def demo_parser() -> argparse.ArgumentParser:
    """Return the argument parser of `python -m gwfast demo`."""
    p = argparse.ArgumentParser(prog="python -m gwfast demo", description="Measure and draw the picture of the README.")
    p.add_argument("--plot", metavar="FILE", help="file of the picture, .png, .pdf or .svg")
    return p


def readings(options: argparse.Namespace) -> tuple[Reading, Reading]:
    """How A and B are read."""
    if options.unreachable is not None and not 0 <= options.unreachable < float("inf"):
        raise InputError(f"--unreachable: expected a distance >= 0, found {options.unreachable:g}")
    weights = (options.weight or "").split(",")
    if len(weights) > 2:
        raise InputError(f"--weight: expected one name, or A,B for one of each file, found {options.weight}")
    first, second = (
        Reading(
            kind=own or options.kind,
            cost=options.cost,
            weight=weight or None,
            unweighted=options.unweighted,
            directed=options.directed,
            undirected=options.undirected,
            largest_component=options.largest_component,
            unreachable=options.unreachable,
        )
        for own, weight in ((options.first_kind, weights[0]), (options.second_kind, weights[-1]))
    )
    return first, second
