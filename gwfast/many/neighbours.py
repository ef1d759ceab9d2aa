"""Nearest neighbours by the values of the pair solver, most pairs ruled out by their lower bounds."""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import closing
from typing import Any

import numpy as np

from gwfast import checks
from gwfast.budget import Budget
from gwfast.errors import InputError
from gwfast.many.blocks import Asked, all_blocks, blocks_of
from gwfast.many.dataset import DataSet, dataset
from gwfast.many.executors import Block, run
from gwfast.many.members import Collection, collect
from gwfast.many.proved import SECONDS, raise_bounds
from gwfast.many.result import Neighbours
from gwfast.packed.presets import QUALITY
from gwfast.pot_names import names_ours

_ROUND = 1e-12  # share of a value by which a bound must exceed it before it rules a pair out
_DEAR = ("default", "best")  # qualities that cost more than a row bound


@names_ours
def neighbours(
    spaces: Any,
    k: int = 5,
    *,
    quality: str = "default",
    features: Any = None,
    metric: str = "sqeuclidean",
    label_cost: Any = None,
    alpha: float | None = None,
    proved: bool = False,
    time_limit: float | None = None,
    executor: Executor | str | None = None,
) -> Neighbours:
    """The k nearest neighbours of every space of a data set.

    A pair whose proved lower bound exceeds the k-th best value found so far for both of its spaces is not solved: its
    value cannot be among them, whatever its plan.  Pairs are visited in the order of their bounds.

    Parameters
    ----------
    spaces, quality, features, metric, label_cost, alpha, executor
        As in `pairwise_gw`.
    k : int
        At most N - 1.
    proved : bool
        Raise lower bounds until the lists are proved, or time is up; `Neighbours.proved` says which places are.
    time_limit : float, optional
        Seconds for that; .1 for each open pair by default.

    Returns
    -------
    Neighbours
        Index and value (N, k): those of the full table, always; `solved` of `pairs` pairs got a plan.

    Raises
    ------
    InputError
        `k` is not between 1 and N - 1, or a space is not as above.

    Notes
    -----
    The cheap bounds of all pairs, three tables (N, N), and the solver for the pairs that are left.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> path = lambda n: np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    >>> gwfast.neighbours([path(n) for n in (2, 3, 8, 9)], k=1).index[:, 0].tolist()
    [1, 0, 3, 2]
    """
    checks.choice(quality, tuple(QUALITY), "quality")
    collection = collect(spaces, features=features, metric=metric, label_cost=label_cost, alpha=alpha, least=2)
    count = len(collection.members)
    if checks.count(k, "k") > count - 1:
        raise InputError(f"k: expected at most the number of other spaces, {count - 1}, found {k}")
    data = dataset(collection)
    search = _Search(data, quality, executor)
    low = np.zeros((count, count))
    for i, j, lower in search.lower((Block(b, i, j) for b, (i, j) in enumerate(all_blocks(count))), "sort"):
        low[i, j] = low[j, i] = lower
    np.fill_diagonal(low, np.inf)
    value, solved = search.settle(low, np.arange(count), k)
    index = np.argsort(value, axis=1, kind="stable")[:, :k]
    near = np.take_along_axis(value, index, 1)
    known = _places(low, value, index, near)
    if proved:
        _prove(collection, low, value, near[:, -1], time_limit)
        known = _places(low, value, index, near)
    return Neighbours(index, near, solved, count * (count - 1) // 2, known)


def _places(low: np.ndarray, value: np.ndarray, index: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Which places are proved: every space that is not at them or before has a lower bound above their value."""
    rest, count = low.copy(), len(low)
    known = np.zeros(index.shape, bool)
    for place in range(index.shape[1]):
        rest[np.arange(count), index[:, place]] = np.inf
        known[:, place] = rest.min(axis=1) >= near[:, place] * (1 + _ROUND)
    return known


def _prove(
    collection: Collection, low: np.ndarray, value: np.ndarray, kth: np.ndarray, time_limit: float | None
) -> None:
    """Raise the bounds of pairs that might still belong into a list, as far as the k-th value of either space."""
    target = np.maximum(kth[:, None], kth[None, :])
    i, j = np.nonzero(np.triu((low < target) & (value >= target) & np.isfinite(value), 1))
    budget = Budget().within(SECONDS["dual"] * max(1, len(i)) if time_limit is None else time_limit)
    with np.errstate(invalid="ignore", divide="ignore"):
        gaps = np.nan_to_num(1 - target[i, j] / value[i, j])
    found = raise_bounds(collection, i, j, value[i, j], low[i, j], gaps, "dual", budget, lambda _: None)
    low[i, j] = low[j, i] = found


@names_ours
def nearest(
    query: Any,
    spaces: Any,
    k: int = 5,
    *,
    quality: str = "default",
    features: Any = None,
    query_features: Any = None,
    metric: str = "sqeuclidean",
    label_cost: Any = None,
    alpha: float | None = None,
    executor: Executor | str | None = None,
) -> Neighbours:
    """The k spaces nearest to a query; most candidates are ruled out by their lower bound.

    Parameters
    ----------
    query : array (n, n), Space or networkx graph
    spaces, quality, features, metric, label_cost, alpha, executor
        As in `pairwise_gw`.
    k : int
        At most N.
    query_features : array (n, f) or (n,), optional
        Features of the query, where the spaces have some.

    Returns
    -------
    Neighbours
        By the values that `pairwise_gw` gives for the same quality.

    Raises
    ------
    InputError
        `k` is not between 1 and N, or a space is not as above.

    Notes
    -----
    N cheap bounds, and the solver for each candidate that is not ruled out.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> path = lambda n: np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    >>> gwfast.nearest(path(4), [path(n) for n in (2, 4, 9)], k=1).index
    array([1])
    """
    from gwfast.many.members import listed

    checks.choice(quality, tuple(QUALITY), "quality")
    given = listed(spaces, "spaces")
    if checks.count(k, "k") > len(given):
        raise InputError(f"k: expected at most the number of spaces, {len(given)}, found {k}")
    if (features is None) != (query_features is None):
        raise InputError("query_features: the query and the spaces both have features, or none of them")
    own = None if features is None else [*listed(features, "features"), query_features]
    try:
        collection = collect([*given, query], features=own, metric=metric, label_cost=label_cost, alpha=alpha)
    except InputError as error:
        last = len(given)
        said = str(error).replace(f"spaces[{last}]", "query").replace(f"features[{last}]", "query_features")
        raise InputError(said) from None
    data = dataset(collection)
    search, last = _Search(data, quality, executor), len(given)
    low = np.full((len(given) + 1, len(given) + 1), np.inf)
    pairs = np.stack([np.arange(last), np.full(last, last)], axis=1)
    for i, j, lower in search.lower((Block(b, i, j) for b, (i, j, _) in enumerate(blocks_of(pairs))), "sort"):
        low[i, j] = low[j, i] = lower
    value, solved = search.settle(low, np.array([last]), k)
    index = np.argsort(value[last], kind="stable")[:k]
    return Neighbours(index, value[last][index], solved, last)


class _Search:
    """Solves what the bounds do not rule out."""

    def __init__(self, data: DataSet, quality: str, executor: Executor | str | None):
        self._data, self._quality, self._executor = data, quality, executor

    def lower(self, blocks: Any, effort: str) -> Any:
        """Pairs and their lower bounds, block by block."""
        with closing(run(self._data, blocks, Asked("", effort), self._executor)) as answers:
            for block, answer in answers:
                yield block.i, block.j, answer.lower

    def settle(self, low: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, int]:
        """Values (N, N), infinite where a pair was ruled out; `low` is raised by row bounds on the way."""
        count = len(low)
        value, sharp = np.full((count, count), np.inf), np.zeros((count, count), bool)
        refine, solved = self._quality in _DEAR, 0
        asked = np.zeros(count, bool)
        asked[queries] = True
        first = True
        while True:
            kth = np.partition(value[queries], k - 1, axis=1)[:, k - 1]
            open_ = np.isinf(value[queries]) & (low[queries] <= kth[:, None] * (1 + _ROUND)) & np.isfinite(low[queries])
            if not open_.any():
                return value, solved
            # the most promising candidates of every query, by twos as many as are still wanted
            width = k if first else max(k // 2, 2)
            ranked = np.argsort(np.where(open_, low[queries], np.inf), axis=1, kind="stable")[:, :width]
            rows = np.repeat(queries, ranked.shape[1])
            keep = np.take_along_axis(open_, ranked, 1).ravel()
            pairs = np.sort(np.stack([rows[keep], ranked.ravel()[keep]], axis=1), axis=1)
            pairs = np.unique(pairs, axis=0)
            if refine and not first:
                fresh = pairs[~sharp[pairs[:, 0], pairs[:, 1]]]
                for i, j, lower in self.lower((Block(b, i, j) for b, (i, j, _) in enumerate(blocks_of(fresh))), "rows"):
                    low[i, j] = low[j, i] = np.maximum(low[i, j], lower)
                    sharp[i, j] = sharp[j, i] = True
                reach = np.full(count, -np.inf)
                reach[queries] = kth * (1 + _ROUND)
                within = low[pairs[:, 0], pairs[:, 1]] <= np.maximum(reach[pairs[:, 0]], reach[pairs[:, 1]])
                pairs = pairs[within]
            first = False
            blocks = (Block(b, i, j) for b, (i, j, _) in enumerate(blocks_of(pairs)))
            with closing(run(self._data, blocks, Asked(self._quality, "sort"), self._executor)) as answers:
                for block, answer in answers:
                    value[block.i, block.j] = value[block.j, block.i] = answer.value
            solved += len(pairs)
