"""Semi-relaxed problems as fields of labels: point i of the first space takes a label k, a point of the second.

The cost of a labelling is the sum of unary[i, k] and, over pairs i < j, of theta_ij(k, l) = weights[i] weights[j]
((A_ij - B_kl)^2 + (A_ji - B_lk)^2).
"""

from __future__ import annotations

import numpy as np

from gwfast.kernels.compiled import compiled


@compiled()
def _pair(A, B, w, i, j, k, m):
    """The costs (m,) of the labels of j beside the label k of i."""
    scale, found = w[i] * w[j], np.empty(m)
    for b in range(m):
        x, y = A[i, j] - B[k, b], A[j, i] - B[b, k]
        found[b] = scale * (x * x + y * y)
    return found


@compiled()
def settle(A, B, w, unary, labels, sweeps):
    """Change one label at a time while that lowers the cost; O(n^2 m) a sweep, at most so many."""
    n, m = unary.shape
    for _ in range(sweeps):
        moved = False
        for i in range(n):
            cost = unary[i].copy()
            for j in range(n):
                if j != i:
                    scale = w[i] * w[j]
                    for k in range(m):
                        x, y = A[i, j] - B[k, labels[j]], A[j, i] - B[labels[j], k]
                        cost[k] += scale * (x * x + y * y)
            best = labels[i]
            for k in range(m):
                if cost[k] < cost[best] - 1e-14 * abs(cost[best]):
                    best = k
            if best != labels[i]:
                labels[i] = best
                moved = True
        if not moved:
            break


@compiled(error_model="numpy")
def ascend(A, B, w, messages, belief, heat):
    """One sweep over all pairs (MPLP, its minima softened by `heat`), in place; O(n^2 m^2).

    `messages` (n, n, m) holds what the pair {i, j} gives to label k of i; `belief` (n, m) is unary plus their sum.
    Messages from soft minima are slightly too low or too high; bounds are made by `certified`.
    """
    n, m = belief.shape
    table = np.empty((m, m))
    first, second = np.empty(m), np.empty(m)
    for i in range(n):
        for j in range(i):
            for k in range(m):
                first[k] = belief[i, k] - messages[i, j, k]
                second[k] = belief[j, k] - messages[j, i, k]
            for k in range(m):
                table[k] = _pair(A, B, w, i, j, k, m)
            for k in range(m):
                low = np.inf
                for b in range(m):
                    low = min(low, table[k, b] + second[b])
                if heat > 0:
                    total = 0.0
                    for b in range(m):
                        total += np.exp((low - table[k, b] - second[b]) / heat)
                    low -= heat * np.log(total)
                messages[i, j, k] = 0.5 * (low - first[k])
            for b in range(m):
                low = np.inf
                for k in range(m):
                    low = min(low, table[k, b] + first[k])
                if heat > 0:
                    total = 0.0
                    for k in range(m):
                        total += np.exp((low - table[k, b] - first[k]) / heat)
                    low -= heat * np.log(total)
                messages[j, i, b] = 0.5 * (low - second[b])
            for k in range(m):
                belief[i, k] = first[k] + messages[i, j, k]
                belief[j, k] = second[k] + messages[j, i, k]


@compiled(error_model="numpy")
def certified(A, B, w, messages, unary, belief, size):
    """Beliefs (n, m) that any messages of the pairs i > j prove, and the sizes (n,) of what was summed; O(n^2 m^2).

    The messages to i are taken as they are; those to j are the largest that the costs allow beside them, and are
    written.  The sum over i of the least belief is at most the cost of every plan.
    """
    n, m = unary.shape
    belief[:] = unary
    size[:] = 0.0
    for i in range(n):
        for k in range(m):
            size[i] = max(size[i], abs(unary[i, k]))
    for i in range(n):
        for j in range(i):
            for b in range(m):
                messages[j, i, b] = np.inf
            for k in range(m):
                row = _pair(A, B, w, i, j, k, m)
                for b in range(m):
                    messages[j, i, b] = min(messages[j, i, b], row[b] - messages[i, j, k])
            top_i, top_j = 0.0, 0.0
            for k in range(m):
                belief[i, k] += messages[i, j, k]
                belief[j, k] += messages[j, i, k]
                top_i, top_j = max(top_i, abs(messages[i, j, k])), max(top_j, abs(messages[j, i, k]))
            size[i] += top_i
            size[j] += 2 * top_i + top_j


@compiled(error_model="numpy")
def search(A, B, w, messages, belief, upper, labels, most):
    """Depth-first search for a labelling of less than `upper`; `labels` (n,) holds the best.

    Costs are those that the messages leave: belief[i, k] and, for pairs, theta less both messages, which is below 0 by
    rounding only.  Returns the least cost that was found or `upper`, and the nodes; negative where `most` ran out.
    """
    n, m = belief.shape
    left = np.empty((n + 1, n, m))  # costs of the labels of each point beside those chosen so far
    left[0] = belief
    now, order = np.zeros(n, np.int64), np.zeros((n, m), np.int64)
    at, spent = np.zeros(n, np.int64), np.zeros(n + 1)
    depth, nodes, best = 0, 0, upper
    order[0] = np.argsort(belief[0])
    while depth >= 0:
        if at[depth] == m:
            depth -= 1
            continue
        k = order[depth, at[depth]]
        at[depth] += 1
        nodes += 1
        if nodes > most:
            return best, -nodes
        total = spent[depth] + left[depth, depth, k]
        bound = total
        now[depth] = k
        for i in range(depth + 1, n):
            low = np.inf
            for b in range(m):
                x, y = A[depth, i] - B[k, b], A[i, depth] - B[b, k]
                cost = w[i] * w[depth] * (x * x + y * y) - messages[i, depth, b] - messages[depth, i, k]
                left[depth + 1, i, b] = left[depth, i, b] + cost
                low = min(low, left[depth + 1, i, b])
            bound += low
        if not bound < best:
            continue
        if depth == n - 1:
            best = total
            labels[:] = now
            continue
        spent[depth + 1] = total
        depth += 1
        at[depth] = 0
        order[depth] = np.argsort(left[depth, depth])
    return best, nodes
