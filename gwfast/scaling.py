"""Entropic linear transport in the log domain, with the kernel kept in memory between scalings."""

from __future__ import annotations

from dataclasses import dataclass

from gwfast.arrays import Array, elementary, item, namespace

_EVERY = 5  # scalings between two looks at the error


@dataclass(frozen=True, eq=False)
class Scaling:
    """Outcome of `project`.

    Attributes
    ----------
    plan : array (n, m)
        Row marginals are exact to rounding.
    f, g : arrays (n,), (m,)
        Potentials, in units of the cost.
    error : float
        L1 error of the column marginals.
    iterations : int
    """

    plan: Array
    f: Array
    g: Array
    error: float
    iterations: int


def _kernel(xp, cost: Array, g: Array, epsilon: float, p: Array) -> tuple[Array, Array]:
    """Softmin kernel with row sums p, and the potential f that goes with it: safe for every scale of the cost."""
    K = (g[None, :] - cost) / epsilon
    top = xp.max(K, axis=1)
    K = elementary(K - top[:, None], "exp")
    sums = xp.sum(K, axis=1)
    K *= (p / sums)[:, None]
    return K, epsilon * (xp.log(p / sums) - top)


def project(cost: Array, p: Array, q: Array, g: Array, epsilon: float, tol: float, max_iter: int) -> Scaling:
    r"""Solve entropic optimal transport, :math:`\min_T \langle cost, T\rangle + \epsilon \sum T (\log T - 1)`.

    Parameters
    ----------
    cost : array (n, m)
        In any float dtype; the whole computation runs in it.
    p, q : arrays (n,), (m,)
    g : array (m,)
        Column potential to start from; zeros, or the last one.
    epsilon : float
    tol : float
        L1 error of the column marginals to stop at.
    max_iter : int
        Scalings at most.

    Returns
    -------
    Scaling
        O(nm) a scaling, O(nm) memory.
    """
    xp = namespace(cost)
    tiny = float(xp.finfo(cost.dtype).tiny) * 1e4
    huge = 1e15 if cost.dtype == xp.float64 else 1e8
    floor = xp.full_like(q, tiny)
    done, error = 0, float("inf")
    while True:
        K, f = _kernel(xp, cost, g, epsilon, p)
        a, b = xp.ones_like(p), xp.ones_like(q)
        columns = xp.sum(K, axis=0)
        lost = False
        while done < max_iter:
            b = q / xp.maximum(columns, floor)
            a = p / (K @ b)
            columns = a @ K
            done += 1
            if done % _EVERY == 0 or done == max_iter:
                error = item(xp.sum(xp.abs(b * columns - q)))
                lost = not (max(item(xp.max(b)), item(xp.max(a))) < huge)
                if error <= tol or lost:
                    break
        if lost and done < max_iter:
            # the scalings leave the range of the dtype: put them into the potential and rebuild the kernel
            g = g + epsilon * xp.log(xp.clip(b, tiny, 1 / tiny))
            continue
        break
    plan = K
    plan *= a[:, None]
    plan *= b[None, :]
    # f belongs to the kernel without g; both scalings go into the potentials
    return Scaling(
        plan, f + epsilon * xp.log(xp.clip(a, tiny, None)), g + epsilon * xp.log(xp.clip(b, tiny, None)), error, done
    )
