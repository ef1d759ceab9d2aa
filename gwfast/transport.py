"""Linear optimal transport, the one place: sorted features on the line, and general costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwfast._array import Array, namespace
from gwfast.space import EPS

Atoms = tuple[Array, Array, Array]


def is_uniform(p: Array, q: Array) -> bool:
    """Whether both sides have the same number of points, all of one mass, so that plans are permutations."""
    if p.shape[0] != q.shape[0]:
        return False
    xp = namespace(p)
    return bool(xp.all(p == p[0])) and bool(xp.all(q == p[0]))


def _half_merge(a: Array, b: Array) -> Atoms:
    """North-west-corner atoms (positions in a and b, mass) that fill the interval [0, 1/2)."""
    xp = namespace(a)
    left, right = xp.cumulative_sum(a), xp.cumulative_sum(b)
    left, right = left[left < 0.5], right[right < 0.5]
    breaks = xp.concat([left, right])
    order = xp.argsort(breaks, stable=True)
    half = xp.full_like(breaks[:1], 0.5) if breaks.shape[0] else xp.asarray([0.5], dtype=a.dtype, device=a.device)
    ends = xp.concat([xp.take(breaks, order, axis=0), half])
    mass = xp.concat([ends[:1], ends[1:] - ends[:-1]])
    from_a = xp.astype(order < left.shape[0], order.dtype)
    start = xp.zeros_like(half, dtype=order.dtype)
    i = xp.concat([start, xp.cumulative_sum(from_a)])
    k = xp.concat([start, xp.cumulative_sum(1 - from_a)])
    keep = mass > 0
    return i[keep], k[keep], mass[keep]


def monotone_atoms(p: Array, q: Array) -> Atoms:
    """Atoms of the monotone coupling of the weights `p` (n,) and `q` (m,), both already in sorted order.

    Both halves are merged from their own end, so that every cumulative sum is accurate relative to the mass
    beyond it: light points far out keep their exact weight.  At most n + m + 1 atoms, O((n + m) log(n + m)).
    """
    xp = namespace(p)
    i, k, mass = _half_merge(p, q)
    ir, kr, mass_r = _half_merge(xp.flip(p), xp.flip(q))
    ir, kr, mass_r = xp.flip(p.shape[0] - 1 - ir), xp.flip(q.shape[0] - 1 - kr), xp.flip(mass_r)
    if int(i[-1]) == int(ir[0]) and int(k[-1]) == int(kr[0]):
        mass = xp.concat([mass[:-1], mass[-1:] + mass_r[:1], mass_r[1:]])
        return xp.concat([i, ir[1:]]), xp.concat([k, kr[1:]]), mass
    return xp.concat([i, ir]), xp.concat([k, kr]), xp.concat([mass, mass_r])


def sorted_atoms(f: Array, g: Array, p: Array, q: Array) -> Atoms:
    """Optimal plan between features `f` (n,) and `g` (m,) on the line, for every convex cost: match in order.

    The atoms are listed by increasing first point where the plan is a permutation.
    """
    xp = namespace(f)
    order_f, order_g = xp.argsort(f, stable=True), xp.argsort(g, stable=True)
    if is_uniform(p, q):
        back = xp.argsort(order_f, stable=True)
        return xp.arange(f.shape[0], device=f.device), xp.take(order_g, back, axis=0), p
    i, k, mass = monotone_atoms(xp.take(p, order_f, axis=0), xp.take(q, order_g, axis=0))
    return xp.take(order_f, i, axis=0), xp.take(order_g, k, axis=0), mass


def wasserstein_1d(f: Array, g: Array, p: Array, q: Array) -> Array:
    """Squared Wasserstein distance W_2^2 between features on the line, by sorting; differentiable in f and g."""
    xp = namespace(f)
    if is_uniform(p, q):
        gap = xp.sort(f) - xp.sort(g)
        return xp.sum(gap * gap) / f.shape[0]
    i, k, mass = sorted_atoms(f, g, p, q)
    gap = xp.take(f, i, axis=0) - xp.take(g, k, axis=0)
    return mass @ (gap * gap)


@dataclass(frozen=True)
class LinearSolution:
    """Optimal plan of a linear cost, as atoms, and a proved lower bound on its value.

    Attributes
    ----------
    rows, cols, mass : arrays (N,)
        Atoms of the plan, N <= n + m - 1.
    lower : float
        Value of dual potentials made feasible by a c-transform, rounding taken off; proved whatever the solver did.
    duals : pair of arrays (n,), (m,)
        Those potentials.
    """

    rows: np.ndarray
    cols: np.ndarray
    mass: np.ndarray
    lower: float
    duals: tuple[np.ndarray, np.ndarray]


def solve_linear(M: np.ndarray, p: np.ndarray, q: np.ndarray) -> LinearSolution:
    """Minimise <M, T> over couplings T of p (n,) and q (m,), for a cost M (n, m) of any sign and size.

    The network simplex runs on the cost shifted and scaled to [0, 1] (it returns wrong plans for negative costs).
    O(nm (n + m)) in practice.
    """
    from ot.lp.emd_wrap import emd_c  # here, because importing POT imports torch where it is installed

    low, high = float(M.min()), float(M.max())
    span = high - low
    scaled = np.zeros_like(M) if span == 0 else (M - low) / span
    q = q * (p.sum() / q.sum())
    plan, _, u, _, _ = emd_c(p, q, np.ascontiguousarray(scaled), 100_000_000, 1)
    v = (scaled - u[:, None]).min(axis=0)
    u = (scaled - v[None, :]).min(axis=1)
    rows, cols = np.nonzero(plan)
    mass = plan[rows, cols]
    if abs(mass.sum() - 1) > 1e-9:  # the simplex gave up: any coupling will do, the bound stands by itself
        rows, cols, mass = monotone_atoms(p, q)
    value = p @ u + q @ v
    size = p @ np.abs(u) + q @ np.abs(v) + 1
    margin = (8 * (len(p) + len(q)) + 32) * EPS * (span * size + max(abs(low), abs(high)))
    return LinearSolution(rows, cols, mass, low + span * value - margin, (low + span * u, span * v))
