"""An auction of masses: bidders take the cheapest lots of the object they like best, and outbid their owners.

Masses are integers, so that nothing is lost.  The lots of an object lie in a heap by their level; the price of the
object is the level of its cheapest lot.  A bidder who bids again for an object raises what he has of it, so that masses
do not break into ever smaller lots.  Every lot keeps eps complementary slackness: its owner finds no object cheaper
by more than eps.  Prices only rise, so the candidates that a bidder found once stay valid: what he did not keep costs
at least his `threshold`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gwfast.kernels.auction.kd_tree import FAR, LEAF
from gwfast.kernels.auction.search import cheapest, least_price, refresh
from gwfast.kernels.pairs.flags import fast

RAISE = 0.9  # lots are raised by at least the rest of eps
OFTEN = 16  # the price model is fitted anew after a share 1 / OFTEN of the bidders has searched
HEAD, WAITING, FREE, BIDS, SEARCHES, SINCE, OFFERED = range(7)  # places of `counts`


class State(NamedTuple):
    """All that an auction knows between two calls; n bidders, objects in the places of a tree."""

    w: np.ndarray  # (places,) prices
    slope: np.ndarray  # (places, d), guess of the slope of the prices: u - v for the u that bid last
    rest: np.ndarray  # (n,) mass that a bidder still has to place
    kept: np.ndarray  # (n, k) candidates
    cost: np.ndarray  # (n, k) their costs
    own: np.ndarray  # (n, k) lot that the bidder may have at his candidate
    threshold: np.ndarray  # (n,) what others cost at least
    queue: np.ndarray  # (n,) ring of the bidders with mass to place
    root: np.ndarray  # (places,) cheapest lot of an object, -1 without lots
    thing: np.ndarray  # (lots,) object
    owner: np.ndarray  # (lots,) bidder, -1 for mass that nobody has
    mass: np.ndarray  # (lots,) 0 where it went to a higher lot of the same bidder
    level: np.ndarray  # (lots,)
    left: np.ndarray  # (lots,) children in the heap; `left` chains the free lots
    right: np.ndarray  # (lots,)
    counts: np.ndarray  # (7,)


@fast
def _merge(a, b, level, left, right):
    """Merge two skew heaps (Sleator and Tarjan 1986) and return the root."""
    if a < 0:
        return b
    if b < 0:
        return a
    if level[b] < level[a]:
        a, b = b, a
    root = a
    while True:
        c = right[a]
        right[a] = left[a]
        if c < 0:
            left[a] = b
            return root
        if level[b] < level[c]:
            b, c = c, b
        left[a] = c
        a = c


@fast
def release(U, tree, state, eps, stack):
    """Begin a phase: take from their owners the lots that break eps complementary slackness, and queue who has mass.

    All lots fall to the price of their object.  `stack` (lots,) is work space.
    """
    n, d = U.shape
    k = state.kept.shape[1]
    w, points, counts = state.w, tree.points, state.counts
    best = np.empty(n)
    for i in range(n):
        best[i] = state.threshold[i]
        if best[i] > -FAR:
            for j in range(k):
                best[i] = min(best[i], state.cost[i, j] + w[state.kept[i, j]])
    for o in range(len(w)):
        top = 0
        if state.root[o] >= 0:
            stack[0] = state.root[o]
            top = 1
        while top > 0:
            top -= 1
            lot = stack[top]
            state.level[lot] = w[o]
            i = state.owner[lot]
            if i >= 0:
                s = 0.0
                for c in range(d):
                    z = U[i, c] - points[o // LEAF, c, o % LEAF]
                    s += z * z
                if 0.5 * s + w[o] > best[i] + eps:
                    state.owner[lot] = -1
                    state.rest[i] += state.mass[lot]
            if state.left[lot] >= 0:
                stack[top] = state.left[lot]
                top += 1
            if state.right[lot] >= 0:
                stack[top] = state.right[lot]
                top += 1
    counts[HEAD] = counts[WAITING] = 0
    for i in range(n):
        if state.rest[i] > 0:
            state.queue[counts[WAITING]] = i
            counts[WAITING] += 1
    refresh(tree, w, state.slope)


@fast
def bid(U, tree, state, eps, most):
    """Let bidders bid until nobody waits, `most` bids are made, or no lot is free; return how many wait."""
    n, d = U.shape
    w, points, counts = state.w, tree.points, state.counts
    rest, queue, root, owner, mass, thing = state.rest, state.queue, state.root, state.owner, state.mass, state.thing
    level, left, right = state.level, state.left, state.right
    k = state.kept.shape[1]
    ids, cost, total, had = np.empty(k, np.int64), np.empty(k), np.empty(k), np.empty(k, np.int64)
    stack, keys, scan = np.empty(128, np.int64), np.empty(128), np.empty(LEAF)
    head, waiting = counts[HEAD], counts[WAITING]
    bids, searches = 0, 0
    while waiting > 0 and bids < most and counts[FREE] >= 0:
        i = queue[head]
        b1, b2, slot = 4 * FAR, 4 * FAR, -1
        if state.threshold[i] > -FAR:
            for j in range(k):
                v = state.cost[i, j] + w[state.kept[i, j]]
                if v < b1:
                    b2, b1, slot = b1, v, j
                elif v < b2:
                    b2 = v
        if slot < 0 or b2 > state.threshold[i]:
            counts[SINCE] += 1
            if counts[SINCE] * OFTEN >= n:
                counts[SINCE] = 0
                refresh(tree, w, state.slope)
            cheapest(U[i], tree, w, k, ids, cost, total, stack, keys, scan)
            for j in range(k):
                had[j] = -1
                for t in range(k):
                    if state.kept[i, t] == ids[j]:
                        had[j] = state.own[i, t]
            for j in range(k):
                state.kept[i, j], state.cost[i, j], state.own[i, j] = ids[j], cost[j], had[j]
            state.threshold[i] = total[k - 1] if k < counts[OFFERED] else FAR
            b1, slot = total[0], 0
            b2 = total[1] if k > 1 else 4 * FAR
            searches += 1
        bids += 1
        head = head + 1 if head + 1 < n else 0
        waiting -= 1
        o = state.kept[i, slot]
        raised = w[o] + eps + (b2 - b1 if b2 < FAR else 0.0)
        new = counts[FREE]
        counts[FREE] = left[new]
        # what he has elsewhere must not pass from hand to hand in small pieces at the same prices: he raises a lot that
        # keeps the price of its object down
        for j in range(k):
            lot = state.own[i, j]
            if lot < 0 or j == slot:
                continue
            a = state.kept[i, j]
            if owner[lot] != i or thing[lot] != a:
                state.own[i, j] = -1
                continue
            dearer = state.cost[i, j] + w[a] - b1
            if dearer < RAISE * eps and level[lot] <= w[a] and counts[FREE] >= 0:
                higher = counts[FREE]
                counts[FREE] = left[higher]
                owner[higher], mass[higher], level[higher] = i, mass[lot], w[a] + eps - dearer
                thing[higher], left[higher], right[higher] = a, -1, -1
                mass[lot] = 0
                state.own[i, j] = higher
                root[a] = _merge(root[a], higher, level, left, right)
                while mass[root[a]] == 0:
                    lot = root[a]
                    root[a] = _merge(left[lot], right[lot], level, left, right)
                    left[lot], owner[lot] = counts[FREE], -1
                    counts[FREE] = lot
                if level[root[a]] > w[a]:
                    w[a] = level[root[a]]
                    least_price(tree, tree.home[a // LEAF], w)
        wanted, got = rest[i], 0
        old = state.own[i, slot]
        has = 0
        if old >= 0 and owner[old] == i and thing[old] == o:
            has = mass[old]
            mass[old] = 0
        lot = root[o]
        while lot >= 0 and (mass[lot] == 0 or (got < wanted and level[lot] < raised)):
            j = owner[lot]
            taken = mass[lot] if j == i else min(mass[lot], wanted - got)
            if taken < mass[lot]:
                mass[lot] -= taken
            else:
                root[o] = _merge(left[lot], right[lot], level, left, right)
                left[lot], owner[lot] = counts[FREE], -1
                counts[FREE] = lot
            if j == i:
                has += taken
            else:
                got += taken
                if j >= 0 and taken > 0:
                    if rest[j] == 0:
                        queue[(head + waiting) % n] = j
                        waiting += 1
                    rest[j] += taken
            lot = root[o]
        rest[i] = wanted - got
        if rest[i] > 0:
            queue[(head + waiting) % n] = i
            waiting += 1
        owner[new], mass[new], level[new], thing[new], left[new], right[new] = i, got + has, raised, o, -1, -1
        state.own[i, slot] = new
        root[o] = _merge(root[o], new, level, left, right)
        w[o] = level[root[o]]
        for c in range(d):
            state.slope[o, c] = U[i, c] - points[o // LEAF, c, o % LEAF]
        # the nodes above keep an older and smaller, hence valid, price
        least_price(tree, tree.home[o // LEAF], w)
    counts[HEAD], counts[WAITING] = head, waiting
    counts[BIDS] += bids
    counts[SEARCHES] += searches
    return waiting
