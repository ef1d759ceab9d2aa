"""Many problems: distance matrices with bounds, and nearest neighbours pruned by their lower bounds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from gwfast import _check
from gwfast._array import item
from gwfast.errors import InputError
from gwfast.solve import exact_gw, lower_bound, sorted_gw

_SOLVERS: dict[str, Callable[..., Any]] = {"exact": exact_gw, "sorted": sorted_gw}


@dataclass(frozen=True, eq=False)
class Pairwise:
    """Values and proved bounds between all pairs of a data set.

    Attributes
    ----------
    value, lower : arrays (N, N)
        Objective of the plan found (an upper bound) and the proved lower bound; symmetric, 0 on the diagonal.
    """

    value: np.ndarray
    lower: np.ndarray

    @property
    def distance(self) -> np.ndarray:
        """Square root of `value` (N, N), for kernels and embeddings."""
        return np.sqrt(self.value)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest spaces to a query.

    Attributes
    ----------
    index : integer array (k,)
        Positions in the data set, nearest first.
    value : array (k,)
        Objectives of the plans found.
    solved : int
        Spaces for which a plan was computed; the others were ruled out by their lower bound alone.
    """

    index: np.ndarray
    value: np.ndarray
    solved: int


def pairwise_gw(
    spaces: Sequence[Any],
    *,
    method: str = "exact",
    executor: Executor | None = None,
    progress: bool | None = None,
) -> Pairwise:
    """Gromov-Wasserstein between every pair of a data set, with proved lower bounds.

    Parameters
    ----------
    spaces : sequence of N arrays (n_i, n_i) or Space
        Costs, with weights in the spaces where they are not uniform; of one library.
    method : {"exact", "sorted"}
        Solver of each pair.
    executor : concurrent.futures.Executor, optional
        Where the pairs run; a pool of processes for this machine by default, which needs numpy spaces.
    progress : bool, optional
        Show how many pairs are done and how long is left; by default where stderr is a terminal.

    Returns
    -------
    Pairwise

    Raises
    ------
    InputError
        Fewer than two spaces, or one of them is not as `exact_gw` needs it.

    Notes
    -----
    N (N - 1) / 2 calls of the solver.  Interrupting it cancels the pairs that have not begun.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> path = lambda n: np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    >>> with ThreadPoolExecutor(1) as pool:
    ...     table = gwfast.pairwise_gw([path(3), path(3), path(5)], executor=pool)
    >>> bool(table.value[0, 1] == 0), bool(table.value[0, 2] > 0)
    (True, True)
    """
    _check.choice(method, tuple(_SOLVERS), "method")
    spaces = _listed(spaces)
    if not (executor is None or hasattr(executor, "submit")):
        raise InputError(f"executor: expected a concurrent.futures.Executor, found {type(executor).__name__}")
    if len(spaces) < 2:
        raise InputError(f"spaces: expected at least two, found {len(spaces)}")
    pairs = list(combinations(range(len(spaces)), 2))
    value, lower = np.zeros((len(spaces), len(spaces))), np.zeros((len(spaces), len(spaces)))
    own = executor is None
    pool = executor or ProcessPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None)
    show = sys.stderr.isatty() if progress is None else progress
    begin, futures = time.perf_counter(), []
    try:
        futures = [(i, j, pool.submit(_solve, method, spaces[i], spaces[j])) for i, j in pairs]
        for done, (i, j, future) in enumerate(futures, 1):
            try:
                value[i, j], lower[i, j] = future.result()
            except InputError as error:
                raise InputError(f"spaces[{i}] as C1 and spaces[{j}] as C2: {error}") from None
            if show:
                _report(done, len(pairs), begin)
    finally:
        for *_, future in futures:
            future.cancel()
        if own:
            pool.shutdown(cancel_futures=True)
    return Pairwise(value + value.T, lower + lower.T)


def _solve(method: str, first: Any, second: Any) -> tuple[float, float]:
    result = _SOLVERS[method](first, second)
    return item(result.value), item(result.lower)


def _listed(spaces: Any) -> list[Any]:
    if not isinstance(spaces, Iterable):
        raise InputError(f"spaces: expected a list of arrays or spaces, found {type(spaces).__name__}")
    return list(spaces)


def _report(done: int, total: int, begin: float) -> None:
    left = (time.perf_counter() - begin) * (total - done) / done
    end = "\n" if done == total else ""
    print(f"\r{done} of {total} pairs, about {left:.0f} s left ", end=end, file=sys.stderr, flush=True)


def _bound(query: Any, space: Any, effort: str, name: str) -> float:
    try:
        return item(lower_bound(query, space, effort=effort).lower)
    except InputError as error:
        raise InputError(f"query as C1 and {name} as C2: {error}") from None


def nearest(query: Any, spaces: Sequence[Any], k: int = 5, *, effort: str = "rows") -> Neighbours:
    """The k spaces nearest to a query; most candidates are ruled out by their lower bound.

    Candidates are visited by increasing bound.  One whose proved lower bound exceeds the k-th best objective found
    cannot be nearer, whatever its plan, and neither can the rest.

    Parameters
    ----------
    query : array (n, n) or Space
    spaces : sequence of N arrays or Space
    k : int
    effort : str
        Effort of the bounds, as in `lower_bound`.

    Returns
    -------
    Neighbours
        By the objectives of the plans that `exact_gw` finds.

    Raises
    ------
    InputError
        `k` is not between 1 and N, or a space is not as `exact_gw` needs it.

    Notes
    -----
    N lower bounds, and one call of `exact_gw` for each candidate that is not ruled out.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> path = lambda n: np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    >>> gwfast.nearest(path(4), [path(n) for n in (2, 4, 9)], k=1).index
    array([1])
    """
    _check.choice(effort, ("sort", "rows", "spectral"), "effort")
    spaces = _listed(spaces)
    if _check.count(k, "k") > len(spaces):
        raise InputError(f"k: expected at most the number of spaces, {len(spaces)}, found {k}")
    bounds = np.array([_bound(query, space, effort, f"spaces[{i}]") for i, space in enumerate(spaces)])
    found: list[tuple[float, int]] = []
    solved = 0
    for i in np.argsort(bounds, kind="stable").tolist():
        if len(found) == k and bounds[i] > found[-1][0]:
            break
        found = sorted([*found, (item(exact_gw(query, spaces[i]).value), i)])[:k]
        solved += 1
    return Neighbours(np.array([i for _, i in found]), np.array([v for v, _ in found]), solved)
