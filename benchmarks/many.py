"""Many small spaces: seconds and values of tables beside POT and CAJAL in one run, bounds, neighbours, proofs, growth.

Real data comes from a folder with `MUTAG/` and `neurons/` (`GWFAST_DATA`, else `shared/data` beside the repository);
the graph atlas of networkx is always there.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import networkx as nx
import numpy as np
import ot

import gwfast
from benchmarks import record

QUALITIES = ("sorted", "fast", "default", "best")
THEIR_PAIRS = 300  # of POT's and CAJAL's loops, spread over all
PROVED_PAIRS = 200
SECONDS = 0.1  # a proved pair
GROWTH = (10, 20, 40, 60, 100)
COUNTS = (50, 100, 200, 400)
NEAR = 5


def atlas() -> list[np.ndarray]:
    """Shortest paths of sixty connected graphs of seven nodes."""
    graphs = [g for g in nx.graph_atlas_g() if g.number_of_nodes() == 7 and nx.is_connected(g)]
    return [np.asarray(nx.floyd_warshall_numpy(g)) for g in graphs[:: len(graphs) // 60][:60]]


def real() -> dict[str, list[np.ndarray]]:
    """All molecules and all neurons, where the data is at hand."""
    from experiments.solvers.data import molecules, neurons

    folder = Path(os.environ.get("GWFAST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not folder.is_dir():
        return {}
    return {"MUTAG": molecules(folder), "neurons": neurons(folder)}


def cpu(call: Callable[[], object]) -> tuple[float, object]:
    """CPU seconds and result of a call."""
    begin = time.process_time()
    result = call()
    return time.process_time() - begin, result


def one_thread() -> ThreadPoolExecutor:
    """An executor of one thread."""
    return ThreadPoolExecutor(1)


def table_rows(name: str, spaces: list[np.ndarray]) -> list[dict]:
    """Every quality, and POT and CAJAL on a spread of the pairs; the same pairs for the ratios of values."""
    i, j = np.triu_indices(len(spaces), 1)
    some = np.arange(0, len(i), max(1, len(i) // THEIR_PAIRS))
    rows = []
    for quality in QUALITIES:
        gwfast.pairwise_gw(spaces[:3], quality=quality)
        seconds, table = cpu(lambda q=quality: gwfast.pairwise_gw(spaces, quality=q, executor=one_thread()))
        rows.append(
            {
                "set": name,
                "what": quality,
                "us": 1e6 * seconds / len(i),
                "mean": float(table.values.mean()),
                "mean_some": float(table.values[some].mean()),
                "lower": float(table.lowers.mean()),
                "above": int((table.lowers > table.values).sum()),
            }
        )
    for label, solve in peers(spaces).items():
        solve(0, 1)
        seconds, found = cpu(lambda s=solve: [s(i[k], j[k]) for k in some])
        mean = float(np.mean([value(spaces[i[k]], spaces[j[k]], x) for k, x in zip(some, found)]))
        rows.append({"set": name, "what": label, "us": 1e6 * seconds / len(some), "mean_some": mean})
    exact, found = cpu(lambda: [gwfast.exact_gw(spaces[i[k]], spaces[j[k]]).value for k in some])
    rows.append({"set": name, "what": "exact_gw", "us": 1e6 * exact / len(some), "mean_some": float(np.mean(found))})
    return rows


def peers(spaces: list[np.ndarray]) -> dict[str, Callable[[int, int], object]]:
    """POT's value and, where it is installed, CAJAL's plan, with their defaults; what one space needs is made once."""
    found: dict[str, Callable[[int, int], object]] = {
        "POT": lambda i, j: float(ot.gromov.gromov_wasserstein2(spaces[i], spaces[j]))
    }
    try:
        from cajal.gw_cython import gw_cython_core
    except ImportError:
        return found
    cells = []
    for C in map(np.ascontiguousarray, spaces):
        p = np.full(len(C), 1 / len(C))
        cells.append((C, p, C @ p, float((C * C @ p) @ p)))
    return found | {"CAJAL": lambda i, j: np.asarray(gw_cython_core(*cells[i], *cells[j])[0])}


def value(C: np.ndarray, D: np.ndarray, found: object) -> float:
    """A value, or the objective of a plan."""
    return found if isinstance(found, float) else float(gwfast.certify(C, D, found, effort="sort").upper)


def other_rows(name: str, spaces: list[np.ndarray]) -> list[dict]:
    """Bounds, neighbours, proofs and threads of one set."""
    from gwfast.many.blocks import Asked, answer
    from gwfast.many.dataset import dataset
    from gwfast.many.members import collect

    i, j = np.triu_indices(len(spaces), 1)
    pack, data = cpu(lambda: dataset(collect(spaces)))
    rows = [{"set": name, "what": "packing a space", "us": 1e6 * pack / len(spaces)}]
    for effort in ("sort", "rows"):
        answer(data, i[:2], j[:2], Asked("", effort))
        seconds, _ = cpu(lambda e=effort: answer(data, i, j, Asked("", e)))
        rows.append({"set": name, "what": f"bounds, {effort}", "us": 1e6 * seconds / len(i)})
    some = np.random.default_rng(0).permutation(len(i))[:PROVED_PAIRS]
    pairs = np.stack([i[some], j[some]], axis=1)
    limit = SECONDS * len(pairs)
    call = lambda: gwfast.pairwise_gw(
        spaces, pairs=pairs, quality="best", effort="dual", time_limit=limit, executor=one_thread()
    )
    gwfast.pairwise_gw(spaces, pairs=pairs[:2], effort="dual", time_limit=1)
    seconds, table = cpu(call)
    gap = table.gap
    rows.append(
        {
            "set": name,
            "what": "proved table",
            "cpu_s": seconds / len(pairs),
            "median_gap": float(np.median(gap)),
            "below_5": float((gap < 0.05).mean()),
            "proved_1": float((gap <= 0.01 + 1e-12).mean()),
        }
    )
    walls = []
    for executor in (one_thread(), None):
        begin = time.perf_counter()
        gwfast.pairwise_gw(spaces, quality="best", executor=executor)
        walls.append(time.perf_counter() - begin)
    rows.append({"set": name, "what": "threads", "speedup": walls[0] / walls[1], "cores": len(os.sched_getaffinity(0))})
    return rows


def neighbour_rows(name: str, spaces: list[np.ndarray]) -> list[dict]:
    """Time of all lists of neighbours over that of the table, and whether they are the same."""
    rows: list[dict] = []
    for quality in QUALITIES[1:]:
        whole, table = cpu(lambda q=quality: gwfast.pairwise_gw(spaces, quality=q, executor=one_thread()))
        near, found = cpu(lambda q=quality: gwfast.neighbours(spaces, NEAR, quality=q, executor=one_thread()))
        far = np.where(np.eye(len(spaces), dtype=bool), np.inf, table.value)
        same = bool((found.index == np.argsort(far, axis=1, kind="stable")[:, :NEAR]).all())
        share = found.solved / found.pairs
        rows.append(
            {"set": name, "what": f"{NEAR} neighbours, {quality}", "ratio": near / whole, "solved": share, "same": same}
        )
    return rows


def growth_rows() -> list[dict]:
    """Microseconds a pair against n, and against the number of spaces, for clouds."""
    rows = []
    for n, count in [*((n, 20) for n in GROWTH), *((20, count) for count in COUNTS)]:
        rng = np.random.default_rng(n)
        points = rng.normal(size=(count, n, 3))
        spaces = [np.linalg.norm(x[:, None] - x, axis=2) for x in points]
        seconds, table = cpu(lambda s=spaces: gwfast.pairwise_gw(s, quality="fast", executor=one_thread()))
        rows.append(
            {"set": "clouds", "what": "growth", "n": n, "count": count, "us": 1e6 * seconds / len(table.values)}
        )
    return rows


STARTS = {"sorted": "four sorted plans", "fast": "one anneal", "default": "four anneals"}
STARTS |= {"best": "five anneals, four other starts", "POT": "its default", "CAJAL": "its default"}


def table() -> str:
    """Times and values of the record as a Markdown table, molecules and neurons."""
    rows = record.read("many")["rows"]
    sets = ("MUTAG", "neurons")
    head = ["quality", "starts", *(f"{s}, {what}" for s in sets for what in ("us a pair", "mean value"))]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for name, starts in STARTS.items():
        found = [next(r for r in rows if r["set"] == s and r["what"] == name) for s in sets]
        cells = [text for r in found for text in (f"{r['us']:.0f}", f"{r['mean_some']:.4g}")]
        lines.append(f"| {' | '.join([name, starts, *cells])} |")
    return "\n".join(lines)


def run() -> None:
    """Measure and write the record."""
    warnings.simplefilter("ignore")
    rows = growth_rows()
    for name, spaces in {"atlas": atlas(), **real()}.items():
        few = spaces[:60] if name == "MUTAG" else spaces  # the table that its figures are asked for
        for row in (*table_rows(name, few), *other_rows(name, few), *neighbour_rows(name, spaces)):
            rows.append(row)
            print("many", row, flush=True)
    record.write("many", {"seconds": SECONDS, "proved_pairs": PROVED_PAIRS, "their_pairs": THEIR_PAIRS}, rows)
