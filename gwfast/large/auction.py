"""Run an auction between two sets of points, with falling eps, in slices that hear a budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwfast.budget import Budget
from gwfast.kernels.auction.bids import BIDS, FREE, WAITING, State, bid, release
from gwfast.kernels.auction.kd_tree import FAR, LEAF, Tree, blocks_of, plant
from gwfast.large.prices import SLICE, in_places

KEPT = 16  # candidates of a bidder
FALL = 5.0  # factor between the eps of two phases
PHASE = 200  # bids a bidder after which a phase counts as a price war: a larger eps ends it
LIMIT = 4000  # bids a bidder in all


@dataclass(frozen=True, eq=False)
class Sold:
    """What an auction ends with: lots (bidder, object, mass), prices, mass of bidders without an object, and whether
    all was sold at the last eps.
    """

    rows: np.ndarray
    cols: np.ndarray
    mass: np.ndarray
    w: np.ndarray
    rest: np.ndarray
    finished: bool


def auction(
    U: np.ndarray,
    V: np.ndarray,
    supply: np.ndarray,
    demand: np.ndarray,
    w: np.ndarray,
    target: np.ndarray | None,
    first: float,
    last: float,
    budget: Budget,
) -> Sold:
    """Sell the masses `demand` (m,) at V to the bidders at U with masses `supply` (n,), integers of one sum.

    `first` and `last` are the eps of the first and of the last phase.  The plan costs at most `last` times its mass
    more than the cheapest.
    """
    tree = plant(V)
    order, *_ = blocks_of(U, -(-len(U) // LEAF))  # neighbours one after another
    bidders = np.ascontiguousarray(U[order])
    state = _opened(tree, bidders, supply[order], demand, w, np.zeros_like(V) if target is None else target - V)
    eps, finished = max(first, last), False
    while True:
        state, done = _phase(bidders, tree, state, eps, budget)
        if budget.expired or state.counts[BIDS] >= LIMIT * len(U):
            finished = done and eps <= last
            break
        if done and eps <= last:
            finished = True
            break
        eps = max(last, eps / FALL) if done else eps * FALL**2
    objects, lots = _lots(state)
    taken = state.owner[lots] >= 0
    objects, lots = objects[taken], lots[taken]
    rest = np.empty_like(supply)
    rest[order] = state.rest
    return Sold(order[state.owner[lots]], tree.point[objects], state.mass[lots], state.w[tree.place], rest, finished)


def _opened(tree: Tree, U: np.ndarray, supply: np.ndarray, demand: np.ndarray, w: np.ndarray, slope: np.ndarray):
    """The state before the first bid: every object is one lot that nobody owns."""
    n, places, k = len(U), len(tree.point), min(KEPT, len(tree.place))
    size = places + n + 16
    w = in_places(tree, w, FAR)
    lots = np.arange(size)
    left = np.where(lots < places, -1, lots + 1)
    left[-1] = -1
    mass, level = np.zeros(size, np.int64), np.zeros(size)
    mass[tree.place], level[:places] = demand, w
    return State(
        w=w,
        slope=in_places(tree, slope, 0.0),
        rest=supply.copy(),
        kept=np.zeros((n, k), np.int32),
        cost=np.zeros((n, k)),
        threshold=np.full(n, -np.inf),
        queue=np.zeros(n, np.int64),
        root=np.where(tree.point >= 0, np.arange(places), -1),
        owner=np.full(size, -1, np.int64),
        mass=mass,
        level=level,
        left=left,
        right=np.full(size, -1, np.int64),
        counts=np.array([0, 0, places, 0, 0, 0]),
    )


def _phase(U: np.ndarray, tree: Tree, state: State, eps: float, budget: Budget) -> tuple[State, bool]:
    """Bid until all is sold, and whether it is."""
    release(U, tree, state, eps, np.empty(len(state.owner), np.int64))
    stop = int(state.counts[BIDS]) + PHASE * len(U)
    while state.counts[WAITING] and state.counts[BIDS] < stop and not budget.expired:
        bid(U, tree, state, eps, SLICE)
        if state.counts[FREE] < 0:
            state = _more_lots(state)
    return state, not state.counts[WAITING]


def _more_lots(state: State) -> State:
    """The same state with room for twice as many lots."""
    size = len(state.owner)
    left = np.concatenate([state.left, np.arange(size + 1, 2 * size + 1)])
    left[-1] = -1
    state.counts[FREE] = size
    longer = {name: np.concatenate([getattr(state, name)] * 2) for name in ("owner", "mass", "level", "right")}
    return state._replace(left=left, **longer)


def _lots(state: State) -> tuple[np.ndarray, np.ndarray]:
    """Objects (places) and lots of all heaps."""
    objects = np.flatnonzero(state.root >= 0)
    lots = state.root[objects]
    found = [(objects, lots)]
    while len(lots):
        children = np.concatenate([state.left[lots], state.right[lots]])
        objects = np.concatenate([objects, objects])[children >= 0]
        lots = children[children >= 0]
        found.append((objects, lots))
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])
