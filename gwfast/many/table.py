"""All pairs of a data set, or some of them: values, proved lower bounds, plans."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np

from gwfast import checks
from gwfast.budget import UNLIMITED, Budget
from gwfast.errors import InputError
from gwfast.many.blocks import Answer, Asked, all_blocks, blocks_of
from gwfast.many.dataset import DataSet, dataset
from gwfast.many.executors import Block, check_executor, run
from gwfast.many.members import Collection, collect
from gwfast.many.proved import SECONDS, raise_bounds
from gwfast.many.result import Pairwise, plans_of
from gwfast.many.store import Store, open_store
from gwfast.packed.presets import QUALITY
from gwfast.plan import Plan
from gwfast.pot_names import names_ours

EFFORTS = ("sort", "rows", *SECONDS)


@names_ours
def pairwise_gw(
    spaces: Any,
    *,
    quality: str = "default",
    pairs: Any = None,
    plans: bool = False,
    effort: str = "sort",
    rtol: float = 0.01,
    features: Any = None,
    metric: str = "sqeuclidean",
    label_cost: Any = None,
    alpha: float | None = None,
    time_limit: float | None = None,
    executor: Executor | str | None = None,
    out: Any = None,
    progress: bool | None = None,
) -> Pairwise:
    r"""Gromov-Wasserstein between every pair of a data set of small spaces, with proved lower bounds.

    .. math:: \min_{T \in \Pi(p, q)} (1 - \alpha) \sum_{ik} d(f_i, g_k) T_{ik}
              + \alpha \sum_{ijkl} (C_{1,ij} - C_{2,kl})^2 \, T_{ik} T_{jl}

    Parameters
    ----------
    spaces : sequence of N arrays (n_i, n_i), Space or networkx graphs
        Costs, with weights in the spaces where they are not uniform; graphs by their shortest paths.
    quality : {"sorted", "fast", "default", "best"}
        How many starts every pair gets: sorted plans alone, one anneal, four, or five and other starts.
    pairs : integer array (R, 2), optional
        The pairs wanted; all i < j by default.
    plans : bool
        Keep the plans, as sparse `Plan`.
    effort : {"sort", "rows", "dual", "prove"}
        Lower bounds: those by sorting and spectra; also those by one linear program; also the level-1
        reformulation, or searches too, pair by pair where the gap is wider than `rtol`, easiest pairs first.
    rtol : float
        Relative gap at which a pair is left alone by "dual" and "prove".
    features : sequence of N arrays (n_i, f) or (n_i,), optional
        Node features, or labels, of the fused problem.
    metric : {"sqeuclidean", "euclidean", "labels"}
        Cost between features.
    label_cost : array (L, L), optional
        Cost between labels; 1 between different ones by default.
    alpha : float, optional
        Weight of the structure; 0.5 where there are features.
    time_limit : float, optional
        Seconds after which nothing new is begun; pairs without a value are NaN.  By default none for the values,
        and .1 ("dual") or 1 ("prove") seconds a pair for the bounds.
    executor : {"threads", "processes", "dask", "mpi"} or concurrent.futures.Executor, optional
        Where blocks of pairs run; threads on all cores by default.
    out : path, optional
        Folder for finished blocks; a table that was interrupted goes on from there.
    progress : bool, optional
        Show how many pairs are done; by default where stderr is a terminal.

    Returns
    -------
    Pairwise
        The same to the bit for every order of the list and of the pairs, and for every executor.

    Raises
    ------
    InputError
        A space, its features or an option is not as above; the message names it.
    WorkerError
        A process of the executor died.

    Notes
    -----
    O(n m (n + m)) a step of each start, and some 8 n^2 numbers a space; the page of many spaces has measured times.
    Kernels compile once on a machine.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> path = lambda n: np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    >>> table = gwfast.pairwise_gw([path(3), path(3), path(5)])
    >>> bool(table.value[0, 1] == 0), bool(0 < table.lower[0, 2] <= table.value[0, 2])
    (True, True)
    """
    checks.choice(quality, tuple(QUALITY), "quality")
    checks.choice(effort, EFFORTS, "effort")
    check_executor(executor)
    gap = checks.fraction(rtol, "rtol")
    budget = Budget() if time_limit is None else Budget().within(checks.positive(time_limit, "time_limit"))
    collection = collect(spaces, features=features, metric=metric, label_cost=label_cost, alpha=alpha, least=2)
    wanted = None if pairs is None else _pairs(pairs, len(collection.members))
    data = dataset(collection)
    asked = Asked(quality, "rows" if effort in SECONDS else effort, plans)
    store = None
    if out is not None:
        store = open_store(out, _manifest(data, collection.digests, asked, wanted), plans)
    table = solve(collection, data, wanted, asked, executor, store, budget, progress)
    return _proved(collection, table, effort, gap, budget, progress) if effort in SECONDS else table


def _proved(
    collection: Collection, table: Pairwise, effort: str, gap: float, budget: Budget, progress: bool | None
) -> Pairwise:
    """The table with its open bounds raised."""
    if not budget.limited:
        budget = budget.within(SECONDS[effort] * max(1, len(table.i)))
    meter = Meter(int((table.gap > gap).sum()), progress)
    gaps = np.full(len(table.i), gap)
    pairs = table.i, table.j
    lowers = raise_bounds(collection, *pairs, table.values, table.lowers, gaps, effort, budget, meter.add)
    meter.end()
    return replace(table, lowers=lowers)


def solve(
    collection: Collection,
    data: DataSet,
    wanted: np.ndarray | None,
    asked: Asked,
    executor: Executor | str | None,
    store: Store | None,
    budget: Budget,
    progress: bool | None,
) -> Pairwise:
    """Run the blocks of a table, and put their answers together."""
    count = data.count
    i, j = np.triu_indices(count, 1) if wanted is None else wanted.T
    values, lowers = np.full(len(i), np.nan), np.zeros(len(i))
    empty: list[Plan | None] = [None] * len(i)
    kept = empty if asked.plans else None
    places: dict[int, np.ndarray] = {}
    meter = Meter(len(i), progress)

    def put(block: Block, answer: Answer) -> None:
        at = places.pop(block.number)
        values[at], lowers[at] = answer.value, answer.lower
        if kept is not None and answer.atoms is not None:
            shapes = [_shape(data, a, b) for a, b in zip(block.i, block.j)]
            for place, plan, a, b in zip(at, plans_of(answer.atoms, shapes), block.i, block.j):
                kept[place] = _lifted(plan, collection, int(a), int(b))
        meter.add(len(at))

    def todo() -> Iterator[Block]:
        for number, (a, b, at) in enumerate(_numbered(count, wanted)):
            block = Block(number, a, b)
            places[number] = at
            done = store.read(number) if store is not None else None
            if done is not None:
                put(block, done)
            elif budget.expired:
                places.pop(number)
            else:
                yield block

    with closing(run(data, todo(), asked, executor)) as answers:
        for block, answer in answers:
            if store is not None:
                store.write(block.number, answer)
            put(block, answer)
    meter.end()
    found = None if kept is None else [p for p in kept if p is not None]
    return Pairwise(count, np.asarray(i), np.asarray(j), values, lowers, found, collection.largest)


def _numbered(count: int, wanted: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The blocks, with the places of their pairs in the table."""
    if wanted is not None:
        yield from blocks_of(wanted)
        return
    for a, b in all_blocks(count):
        yield a, b, a * count - a * (a + 1) // 2 + b - a - 1


def _pairs(pairs: Any, count: int) -> np.ndarray:
    try:
        found = np.asarray(pairs)
    except ValueError:
        found = np.empty(0, object)
    if found.size == 0 and found.dtype != object:
        found = np.zeros((0, 2), np.int64)
    if found.ndim != 2 or found.shape[-1] != 2 or found.dtype.kind not in "iu":
        raise InputError(f"pairs: expected whole numbers of shape (R, 2), found shape {found.shape} of {found.dtype}")
    outside = np.flatnonzero(((found < 0) | (found >= count)).any(axis=1))
    if len(outside):
        raise InputError(
            f"pairs[{outside[0]}]: found {tuple(found[outside[0]].tolist())}; positions go from 0 to {count - 1}"
        )
    return found.astype(np.int64)


def _shape(data: DataSet, i: int, j: int) -> tuple[int, int]:
    return int(data.packed.size[i, 0]), int(data.packed.size[j, 0])


def _lifted(plan: Plan, collection: Collection, i: int, j: int) -> Plan:
    shape = collection.points[i], collection.points[j]
    return plan.lifted(collection.support[i], collection.support[j], shape)


def _manifest(data: DataSet, digests: list[bytes], asked: Asked, wanted: np.ndarray | None) -> dict[str, Any]:
    return {
        "spaces": [d.hex() for d in digests],
        "pairs": "all" if wanted is None else wanted.tolist(),
        "quality": asked.quality,
        "effort": asked.effort,
        "plans": asked.plans,
        "alpha": data.fused.alpha,
        "metric": int(data.fused.metric),
        "labels": data.fused.labels.tolist(),
        "unit": data.unit,
    }


class Meter:
    """Says how many pairs are done, and about how long is left."""

    def __init__(self, total: int, progress: bool | None):
        self._total, self._done, self._begin = total, 0, UNLIMITED.now()
        self._show = sys.stderr.isatty() if progress is None else progress
        self._last = -1.0

    def add(self, count: int) -> None:
        """Count pairs."""
        self._done += count
        spent = UNLIMITED.now() - self._begin
        if self._show and (spent - self._last > 0.2 or self._done == self._total):
            self._last = spent
            left = spent * (self._total - self._done) / max(self._done, 1)
            said = f"\r{self._done} of {self._total} pairs, about {left:.0f} s left "
            print(said, end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Close the line."""
        if self._show and self._last >= 0:
            print(file=sys.stderr, flush=True)
