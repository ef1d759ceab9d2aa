"""Where points and lines of a picture go: positions in the plane, and which of many matches are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gwfast import checks
from gwfast.arrays import to_numpy
from gwfast.errors import InputError
from gwfast.plan import Plan
from gwfast.spaces.point_cloud import PointCloud
from gwfast.spaces.space import Space

Box = tuple[float, float, float, float]

CROWDED = 200  # points from which lines are drawn for some points only
LINES, PARTNERS = 60, 3  # points with lines then; lines of a point at most
LETTER, LINE = 0.07, 0.12  # width and height of a letter, in the units of the positions
_SHARE = 0.2  # of the heaviest match of a point, for its other lines


def given_coordinates(coordinates: Any, space: Space, name: str) -> np.ndarray | None:
    """Check coordinates (n, 2) or (n, 3); three are seen along the direction in which they spread least."""
    if coordinates is None:
        return None
    X = to_numpy(checks.matrix(coordinates, name, f"coordinates of shape ({space.n}, 2) or ({space.n}, 3)"))
    if X.shape[0] != space.n or X.shape[1] not in (2, 3):
        raise InputError(f"{name}: expected shape ({space.n}, 2) or ({space.n}, 3), found {X.shape}")
    return _flat(X)


def _flat(X: np.ndarray) -> np.ndarray:
    """Points of the plane as they are, others on their two principal axes, and on a line where they have one."""
    if X.shape[1] == 2:
        return X
    X = X - X.mean(axis=0)
    _, _, axes = np.linalg.svd(X, full_matrices=False)
    flat = X @ axes[:2].T
    return flat if flat.shape[1] == 2 else np.c_[flat, np.zeros(len(flat))]


def positions(space: Space, graph: Any = None) -> np.ndarray:
    """Return a position in the plane (n, 2) for each point: its own, by springs, or by classical scaling of the cost.

    O(n^3) for classical scaling.
    """
    if isinstance(space, PointCloud):
        return _flat(to_numpy(space.points))
    if graph is not None:
        import networkx as nx

        simple = nx.Graph()
        simple.add_nodes_from(graph)
        simple.add_edges_from((u, v) for u, v in graph.edges() if u != v)
        where = nx.kamada_kawai_layout(simple, weight=None)
        return np.array([where[v] for v in graph])
    cost = to_numpy(space.dense())
    centre = np.eye(space.n) - 1 / space.n
    values, vectors = np.linalg.eigh(-centre @ (cost + cost.T) @ centre)
    top = np.argsort(values)[-2:]
    return np.resize(vectors[:, top] * np.sqrt(np.maximum(values[top], 0)), (space.n, 2))


def aligned(first: np.ndarray, second: np.ndarray, plan: np.ndarray) -> np.ndarray:
    """Rotate and reflect the second picture so that the plan's lines run as straight as they can."""
    u, _, vt = np.linalg.svd(second.T @ (plan.T @ first))
    return second @ (u @ vt)


def unit(x: np.ndarray) -> np.ndarray:
    """Points moved and scaled into a square of side 2."""
    x = x - (x.max(axis=0) + x.min(axis=0)) / 2
    return x / max(float(np.abs(x).max()), 1e-300)


def chosen_lines(at: np.ndarray, plan: np.ndarray) -> tuple[list[tuple[int, int]], int]:
    """Pairs that get a line, and for how many points of the first side: spread ones where there are many.

    A point has a line to its heaviest match, and to two more that are not much lighter.
    """
    n, m = plan.shape
    rows = np.arange(n) if max(n, m) <= CROWDED else spread(at, LINES)
    rows = rows[plan[rows].max(axis=1) > 0]
    pairs = []
    for i in rows:
        best = np.argsort(-plan[i], kind="stable")[:PARTNERS]
        pairs += [(int(i), int(k)) for k in best if plan[i, k] > _SHARE * plan[i, best[0]]]
    return pairs, len(rows)


def spread(at: np.ndarray, count: int) -> np.ndarray:
    """Indices of points that lie far apart: each next one is the farthest from those chosen, O(n count)."""
    chosen = [int(np.argmax(((at - at.mean(axis=0)) ** 2).sum(axis=1)))]
    distance = ((at - at[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < min(count, len(at)):
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, ((at - at[chosen[-1]]) ** 2).sum(axis=1))
    return np.array(chosen)


def name_boxes(at: np.ndarray, names: Sequence[str], side: int) -> dict[int, Box]:
    """Boxes (left, bottom, right, top) of the names that have room, each at the first free place beside its point.

    The outer side is tried first: 1 for the right, -1 for the left.  O(n^2).
    """
    boxes: dict[int, Box] = {}
    places = ((side, 0.0), (-side, 0.0), (side, LINE), (side, -LINE), (-side, -LINE))
    for i in np.argsort(at[:, 1]):
        found = [_box(at[i], LETTER * len(names[i]), beside, up) for beside, up in places]
        free = [box for box in found if not any(_overlap(box, other) for other in boxes.values())]
        if free:
            boxes[int(i)] = free[0]
    return boxes


def _box(point: np.ndarray, width: float, beside: int, up: float) -> Box:
    x, y = float(point[0]), float(point[1]) + up
    left = x + 0.05 if beside > 0 else x - 0.02 - width
    return left, y, left + width, y + LINE


def _overlap(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def mass(plan: Plan) -> np.ndarray:
    """The plan as a numpy array (n, m)."""
    return to_numpy(plan.toarray())
