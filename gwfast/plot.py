"""Pictures: two spaces and the plan between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gwfast.arrays import item, to_numpy
from gwfast.errors import InputError, MissingPackageError
from gwfast.result import Result
from gwfast.spaces.point_cloud import PointCloud
from gwfast.spaces.space import Space


def pyplot() -> Any:
    """Return matplotlib's pyplot, or say how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise MissingPackageError("plots need matplotlib: pip install 'gwfast-ot[plot]'") from None
    return plt


def layout(space: Space, graph: Any = None) -> np.ndarray:
    """Return a position in the plane (n, 2) for each point: given, by springs, or by classical scaling of the cost.

    O(n^3) for classical scaling.
    """
    if isinstance(space, PointCloud) and space.points.shape[1] == 2:
        return to_numpy(space.points)
    if graph is not None:
        import networkx as nx

        positions = nx.kamada_kawai_layout(graph, weight=None)
        return np.array([positions[v] for v in graph])
    cost = to_numpy(space.dense())
    centre = np.eye(space.n) - 1 / space.n
    values, vectors = np.linalg.eigh(-centre @ (cost + cost.T) @ centre)
    top = np.argsort(values)[-2:]
    return np.resize(vectors[:, top] * np.sqrt(np.maximum(values[top], 0)), (space.n, 2))


def _align(first: np.ndarray, second: np.ndarray, plan: np.ndarray) -> np.ndarray:
    """Rotate and reflect the second picture so that the plan's lines run as straight as they can."""
    target = plan.T @ first
    u, _, vt = np.linalg.svd(second.T @ target)
    return second @ (u @ vt)


def _unit(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=0)
    return x / max(float(np.abs(x).max()), 1e-300)


def plot_matching(
    result: Result,
    first: Space,
    second: Space,
    *,
    names: tuple[str, str] = ("first", "second"),
    graphs: tuple[Any, Any] = (None, None),
    path: str | None = None,
) -> Any:
    """Draw two spaces side by side, with a line for every match of the plan, and the certified interval.

    Parameters
    ----------
    result : Result
        Answer of a front door for the two spaces.
    first, second : Space
    names : pair of str
    graphs : pair of networkx graphs or None
        Drawn with their edges where given.
    path : str, optional
        File to write, PNG, PDF or SVG by its ending.

    Returns
    -------
    matplotlib figure

    Raises
    ------
    InputError
        `first` or `second` is no Space, or not of as many points as the result.
    MissingPackageError
        matplotlib is not installed.
    """
    for name, space in (("first", first), ("second", second)):
        if not isinstance(space, Space):
            raise InputError(
                f"{name}: expected a Space, found {type(space).__name__}; wrap a cost, gwfast.Dense({name})"
            )
    if (first.n, second.n) != result.plan.shape:
        raise InputError(
            f"first, second: expected {result.plan.shape} points, as in the result, found {first.n, second.n}"
        )
    plt = pyplot()
    plan = to_numpy(result.plan.toarray())
    left = _unit(layout(first, graphs[0]))
    right = _align(left, _unit(layout(second, graphs[1])), plan)
    shift = np.array([2.8, 0.0])
    figure, (axis, bar) = plt.subplots(1, 2, figsize=(11, 5.2), width_ratios=[5, 1], layout="constrained")
    _edges(axis, left, graphs[0], first)
    _edges(axis, right + shift, graphs[1], second)
    hue = plt.get_cmap("viridis")
    order = np.argsort(np.argsort(left[:, 1])) / max(1, len(left) - 1)
    heaviest = plan.max(axis=1)
    for i, k in zip(*np.nonzero(plan > 0.05 * heaviest[:, None])):
        ends = np.stack([left[i], right[k] + shift])
        axis.plot(*ends.T, color=hue(order[i]), lw=0.9, alpha=0.25 + 0.6 * plan[i, k] / heaviest[i], zorder=1)
    mixed = plan.T @ order / np.maximum(plan.sum(axis=0), 1e-300)
    axis.scatter(*left.T, s=42, c=hue(order), edgecolors="white", zorder=3)
    axis.scatter(*(right + shift).T, s=42, c=hue(mixed), edgecolors="white", zorder=3)
    for x, name, space in ((0.0, names[0], first), (shift[0], names[1], second)):
        axis.text(x, 1.16, f"{name}  ({space.n})", ha="center", fontsize=11)
    axis.set_axis_off()
    axis.set_aspect("equal")
    _interval(bar, result)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _edges(axis: Any, at: np.ndarray, graph: Any, space: Space) -> None:
    if graph is None:
        return
    index = {v: i for i, v in enumerate(graph)}
    for u, v in graph.edges():
        axis.plot(*at[[index[u], index[v]]].T, color="0.75", lw=0.6, zorder=0)


def _interval(axis: Any, result: Result) -> None:
    """Draw the certified interval as a bar, with every bound that was computed."""
    upper, lower = item(result.upper), item(result.lower)
    axis.bar([0], [upper - lower], bottom=lower, width=0.5, color="0.85")
    for bound in result.certificate.bounds:
        axis.plot([-0.25, 0.25], [item(bound.value)] * 2, color="0.6", lw=1)
    axis.plot([-0.3, 0.3], [lower] * 2, color="tab:blue", lw=2.5)
    axis.plot([-0.3, 0.3], [upper] * 2, color="tab:red", lw=2.5)
    # below the line, on white: the other bounds end there
    style: dict[str, Any] = {"ha": "center", "textcoords": "offset points"}
    axis.annotate(f"value {upper:.4g}", (0, upper), (0, 6), va="bottom", color="tab:red", **style)
    paper = {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1}
    axis.annotate(f"proved {lower:.4g}", (0, lower), (0, -6), va="top", color="tab:blue", bbox=paper, **style)
    axis.set_xlim(-0.7, 0.7)
    axis.set_ylim(min(0.0, 1.15 * lower), max(0.0, 1.15 * upper) or (0.0 if lower < 0 else 1.0))
    axis.set_xticks([])
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.set_title("squared GW", fontsize=10)
