"""Run an auction between two sets of points, with falling eps, in slices that hear a budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwfast.budget import Budget
from gwfast.kernels.auction.bids import BIDS, FREE, OFFERED, WAITING, State, bid, release
from gwfast.kernels.auction.kd_tree import FAR, LEAF, Tree, blocks_of, plant
from gwfast.large.prices import SLICE, in_places

WIDE_KEPT, KEPT = 3, 16  # candidates of a bidder: a wide eps spoils many at once, and few are found sooner
FALL = 5.0  # factor between the eps of two phases
PHASE = 20  # bids a point after which a phase counts as a price war: a larger eps ends it
SHARED = 20  # times as many where masses are shared out, which takes a bid for every piece
WARS = 6  # price wars after which the rest is placed as it comes
DUST = 0.1  # share of eps that the mass left without an object may cost
FEW = 100_000  # bids that take no time


@dataclass(frozen=True, eq=False)
class Sold:
    """What an auction ends with.

    Attributes
    ----------
    rows, cols, mass : arrays (N,)
        Bidder, object and mass of the lots.
    w : array (m,)
        Prices.
    rest : array (n,)
        Mass of the bidders without an object.
    finished : bool
        Whether all but dust was sold at the last eps.
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
    wide: float,
    extent: float,
    budget: Budget,
) -> Sold:
    """Sell the masses `demand` (m,) at V to the bidders at U with masses `supply` (n,), integers of one sum.

    `first` and `last` are the eps of the first and of the last phase; above `wide` few candidates are kept; no cost
    exceeds `extent`.  The plan costs at most
    `last` times its mass more than the cheapest, however the dust that may be left without an object is placed.
    Objects without mass end with the price `FAR`.
    """
    tree = plant(V)
    order, *_ = blocks_of(U, -(-len(U) // LEAF))  # neighbours one after another
    bidders = np.ascontiguousarray(U[order])
    whole = bool((supply == demand[0]).all() and (demand == demand[0]).all())
    state = _opened(tree, bidders, supply[order], demand, w, np.zeros_like(V) if target is None else target - V)
    last = last / (1 + DUST)
    eps, wars, dust = max(first, last), 0, DUST * float(supply.sum()) / extent if extent > 0 else 0.0
    while True:
        state = _keeping(state, WIDE_KEPT if whole and eps > wide else KEPT)
        most = PHASE if whole else SHARED * PHASE
        state, done = _phase(bidders, tree, state, eps, dust * eps, most, budget)
        finished, wars = done and eps <= last, wars + (not done)
        if finished or budget.expired or wars == WARS:
            break
        eps = max(last, eps / FALL) if done else eps * FALL**2
    objects, lots = _lots(state)
    taken = (state.owner[lots] >= 0) & (state.mass[lots] > 0)
    objects, lots = objects[taken], lots[taken]
    rest = np.empty_like(supply)
    rest[order] = state.rest
    return Sold(order[state.owner[lots]], tree.point[objects], state.mass[lots], state.w[tree.place], rest, finished)


def _opened(tree: Tree, U: np.ndarray, supply: np.ndarray, demand: np.ndarray, w: np.ndarray, slope: np.ndarray):
    """The state before the first bid: every object is one lot that nobody owns."""
    n, places, offered = len(U), len(tree.point), int((demand > 0).sum())
    size = places + n + 16
    sold = in_places(tree, demand, 0) > 0
    w = np.where(sold, in_places(tree, w, FAR), FAR)
    lots = np.arange(size)
    left = np.where(lots < places, -1, lots + 1)
    left[-1] = -1
    mass, level = np.zeros(size, np.int64), np.zeros(size)
    mass[tree.place], level[:places] = demand, w
    return State(
        w=w,
        slope=in_places(tree, slope, 0.0),
        rest=supply.copy(),
        kept=np.zeros((n, 0), np.int32),
        cost=np.zeros((n, 0)),
        own=np.full((n, 0), -1, np.int32),
        threshold=np.full(n, -np.inf),
        queue=np.zeros(n, np.int64),
        root=np.where(sold, np.arange(places), -1),
        thing=np.full(size, -1, np.int64),
        owner=np.full(size, -1, np.int64),
        mass=mass,
        level=level,
        left=left,
        right=np.full(size, -1, np.int64),
        counts=np.array([0, 0, places, 0, 0, 0, offered]),
    )


def _keeping(state: State, count: int) -> State:
    """The same state with room for so many candidates of each bidder; they are found anew where it had another."""
    n, k = len(state.rest), min(count, int(state.counts[OFFERED]))
    if state.kept.shape[1] == k:
        return state
    return state._replace(
        kept=np.zeros((n, k), np.int32),
        cost=np.zeros((n, k)),
        own=np.full((n, k), -1, np.int32),
        threshold=np.full(n, -np.inf),
    )


def _phase(
    U: np.ndarray, tree: Tree, state: State, eps: float, dust: float, most: int, budget: Budget
) -> tuple[State, bool]:
    """Bid until all is sold but dust, at most `most` times a point, and whether it is."""
    release(U, tree, state, eps, np.empty(len(state.owner), np.int64))
    stop = int(state.counts[BIDS]) + most * (len(U) + len(tree.place)) + FEW
    while state.counts[WAITING] and state.counts[BIDS] < stop and not budget.expired:
        bid(U, tree, state, eps, SLICE)
        if state.counts[FREE] < 0:
            state = _more_lots(state)
        if state.rest.sum() <= dust:
            return state, True
    return state, not state.counts[WAITING]


def _more_lots(state: State) -> State:
    """The same state with room for twice as many lots."""
    size = len(state.owner)
    left = np.concatenate([state.left, np.arange(size + 1, 2 * size + 1)])
    left[-1] = -1
    state.counts[FREE] = size
    longer = {name: np.concatenate([getattr(state, name)] * 2) for name in ("owner", "mass", "level", "right", "thing")}
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
