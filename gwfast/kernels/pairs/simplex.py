"""A transportation simplex on integer flows: exact, warm, and without cycling, for small dense problems.

Nodes are the n rows and then the m columns; a basis is a spanning tree that hangs from row 0.  Supplies are scaled by
2n + 3 and perturbed (Orden 1956), so that no basis is degenerate.
"""

from __future__ import annotations

import numpy as np

from gwfast.kernels.pairs.flags import fast
from gwfast.kernels.pairs.layout import (
    DEPTH,
    DIST,
    EDGE_F,
    EDGE_I,
    EDGE_J,
    FIRST,
    LEFT,
    NEXT,
    PARENT,
    POTENTIAL,
    PREVIOUS,
    PRICES,
    STACK,
    SUPPLY,
    TREE_FLOW,
    VERTEX,
)

_FAR = 1e300
_LOOK = 4  # violated rows that are looked at before a pivot


@fast
def _hang(x, parent, whole):
    """Make node x a child of `parent`."""
    first = whole[FIRST, parent]
    whole[PARENT, x] = parent
    whole[NEXT, x] = first
    whole[PREVIOUS, x] = -1
    if first >= 0:
        whole[PREVIOUS, first] = x
    whole[FIRST, parent] = x


@fast
def _settle(c, n, root, shift, fresh, potential, whole):
    """Visit the subtree of `root` from above: depths, and potentials (`fresh`: from the costs, else moved)."""
    parent, first, following = whole[PARENT], whole[FIRST], whole[NEXT]
    depth, stack = whole[DEPTH], whole[STACK]
    top = 1
    stack[0] = root
    sign = shift if root < n else -shift
    while top > 0:
        top -= 1
        x = stack[top]
        up = parent[x]
        if up >= 0:
            depth[x] = depth[up] + 1
            if fresh:
                potential[x] = (c[x, up - n] if x < n else c[up, x - n]) - potential[up]
        if not fresh:
            potential[x] += sign if x < n else -sign
        y = first[x]
        while y >= 0:
            stack[top] = y
            top += 1
            y = following[y]


@fast
def first_basis(c, n, m, vector, whole):
    """Build a spanning tree by the row minimum rule on the cost less the PRICES."""
    hint, rest, depth = vector[PRICES], whole[LEFT], whole[DEPTH]
    edge_i, edge_j, edge_f = whole[EDGE_I], whole[EDGE_J], whole[EDGE_F]
    for x in range(n + m):
        rest[x] = whole[SUPPLY, x]
        whole[FIRST, x] = -1
        whole[PARENT, x] = -1
        whole[NEXT, x] = -1
        whole[PREVIOUS, x] = -1
        depth[x] = -1
    count = 0
    for i in range(n):
        while rest[i] > 0:
            least, at = _FAR, -1
            for j in range(m):
                if rest[n + j] > 0:
                    d = c[i, j] - hint[j]
                    if d < least:
                        least, at = d, j
            if at < 0:
                break
            moved = min(rest[i], rest[n + at])
            edge_i[count], edge_j[count], edge_f[count] = i, at, moved
            count += 1
            rest[i] -= moved
            rest[n + at] -= moved
    # grow the tree from row 0; edges that do not touch it yet are tried again
    depth[0] = 0
    done = 0
    while done < count:
        before = done
        for k in range(done, count):
            i, j, f = edge_i[k], n + edge_j[k], edge_f[k]
            if depth[i] >= 0 and depth[j] < 0:
                _hang(j, i, whole)
                depth[j] = depth[i] + 1
                whole[TREE_FLOW, j] = f
            elif depth[j] >= 0 and depth[i] < 0:
                _hang(i, j, whole)
                depth[i] = depth[j] + 1
                whole[TREE_FLOW, i] = f
            else:
                continue
            edge_i[k], edge_i[done] = edge_i[done], edge_i[k]
            edge_j[k], edge_j[done] = edge_j[done], edge_j[k]
            edge_f[k], edge_f[done] = edge_f[done], edge_f[k]
            done += 1
        if done == before:
            return


@fast
def row_least(c, v, m):
    """Return the least reduced cost of a row."""
    low = c[0] - v[0]
    for j in range(1, m):
        low = min(low, c[j] - v[j])
    return low


@fast
def simplex(c, n, m, vector, whole, tol):
    """Pivot from the spanning tree at hand until no reduced cost is below -tol; POTENTIAL receives the dual."""
    potential, v = vector[POTENTIAL], vector[POTENTIAL, n:]
    parent, depth, flow = whole[PARENT], whole[DEPTH], whole[TREE_FLOW]
    potential[0] = 0.0
    _settle(c, n, 0, 0.0, True, potential, whole)
    begin = 0
    for _ in range(50 * (n + m) + 1000):
        i, least, low, seen, found, at = -1, -tol, 0.0, 0, 0, begin
        while seen < n and found < _LOOK:  # the most violated place of the next few violated rows
            x = row_least(c[at], v, m)
            if x - potential[at] < -tol:
                found += 1
                if x - potential[at] < least:
                    i, least, low = at, x - potential[at], x
            at = at + 1 if at + 1 < n else 0
            seen += 1
        if i < 0:
            return
        begin = at
        row = c[i]
        j = 0
        while j < m - 1 and row[j] - v[j] > low:
            j += 1
        reduced = row[j] - v[j] - potential[i]
        # the cycle: rows lose on the way up from i, columns on the way up from j
        x, y, theta, leaving, side = i, n + j, np.int64(2**62), -1, 0
        while x != y:
            if depth[x] >= depth[y]:
                if x < n and flow[x] < theta:
                    theta, leaving, side = flow[x], x, 0
                x = parent[x]
            else:
                if y >= n and flow[y] < theta:
                    theta, leaving, side = flow[y], y, 1
                y = parent[y]
        if leaving < 0:
            return
        x, y = i, n + j
        while x != y:
            if depth[x] >= depth[y]:
                flow[x] += -theta if x < n else theta
                x = parent[x]
            else:
                flow[y] += -theta if y >= n else theta
                y = parent[y]
        # the subtree below the leaving edge is turned to hang from the entering one
        start, above = (i, n + j) if side == 0 else (n + j, i)
        x, carried = start, theta
        while True:
            old, kept = parent[x], flow[x]
            left, right = whole[PREVIOUS, x], whole[NEXT, x]
            if left >= 0:
                whole[NEXT, left] = right
            else:
                whole[FIRST, old] = right
            if right >= 0:
                whole[PREVIOUS, right] = left
            _hang(x, above, whole)
            flow[x] = carried
            if x == leaving:
                break
            above, carried, x = x, kept, old
        _settle(c, n, start, reduced, False, potential, whole)


@fast
def tree_plan(n, m, p, q, unit, matrix, vector, whole):
    """Write the plan of the basis: multiples of `unit` for uniform weights, else masses from the leaves up."""
    V, parent = matrix[VERTEX], whole[PARENT]
    for i in range(n):
        row = V[i]
        for j in range(V.shape[1]):
            row[j] = 0.0
    if unit > 0.0:
        scale = np.int64(2 * n + 3)
        for x in range(1, n + m):
            f = (whole[TREE_FLOW, x] + n + 1) // scale
            if f > 0:
                if x < n:
                    V[x, parent[x] - n] = f * unit
                else:
                    V[parent[x], x - n] = f * unit
        return
    rest, stack, order = vector[DIST], whole[STACK], whole[EDGE_I]
    for i in range(n):
        rest[i] = p[i]
    for j in range(m):
        rest[n + j] = q[j]
    top, count = 1, 0
    stack[0] = 0
    while top > 0:
        top -= 1
        x = stack[top]
        order[count] = x
        count += 1
        y = whole[FIRST, x]
        while y >= 0:
            stack[top] = y
            top += 1
            y = whole[NEXT, y]
    for k in range(count - 1, 0, -1):  # children before parents
        x = order[k]
        up = parent[x]
        f = max(rest[x], 0.0)
        if x < n:
            V[x, up - n] = f
        else:
            V[up, x - n] = f
        rest[up] -= f
