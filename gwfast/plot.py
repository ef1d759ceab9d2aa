"""Pictures: two spaces and the plan between them."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gwfast.arrays import item
from gwfast.errors import InputError, MissingPackageError
from gwfast.layout import CROWDED, aligned, chosen_lines, given_coordinates, mass, name_boxes, positions, unit
from gwfast.result import Result
from gwfast.spaces.space import Space

# Okabe and Ito's colours, which the colour-blind see apart
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
WIDTH, TITLE, TEXT = 5.6, 11, 9.5  # inches and points: readable on a page of 390 pixels
_SHIFT = np.array([2.6, 0.0])
_NAMED = 40  # points up to which their names are written


def pyplot() -> Any:
    """Return matplotlib's pyplot, or say how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise MissingPackageError("plots need matplotlib: pip install 'gwfast-ot[plot]'") from None
    return plt


def save_picture(figure: Any, target: Path) -> None:
    """Write a figure beside the target and move it there, so that a failure leaves no half-written picture."""
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        figure.savefig(temporary, dpi=150)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def plot_matching(
    result: Result,
    first: Space,
    second: Space,
    *,
    names: tuple[str, str] = ("first", "second"),
    graphs: tuple[Any, Any] = (None, None),
    coordinates: tuple[Any, Any] = (None, None),
    labels: tuple[Sequence[Any] | None, Sequence[Any] | None] = (None, None),
    path: str | None = None,
) -> Any:
    """Draw two spaces side by side, with a line for every match of the plan, and the certified interval.

    Points of the second space have the colours of their partners in the first.  Of more than 200 points 60 spread ones
    have lines.

    Parameters
    ----------
    result : Result
        Answer of a front door for the two spaces.
    first, second : Space
    names : pair of str
    graphs : pair of networkx graphs or None
        Drawn with their edges where given.
    coordinates : pair of arrays (n, 2) or (n, 3) and (m, 2) or (m, 3), or None
        Where the points are drawn; points of three coordinates are seen along the direction in which they spread least.
        None for a side takes its own points, or finds positions from its graph or cost.
    labels : pair of sequences of length n and m, or None
        Labels that repeat, of at most eight kinds, colour the points; others are written beside up to 40 points, where
        there is room.
    path : str, optional
        File to write, PNG, PDF or SVG by its ending.

    Returns
    -------
    matplotlib figure

    Raises
    ------
    InputError
        `first` or `second` is no Space, or not of as many points as the result; coordinates or labels are of other
        shapes.
    MissingPackageError
        matplotlib is not installed.

    Notes
    -----
    O(n m), and O(n^3) where positions come from a cost.

    Examples
    --------
    >>> import numpy as np, gwfast, matplotlib
    >>> from gwfast.plot import plot_matching
    >>> matplotlib.use("Agg")
    >>> x = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
    >>> first, second = gwfast.PointCloud(x), gwfast.PointCloud(2 * x)
    >>> result = gwfast.exact_gw(first, second)
    >>> figure = plot_matching(result, first, second, labels=(["a", "a", "b"], ["a", "a", "b"]))
    >>> figure.axes[0].get_title().splitlines()[0]
    'first (3 points) matched with second (3 points)'
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
    words = _words(labels, (first.n, second.n))
    given = [given_coordinates(x, s, f"coordinates[{k}]") for k, (x, s) in enumerate(zip(coordinates, (first, second)))]
    plt = pyplot()
    plan = mass(result.plan)
    left = unit(positions(first, graphs[0]) if given[0] is None else given[0])
    right = unit(positions(second, graphs[1]) if given[1] is None else given[1])
    if given[1] is None:
        right = aligned(left, right, plan)
    elif given[0] is None:
        left = aligned(right, left, plan.T)
    right = right + _SHIFT
    figure, (axis, bar) = plt.subplots(2, 1, figsize=(WIDTH, 4.7), height_ratios=[4, 1], layout="constrained")
    _edges(axis, left, graphs[0])
    _edges(axis, right, graphs[1])
    colours = _colours(plt, left, plan, words)
    pairs, drawn = chosen_lines(left, plan)
    faint = 0.75 if len(pairs) <= 2 * first.n else 0.5
    for i, k in pairs:
        axis.plot(*np.stack([left[i], right[k]]).T, color=colours[0][i], lw=1.0, alpha=faint, zorder=1)
    size = 36 if max(plan.shape) <= CROWDED else 9
    for at, colour, text, side in ((left, colours[0], words[0], -1), (right, colours[1], words[1], 1)):
        axis.scatter(*at.T, s=size, c=colour, edgecolors="white", linewidths=0.4 if size > 9 else 0.0, zorder=3)
        if text is not None and not _categories(words) and len(text) <= _NAMED:
            _write(axis, at, text, side)
    _legend(axis, words)
    what = f"{names[0]} ({first.n} points) matched with {names[1]} ({second.n} points)"
    axis.set_title(f"{_short(what)}\n{_seen(plan, words, drawn)}", fontsize=TITLE)
    axis.set_axis_off()
    axis.set_aspect("equal")
    _interval(bar, result)
    if path is not None:
        save_picture(figure, Path(path))
    return figure


def _write(axis: Any, at: np.ndarray, names: Sequence[str], side: int) -> None:
    """Write names beside points, those that have room."""
    boxes = name_boxes(at, names, side)
    for k, (left, bottom, *_) in boxes.items():
        axis.text(left, bottom, names[k], va="bottom", fontsize=9, zorder=4).set_in_layout(False)
    for get, put, axes in ((axis.get_xlim, axis.set_xlim, (0, 2)), (axis.get_ylim, axis.set_ylim, (1, 3))):
        low, high = get()
        put(
            min([low, *(box[axes[0]] for box in boxes.values())]),
            max([high, *(box[axes[1]] for box in boxes.values())]),
        )


def _short(text: str) -> str:
    """A title broken before "matched" where it would be wider than the figure."""
    return text if len(text) <= 58 else text.replace(" matched", "\nmatched")


def _words(labels: Any, shape: tuple[int, int]) -> list[list[str] | None]:
    words: list[list[str] | None] = [None if x is None else [str(y) for y in x] for x in labels]
    for k, (own, n) in enumerate(zip(words, shape)):
        if own is not None and len(own) != n:
            raise InputError(f"labels[{k}]: expected {n} labels, one a point, found {len(own)}")
    return words


def _categories(words: list[list[str] | None]) -> list[str]:
    """The labels that colour points, in the order in which they come; none where they are names, or too many."""
    given = [own for own in words if own is not None]
    found = list(dict.fromkeys(name for own in given for name in own))
    repeat = any(len(set(own)) < len(own) for own in given)
    return found if repeat and len(found) <= len(COLOURS) else []


def _colours(plt: Any, left: np.ndarray, plan: np.ndarray, words: list[list[str] | None]) -> tuple[Any, Any]:
    """Colours of both sides: by label, or by height in the first and by partner in the second."""
    hue, categories = plt.get_cmap("viridis"), _categories(words)
    order = 0.92 * np.argsort(np.argsort(left[:, 1])) / max(1, len(left) - 1)  # without the pale end
    mixed = plan.T @ order / np.maximum(plan.sum(axis=0), 1e-300)
    plain = hue(order), hue(mixed)
    if not categories:
        return plain
    index = {name: COLOURS[k] for k, name in enumerate(categories)}
    first, second = (
        [index[name] for name in own] if own is not None else ["#888888"] * len(side) for own, side in zip(words, plain)
    )
    return first, second


def _seen(plan: np.ndarray, words: list[list[str] | None], drawn: int) -> str:
    """What lines and colours mean."""
    n, m = plan.shape
    lines = "lines join matched points" if max(n, m) <= CROWDED else f"lines for {drawn} of {n} points"
    first, second = words
    if _categories(words):
        if first is None or second is None:
            return f"{lines}; colours are labels"
        same = np.array(first)[:, None] == np.array(second)[None, :]
        return f"{lines}; {100 * float((plan * same).sum() / plan.sum()):.0f} % of the mass keeps its label"
    return f"{lines}, partners have one colour"


def _legend(axis: Any, words: list[list[str] | None]) -> None:
    categories = _categories(words)
    for k, name in enumerate(categories):
        axis.scatter([], [], s=36, c=COLOURS[k], label=name)
    if categories:
        axis.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, 0.02),
            ncols=min(4, len(categories)),
            fontsize=TEXT,
            frameon=False,
            handletextpad=0.2,
            columnspacing=1.0,
        )


def _edges(axis: Any, at: np.ndarray, graph: Any) -> None:
    if graph is None:
        return
    index = {v: i for i, v in enumerate(graph)}
    for u, v in graph.edges():
        axis.plot(*at[[index[u], index[v]]].T, color="0.75", lw=0.6, zorder=0)


def _interval(axis: Any, result: Result) -> None:
    """Draw the certified interval as a bar, with every bound that was computed."""
    upper, lower = item(result.upper), item(result.lower)
    bounds = [item(b.value) for b in result.certificate.bounds if math.isfinite(item(b.value))]
    for bound in bounds:
        axis.plot([bound] * 2, [-0.25, 0.25], color="0.6", lw=1)
    if not math.isfinite(lower):
        lower = min(0.0, upper)
    axis.barh([0], [upper - lower], left=lower, height=0.5, color="0.85", zorder=0)
    axis.plot([lower] * 2, [-0.35, 0.35], color=COLOURS[0], lw=3)
    axis.plot([upper] * 2, [-0.35, 0.35], color=COLOURS[5], lw=3)
    low, high = min(0.0, 1.15 * lower), max(0.0, 1.15 * upper) or (0.0 if lower < 0 else 1.0)
    middle = (low + high) / 2
    paper = {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1}
    for x, y, text, colour in (
        (lower, -0.45, f"proved: no plan below {lower:.4g}" if bounds else "nothing proved", COLOURS[0]),
        (upper, 0.45, f"this plan: {upper:.4g}", COLOURS[5]),
    ):
        axis.text(
            x,
            y,
            text,
            ha="left" if x < middle else "right",
            va="top" if y < 0 else "bottom",
            color=colour,
            fontsize=TEXT + 0.5,
            bbox=paper,
        )
    axis.set_xlim(low, high)
    axis.set_ylim(-1.15, 1.0)
    axis.set_yticks([])
    axis.tick_params(labelsize=9)
    axis.locator_params(axis="x", nbins=6)
    axis.ticklabel_format(axis="x", scilimits=(-3, 4), useMathText=True)
    axis.xaxis.get_offset_text().set_fontsize(9)
    axis.spines[["top", "right", "left"]].set_visible(False)
    gap = f"gap {100 * result.gap:.3g} %" if math.isfinite(result.gap) else "no bound"
    said = "this plan is optimal" if result.optimal else f"the optimum is in the grey part ({gap})"
    axis.set_xlabel(f"squared GW; {said}", fontsize=TEXT)
