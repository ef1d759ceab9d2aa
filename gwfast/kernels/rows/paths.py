"""Lengths of shortest paths from some nodes of a graph to all."""

from __future__ import annotations

import numpy as np

from gwfast.kernels.pairs.flags import strict

LANES = 16  # sources of a group


@strict
def paths(
    indptr: np.ndarray,
    indices: np.ndarray,
    lengths: np.ndarray,
    sources: np.ndarray,
    width: float,
    first: int,
    step: int,
    out: np.ndarray,
) -> None:
    """Write the lengths (r, n) of shortest paths from every `step`-th source; infinite where there is none.

    Nodes nearer than a threshold wait in a queue, the others in a pile; when the queue is empty the threshold rises by
    `width` (near and far pile: Davidson et al. 2014).  A length is the least over all paths of its sum from the source
    on, rounded edge by edge, so it does not depend on the order.  Lengths are not negative, or it may not end.
    """
    n = len(indptr) - 1
    queue, pile = np.empty(n, np.int64), np.empty(n, np.int64)
    queued, piled = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    for row in range(first, len(sources), step):
        distance = out[row]
        distance[:] = np.inf
        distance[sources[row]] = 0.0
        queue[0] = sources[row]
        head, waiting, heap, threshold = 0, 1, 0, width
        while waiting > 0:
            while waiting > 0:
                u = queue[head]
                head = head + 1 if head + 1 < n else 0
                waiting -= 1
                queued[u] = False
                for e in range(indptr[u], indptr[u + 1]):
                    v, far = indices[e], distance[u] + lengths[e]
                    if far < distance[v]:
                        distance[v] = far
                        if far < threshold:
                            if not queued[v]:
                                place = head + waiting
                                queue[place if place < n else place - n] = v
                                waiting += 1
                                queued[v] = True
                        elif not piled[v]:
                            pile[heap] = v
                            heap += 1
                            piled[v] = True
            least = np.inf
            for k in range(heap):
                if threshold <= distance[pile[k]] < least:
                    least = distance[pile[k]]
            former, threshold = threshold, least + width
            if not threshold > least:
                threshold = np.inf
            kept = 0
            for k in range(heap):
                v = pile[k]
                if distance[v] < former:
                    piled[v] = False
                elif distance[v] < threshold:
                    piled[v] = False
                    queue[waiting] = v
                    waiting += 1
                    queued[v] = True
                else:
                    pile[kept] = v
                    kept += 1
            heap, head = kept, 0


@strict
def near_paths(
    indptr: np.ndarray,
    indices: np.ndarray,
    lengths: np.ndarray,
    sources: np.ndarray,
    width: float,
    first: int,
    step: int,
    out: np.ndarray,
) -> None:
    """Write the rows of `paths` for every `step`-th group of LANES sources, fast where those of a group are near.

    All nodes are swept in the order of their distance from one source of the group, which is nearly the order for the
    others; a node takes the least over its neighbours for all sources at once, until nothing changes.
    """
    n = len(indptr) - 1
    distance, best = np.empty((n, LANES)), np.empty(LANES)
    stale = np.zeros(n, np.bool_)
    guide = np.empty((1, n))
    for group in range(first, (len(sources) + LANES - 1) // LANES, step):
        begin = group * LANES
        count = min(LANES, len(sources) - begin)
        middle = begin + count // 2
        paths(indptr, indices, lengths, sources[middle : middle + 1], width, 0, 1, guide)
        order = np.argsort(guide[0])
        distance[:] = np.inf
        waiting = 0
        for k in range(LANES):
            source = sources[begin + min(k, count - 1)]
            distance[source, k] = 0.0
            for e in range(indptr[source], indptr[source + 1]):
                if not stale[indices[e]]:
                    stale[indices[e]] = True
                    waiting += 1
        while waiting > 0:
            for t in range(n):
                v = order[t]
                if not stale[v]:
                    continue
                stale[v] = False
                waiting -= 1
                for k in range(LANES):
                    best[k] = distance[v, k]
                for e in range(indptr[v], indptr[v + 1]):
                    u, far = indices[e], lengths[e]
                    for k in range(LANES):
                        z = distance[u, k] + far
                        best[k] = z if z < best[k] else best[k]
                moved = False
                for k in range(LANES):
                    moved |= best[k] < distance[v, k]
                if moved:
                    for k in range(LANES):
                        distance[v, k] = best[k]
                    for e in range(indptr[v], indptr[v + 1]):
                        if not stale[indices[e]]:
                            stale[indices[e]] = True
                            waiting += 1
        for k in range(count):
            for v in range(n):
                out[begin + k, v] = distance[v, k]
