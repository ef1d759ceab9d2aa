"""The demonstration: twelve problems, POT's plan, our plan, and what is proved (python -m gwfast demo)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from gwfast.arrays import item
from gwfast.budget import UNLIMITED
from gwfast.plot import pyplot, save_picture
from gwfast.solve import certify, exact_gw
from gwfast.spaces.graph import Graph

EACH = 4  # problems of each kind
GAP, SECONDS = 0.01, 1.0  # what exact_gw is asked for


@dataclass(frozen=True)
class Audit:
    """One problem: what POT's plan costs, what ours costs, and what is proved.

    Attributes
    ----------
    kind : str
    seed : int
    pot, value, lower : float
        Objectives of POT's plan and of ours, and the proved lower bound of the optimum.
    pot_seconds, seconds : float
    """

    kind: str
    seed: int
    pot: float
    value: float
    lower: float
    pot_seconds: float
    seconds: float


def noisy_copy(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances of 50 normal points in R^3, and of the same points shuffled, with 10 % noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(50, 3))
    return _distances(X), _distances(X[rng.permutation(50)] + 0.1 * rng.normal(size=X.shape))


def two_clouds(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances of 50 normal points and of 50 uniform points of a cube, in R^3."""
    rng = np.random.default_rng(seed)
    return _distances(rng.normal(size=(50, 3))), _distances(rng.random((50, 3)))


def two_graphs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Shortest paths in two random graphs of 30 nodes in three communities."""
    return _communities(2 * seed), _communities(2 * seed + 1)


KINDS: dict[str, Callable[[int], tuple[np.ndarray, np.ndarray]]] = {
    "noisy copies": noisy_copy,
    "two point clouds": two_clouds,
    "two random graphs": two_graphs,
}


def _distances(X: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return cdist(X, X)


def _communities(seed: int) -> np.ndarray:
    import networkx as nx

    share = [[0.6 if i == j else 0.08 for j in range(3)] for i in range(3)]
    graph = nx.stochastic_block_model([10, 10, 10], share, seed=seed)
    parts = [sorted(part) for part in nx.connected_components(graph)]
    graph.add_edges_from((a[0], b[0]) for a, b in pairwise(parts))
    return Graph(graph).dense()


def audit(kind: str, seed: int) -> Audit:
    """Solve one problem by POT with its defaults, and by `exact_gw` with a gap of 1 % or one second."""
    import ot

    C1, C2 = KINDS[kind](seed)
    begin = UNLIMITED.now()
    plan = ot.gromov.gromov_wasserstein(C1, C2)
    between = UNLIMITED.now()
    result = exact_gw(C1, C2, rtol=GAP, time_limit=SECONDS)
    end = UNLIMITED.now()
    pot = item(certify(C1, C2, plan, effort="sort").upper)
    return Audit(kind, seed, pot, item(result.value), item(result.lower), between - begin, end - between)


def audits() -> Iterator[Audit]:
    """The twelve problems, one after the other; kernels are compiled first."""
    audit("noisy copies", EACH)
    for kind in KINDS:
        for seed in range(EACH):
            yield audit(kind, seed)


def line(found: Audit) -> str:
    """One line of the table that the command prints."""
    return (
        f"{found.kind:18} {found.seed}   POT {found.pot:8.4f}   gwfast {found.value:8.4f}   "
        f"proved {found.lower:8.4f}   POT's plan costs at most {found.pot / found.lower:5.2f} times the optimum, "
        f"ours {found.value / found.lower:5.2f}"
    )


def draw(found: list[Audit]) -> Any:
    """Draw every problem: POT's value, ours and the proved bound, each over our value.

    Parameters
    ----------
    found : list of Audit

    Returns
    -------
    matplotlib figure
    """
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(6.4, 3.9), layout="constrained")
    place = np.arange(len(found)) + 0.7 * np.array([list(KINDS).index(a.kind) for a in found])
    pot, low = (np.array([getattr(a, name) / a.value for a in found]) for name in ("pot", "lower"))
    axis.vlines(place, low, 1, color="0.8", lw=7, zorder=0)
    axis.plot(place, pot, "X", color="#d55e00", ms=9, label="POT's plan")
    axis.plot(place, np.ones(len(found)), "o", color="#0072b2", ms=8, label="gwfast's plan")
    axis.plot(place, low, "_", color="black", ms=15, mew=2.5, label="proved: no plan is below this line")
    for x, y in zip(place, pot):
        if y > 1.05:
            label = f"{y:.0f}×" if y >= 10 else f"{y:.2f}×"
            axis.annotate(label, (x, y), (0, 8), textcoords="offset points", ha="center", fontsize=9)
    axis.set(yscale="log", ylim=(0.35, 60), ylabel="cost of the plan / cost of gwfast's plan")
    axis.set_yticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
    axis.minorticks_off()
    centres = [place[[a.kind == kind for a in found]].mean() for kind in KINDS]
    axis.set_xticks(centres, list(KINDS), fontsize=10)
    axis.tick_params(axis="x", length=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="upper right", fontsize=9, frameon=False, ncols=1)
    axis.set_title("Twelve problems: what each plan costs, and what is proved", fontsize=11)
    return figure


def main(picture: str | None) -> None:
    """Print a line for each problem, and draw the picture."""
    found = []
    for one in audits():
        print(line(one), flush=True)
        found.append(one)
    target = Path(picture or "gwfast_demo.png")
    save_picture(draw(found), target)
    print(f"picture: {target}")
