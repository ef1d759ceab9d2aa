"""What each quality starts from; a start is one row, see `gwfast.kernels.pairs.begin`."""

from __future__ import annotations

import numpy as np

from gwfast.kernels.pairs.begin import ANNEALED, PRODUCT_PLAN, RANDOM_VERTEX, ROW_COSTS, SORTED_PLAN

STATIONARY = 1e-9  # share of the scale of a problem to which plans are stationary
PROGRAMS, EXCHANGES = 100, 10_000  # linear programs and exchanges at most, for each start


def _anneal(steps: int, noise: float, rows: float = 0.0) -> list[float]:
    """An anneal from .4 to .03 of the loss of the product coupling.

    Fewer than eight scalings a step leave column errors that ruin runs from 40 points on; more gain nothing.
    """
    return [ANNEALED, 0.4, 0.03, steps, 8, noise, rows]


def _plain(kind: int, feature: int = 0) -> list[float]:
    return [kind, feature, 0, 0, 0, 0, 0]


_FIRST = _anneal(12, 0.05, 1.0)
_SORTED = [_plain(SORTED_PLAN, feature) for feature in range(4)]
QUALITY = {
    "sorted": _SORTED,
    "fast": [_FIRST],
    "default": [_FIRST, *[_anneal(10, 1.0)] * 2, _anneal(10, 0.6, 1.0)],
    "best": [
        _FIRST,
        *[_anneal(10, 1.0)] * 2,
        *[_anneal(10, 0.6, 1.0)] * 2,
        _plain(ROW_COSTS, 1),
        *[_plain(RANDOM_VERTEX)] * 3,
    ],
}
ALONE = [  # of a single call, which has some overhead of its own
    *QUALITY["best"],
    *[_anneal(16, 1.0), _anneal(16, 0.6, 1.0)] * 2,
    _plain(PRODUCT_PLAN),
    _plain(SORTED_PLAN, 0),
    _plain(SORTED_PLAN, 2),
    *[_plain(RANDOM_VERTEX)] * 3,
]
TINY = [*ALONE, *[_plain(RANDOM_VERTEX)] * 20]
NAMES = {
    PRODUCT_PLAN: "the product coupling",
    ANNEALED: "an annealed start",
    ROW_COSTS: "the best match of rows",
    SORTED_PLAN: "a sorted plan",
    RANDOM_VERTEX: "a random vertex",
}
STARTS = {
    name: np.array([[*row, k] for k, row in enumerate(rows)], dtype=float)
    for name, rows in {**QUALITY, "alone": ALONE, "tiny": TINY}.items()
}
