"""Entropic partial transport: rows at most p, columns at most q, a given mass."""

from __future__ import annotations

from gwfast.arrays import Array, item, namespace
from gwfast.scaling import Scaling


def filled(logs: Array, caps: Array, mass: float) -> Array:
    """Logarithms of min(caps, c exp(logs)) with the number c for which they sum to `mass` (at most the sum of `caps`).

    O(n log n): the entries are filled in the order in which they reach their caps.
    """
    xp = namespace(logs)
    limits = xp.log(caps) - logs  # log c at which an entry is full
    order = xp.argsort(limits)
    top = xp.max(logs)
    sizes, full = xp.take(xp.exp(logs - top), order, axis=0), xp.take(caps, order, axis=0)
    before = xp.cumulative_sum(full) - full
    tail = xp.flip(xp.cumulative_sum(xp.flip(sizes)))
    tiny = xp.zeros_like(top) + float(xp.finfo(logs.dtype).tiny)
    scales = xp.log(xp.maximum(mass - before, tiny)) - xp.log(xp.maximum(tail, tiny)) - top
    fits = scales <= xp.take(limits, order, axis=0)
    first = int(xp.argmax(xp.astype(fits, xp.int64)))
    scale = scales[first] if bool(fits[first]) else xp.max(limits)
    return xp.minimum(xp.log(caps), scale + logs)


def project_partial(
    cost: Array, p: Array, q: Array, g: Array, mass: float, epsilon: float, tol: float, max_iter: int
) -> Scaling:
    r"""Solve :math:`\min_T \langle cost, T\rangle + \epsilon \sum T (\log T - 1)`, T 1 <= p, T' 1 <= q, 1' T 1 = mass.

    T = exp((f + g + c - cost) / epsilon) with f, g <= 0: each step maximises the dual over (f, c) or (g, c), after it
    one side is feasible and the mass exact.

    Returns
    -------
    Scaling
        Rows at most p and the mass exact to rounding; `error` is the mass by which columns exceed q.  O(nm) a scaling.
    """
    xp = namespace(cost)
    zero = xp.zeros_like(q[0])
    tiny = zero + float(xp.finfo(cost.dtype).tiny) * 1e4
    huge = 1e15 if cost.dtype == xp.float64 else 1e8
    log = lambda x: xp.log(xp.maximum(x, tiny))
    v, done, error = xp.minimum(g, xp.zeros_like(g)) / epsilon, 0, float("inf")
    while True:
        K = (v[None, :]) - cost / epsilon
        top = xp.max(K, axis=1)
        K = xp.exp(K - top[:, None])  # the rows' potentials start at -top
        b = xp.ones_like(q)
        while True:
            rows = log(K @ b)
            totals = filled(rows + top, p, mass)  # over f <= 0 and c, for these columns
            level = xp.max(totals - rows - top)  # c, where a row is not full
            a = xp.exp(totals - rows)
            done += 1
            columns = a @ K
            if done >= max_iter or done % 2 == 0:
                error = item(xp.sum(xp.maximum(b * columns - q, zero)))
                if error <= tol or done >= max_iter:
                    break
            # over g <= 0 and c, for these rows; column k has exp(v_k) b_k <= exp(c')
            logs = log(columns) - v
            b = xp.exp(filled(logs, q, mass) - log(columns))
            shift = xp.max(log(b) + v)
            b = b / xp.exp(shift)
            if not (item(xp.max(b)) < huge and item(xp.max(a)) < huge):
                break
        v = v + log(b)
        if error <= tol or done >= max_iter:
            break
    plan = K * a[:, None] * b[None, :]
    f = epsilon * xp.minimum(xp.log(a) - top - level, xp.zeros_like(top))
    return Scaling(plan, f, epsilon * v, error, done)
