"""Large spaces beside low-rank plans of POT and OTT: one valuation for all, CPU seconds and peak memory.

OTT is measured where ott-jax is installed; it needs jax, which the tested set leaves out.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable

import numpy as np

import gwfast
from benchmarks import record
from benchmarks.large import RANK, apart, peak, product_loss, samples, spaces, told, warm
from benchmarks.large import cpu as timed_cpu

SIZES = (2_000, 10_000, 20_000)
CASES = (("mixture", "resample"), ("ball", "unrelated"))
LIMIT = 600.0  # seconds of wall time after which a case is given up


def factored_value(x: np.ndarray, y: np.ndarray, Q: np.ndarray, g: np.ndarray, R: np.ndarray) -> float:
    """Squared loss of the plan Q diag(1 / g) R', scaled to mass 1, between squared distances; O((n + m) r d)."""
    total = float((Q.sum(axis=0) / g) @ R.sum(axis=0))
    Q = Q / total
    first, second = (np.column_stack([(z * z).sum(1), np.ones(len(z)), z]) for z in (x, y))
    signs = np.diag([1.0, 1.0] + [-2.0] * x.shape[1])
    signs[:2, :2] = [[0.0, 1.0], [1.0, 0.0]]  # |x|^2 + |y|^2 - 2 x.y as a form of these features
    p, q = Q @ (R.sum(axis=0) / g), R @ (Q.sum(axis=0) / g)

    cross = (first.T @ Q / g) @ (R.T @ second)
    moved = signs @ cross @ signs
    return _second(first, signs, p) + _second(second, signs, q) - 2 * float((cross * moved).sum())


def _second(U: np.ndarray, form: np.ndarray, w: np.ndarray) -> float:
    """Mean square of the cost U form U' under the weights w x w."""
    pairs = np.einsum("ia,ib,i->ab", U, U, w)
    return float(np.einsum("ab,ac,bd,cd->", pairs, form, form, pairs))


def ours(shape: str, kind: str, n: int) -> dict:
    """The call of a user, nothing set."""
    warm()
    x, y = spaces(*samples(shape, kind, n, n)[:2])
    row = told(*timed_cpu(lambda: gwfast.exact_gw(x, y)))
    return row | {"product": product_loss(x, y)}


def pot(shape: str, kind: str, n: int) -> dict:
    """POT's low-rank plan."""
    from ot.gromov import lowrank_gromov_wasserstein_samples

    x, y = (np.asarray(s.points) for s in spaces(*samples(shape, kind, n, n)[:2]))
    begin = time.process_time()
    Q, R, g = (np.asarray(z) for z in lowrank_gromov_wasserstein_samples(x, y, rank=RANK))
    return _row(begin, x, y, Q, g, R)


def ott(shape: str, kind: str, n: int) -> dict:
    """OTT's low-rank plan, compilation in its time."""
    from ott.geometry import pointcloud  # pyright: ignore[reportMissingImports]
    from ott.problems.quadratic import quadratic_problem  # pyright: ignore[reportMissingImports]
    from ott.solvers.quadratic import gromov_wasserstein_lr  # pyright: ignore[reportMissingImports]

    x, y = (np.asarray(s.points) for s in spaces(*samples(shape, kind, n, n)[:2]))
    begin = time.process_time()
    problem = quadratic_problem.QuadraticProblem(pointcloud.PointCloud(x), pointcloud.PointCloud(y))
    found = gromov_wasserstein_lr.LRGromovWasserstein(rank=RANK)(problem)
    Q, g, R = (np.asarray(z, np.float64) for z in (found.q, found.g, found.r))
    return _row(begin, x, y, Q, g, R)


def _row(begin: float, x: np.ndarray, y: np.ndarray, Q: np.ndarray, g: np.ndarray, R: np.ndarray) -> dict:
    row = {"cpu_s": time.process_time() - begin, "mb": peak(), "value": None}
    if all(np.isfinite(z).all() for z in (Q, g, R)):
        off = np.abs(Q @ (R.sum(axis=0) / g) * len(x) - 1).max()
        row |= {"value": factored_value(x, y, Q, g, R), "marginal_error": float(off)}
    return row


PEERS: dict[str, Callable[..., dict]] = {"gwfast": ours, "POT low rank": pot, "OTT low rank": ott}


def run() -> None:
    """Measure one case after the other and write the record after each; what took too long is not tried larger."""
    warnings.simplefilter("ignore")
    rows: list[dict] = []
    for shape, kind in CASES:
        over: set[str] = set()  # larger sizes are not tried
        for n in SIZES:
            for name, measure in PEERS.items():
                row = {"shape": shape, "kind": kind, "n": n, "peer": name}
                if name.startswith("OTT") and importlib.util.find_spec("ott") is None:
                    row |= {"absent": "ott-jax is not installed"}
                elif name in over:
                    row |= {"over_s": LIMIT}
                else:
                    row |= apart(measure, (shape, kind, n), LIMIT)
                if "over_s" in row:
                    over.add(name)
                rows.append(row)
                print(row, flush=True)
                record.write("large_peers", {"sizes": SIZES, "rank": RANK, "limit_s": LIMIT}, rows)


def table() -> str:
    """Value over the independent coupling's, CPU seconds and memory, as a Markdown table."""
    rows = record.read("large_peers")["rows"]
    lines = ["| points | n | " + " | ".join(PEERS) + " |", "|---|---|" + "---|" * len(PEERS)]
    for key in dict.fromkeys((r["shape"], r["kind"], r["n"]) for r in rows):
        same = {r["peer"]: r for r in rows if (r["shape"], r["kind"], r["n"]) == key}
        product = same["gwfast"].get("product")
        cells = [_cell(same.get(name, {"absent": True}), product) for name in PEERS]
        lines.append(f"| {key[0]}, {key[1]} | {key[2]:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: dict, product: float | None) -> str:
    if "absent" in row:
        return "not measured"
    if "over_s" in row:
        return f"over {row['over_s']} s"
    if row["value"] is None or product is None:
        return f"not finite, {row['cpu_s']:.2g} s"
    return f"{row['value'] / product:.3g}, {row['cpu_s']:.2g} s, {row['mb']:.0f} MB"


if __name__ == "__main__":
    run()
