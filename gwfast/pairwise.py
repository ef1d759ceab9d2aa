"""Many problems: distance matrices with bounds, and nearest neighbours pruned by their lower bounds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from gwfast import checks
from gwfast.arrays import item
from gwfast.budget import UNLIMITED
from gwfast.errors import InputError
from gwfast.solve import exact_gw, lower_bound, sorted_gw
from gwfast.workers import in_order, process_pool

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
    WorkerError
        A process of the executor died; our own pool is started anew first, and a line says so.

    Notes
    -----
    N (N - 1) / 2 calls of the solver, a few of them under way at a time: O(N^2) memory for the table alone.
    Interrupting it cancels the pairs that have not begun.  Scripts need no main guard.

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
    checks.choice(method, tuple(_SOLVERS), "method")
    spaces = _listed(spaces)
    if not (executor is None or hasattr(executor, "submit")):
        raise InputError(f"executor: expected a concurrent.futures.Executor, found {type(executor).__name__}")
    if len(spaces) < 2:
        raise InputError(f"spaces: expected at least two, found {len(spaces)}")
    count = len(spaces)
    value, lower = np.zeros((count, count)), np.zeros((count, count))
    own, pairs, total = executor is None, combinations(range(count), 2), count * (count - 1) // 2
    show = sys.stderr.isatty() if progress is None else progress
    begin = UNLIMITED.now()

    def start() -> Executor:
        return executor or process_pool(_keep, method, spaces)

    def submit(pool: Executor, pair: tuple[int, int]) -> Future[Any]:
        if own:
            return pool.submit(_solve_kept, *pair)
        return pool.submit(_solve, method, spaces[pair[0]], spaces[pair[1]])

    answers = in_order(pairs, start, submit, own=own, name=_named)
    with closing(answers):
        for done, ((i, j), answer) in enumerate(answers, 1):
            if isinstance(answer, str):
                raise InputError(f"{_named((i, j))}: {answer}")
            value[i, j], lower[i, j] = answer
            if show:
                _report(done, total, begin)
    return Pairwise(value + value.T, lower + lower.T)


_kept: tuple[str, list[Any]] = ("exact", [])


def _keep(method: str, spaces: list[Any]) -> None:
    """Keep the data set in a worker process, so that it travels there once."""
    global _kept
    _kept = (method, spaces)


def _solve_kept(i: int, j: int) -> tuple[float, float] | str:
    method, spaces = _kept
    return _solve(method, spaces[i], spaces[j])


def _solve(method: str, first: Any, second: Any) -> tuple[float, float] | str:
    """Value and lower bound of a pair, or what is wrong with it."""
    try:
        result = _SOLVERS[method](first, second)
    except InputError as error:
        return str(error)
    return item(result.value), item(result.lower)


def _named(pair: tuple[int, int]) -> str:
    return f"spaces[{pair[0]}] as C1 and spaces[{pair[1]}] as C2"


def _listed(spaces: Any) -> list[Any]:
    if not isinstance(spaces, Iterable):
        raise InputError(f"spaces: expected a list of arrays or spaces, found {type(spaces).__name__}")
    return list(spaces)


def _report(done: int, total: int, begin: float) -> None:
    left = (UNLIMITED.now() - begin) * (total - done) / done
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
    checks.choice(effort, ("sort", "rows", "spectral"), "effort")
    spaces = _listed(spaces)
    if checks.count(k, "k") > len(spaces):
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
