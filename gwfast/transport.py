"""Linear optimal transport, the one place: sorted features on the line, and general costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwfast import clock
from gwfast.arrays import Array, from_numpy, item, namespace
from gwfast.arrays.precision import EPS
from gwfast.budget import UNLIMITED, Budget
from gwfast.kernels.merge import half_merge
from gwfast.plan import Plan
from gwfast.policy import POLICY

Atoms = tuple[Array, Array, Array]


def is_uniform(p: Array, q: Array) -> bool:
    """Whether both sides have the same number of points, all of one mass, so that plans are permutations."""
    if p.shape[0] != q.shape[0]:
        return False
    xp = namespace(p)
    return bool(xp.all(p == p[0])) and bool(xp.all(q == p[0]))


def _half_merge(a: Array, b: Array) -> Atoms:
    """North-west-corner atoms (positions in a and b, mass) that fill the interval [0, 1/2)."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.dtype == b.dtype == np.float64:
        return half_merge(np.ascontiguousarray(a), np.ascontiguousarray(b))
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
        target = xp.empty_like(order_g)
        target[order_f] = order_g
        return xp.arange(f.shape[0], device=f.device), target, p
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


def round_to_marginals(T: Array, p: Array, q: Array) -> Array:
    """Return a coupling of `p` and `q` near the matrix `T` (n, m): shrink what is too heavy, spread the rest.

    O(nm).  Altschuler, Weed, Rigollet 2017, algorithm 2; the L1 distance moved is at most twice the error.  What is
    missing in rows and in columns differs by rounding: that is spread too, so that light points get their whole mass.
    """
    xp = namespace(T)
    T = T * _shrink(p, xp.sum(T, axis=1))[:, None]
    T = T * _shrink(q, xp.sum(T, axis=0))[None, :]
    rows, columns = xp.clip(p - xp.sum(T, axis=1), 0.0), xp.clip(q - xp.sum(T, axis=0), 0.0)
    r, c = xp.sum(rows), xp.sum(columns)
    if item(r) < item(c):
        return T + ((rows + (c - r) * p) / c)[:, None] * columns[None, :]
    return T + rows[:, None] * ((columns + (r - c) * q) / r)[None, :] if item(r) > 0 else T


def _shrink(target: Array, found: Array) -> Array:
    xp = namespace(found)
    safe = xp.where(found > 0, found, xp.ones_like(found))
    return xp.where(found > target, target / safe, xp.ones_like(found))


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

    def plan(self, like: Array) -> Plan:
        """The plan, in the library and on the device of `like`."""
        shape = len(self.duals[0]), len(self.duals[1])
        return Plan(shape, *(from_numpy(a, like) for a in (self.rows, self.cols, self.mass)))


def solve_linear(
    M: np.ndarray,
    p: np.ndarray,
    q: np.ndarray,
    near: tuple[np.ndarray, np.ndarray] | None = None,
    budget: Budget = UNLIMITED,
) -> LinearSolution:
    """Minimise <M, T> over couplings T of p (n,) and q (m,), for a cost M (n, m) of any sign and size.

    The network simplex runs on the cost shifted and scaled to [0, 1] (it returns wrong plans for negative costs).
    O(nm (n + m)) in practice.  With potentials `near` the optimal ones, large problems are solved on the few
    places of least reduced cost, to which violated ones are added until none is left: the same optimum.  After the
    deadline of `budget` the plan at hand is returned: a coupling, with a bound that is proved, but perhaps not optimal.
    """
    low, high = float(M.min()), float(M.max())
    span = high - low
    scaled = np.ascontiguousarray((M - low) / span) if span > 0 else np.zeros_like(M)
    q = q * (p.sum() / q.sum())
    if near is not None and M.size >= POLICY.restrict_entries and span > 0:
        rows, cols, mass, u, v = _restricted_simplex(scaled, p, q, (near[1] - low) / span, budget)
    else:
        rows, cols, mass, u, v = _full_simplex(scaled, p, q)
    v = (scaled - u[:, None]).min(axis=0)
    u = (scaled - v[None, :]).min(axis=1)
    if abs(mass.sum() - 1) > 1e-9:  # the simplex gave up: any coupling will do, the bound stands by itself
        rows, cols, mass = monotone_atoms(p, q)
    value = p @ u + q @ v
    size = p @ np.abs(u) + q @ np.abs(v) + 1
    margin = (8 * (len(p) + len(q)) + 32) * EPS * (span * size + max(abs(low), abs(high)))
    duals = (low + span * u, span * v)
    return LinearSolution(*clean_atoms(rows, cols, mass, p, q), low + span * value - margin, duals)


Basis = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _full_simplex(M: np.ndarray, p: np.ndarray, q: np.ndarray) -> Basis:
    with clock.paused():  # here, because importing POT imports torch where it is installed
        from ot.lp.emd_wrap import emd_c

    plan, _, u, v, _ = emd_c(p, q, M, POLICY.pivots, 1)
    rows, cols = np.nonzero(plan)
    return rows, cols, plan[rows, cols], u, v


def _restricted_simplex(M: np.ndarray, p: np.ndarray, q: np.ndarray, v: np.ndarray, budget: Budget) -> Basis:
    """Column generation from column potentials `v`: exact, a fraction of the time where they are good."""
    with clock.paused():
        from ot.lp.emd_wrap import emd_c_sparse

    from gwfast.kernels.pricing import smallest_reduced

    m = M.shape[1]
    u = (M - v).min(axis=1)
    v = (M - u[:, None]).min(axis=0)
    kept = smallest_reduced(M, u, v, 10, np.inf)
    rows, cols, _ = monotone_atoms(p, q)  # a feasible plan, so that the restricted problem has one
    turned = _keys(smallest_reduced(M.T, v, u, 3, np.inf), m, True)
    keys = _distinct(_keys(kept, m), turned, rows * m + cols)
    for round_ in range(POLICY.pricing_rounds):
        i, k = np.divmod(keys, m)
        found = emd_c_sparse(p, q, i.astype(np.uint64), k.astype(np.uint64), M[i, k], POLICY.pivots)
        u, v = found[4], found[5]
        more = _keys(smallest_reduced(M, u, v, 4, -1e-12), m)
        if len(more) == 0 or budget.expired:
            return found[0].astype(np.int64), found[1].astype(np.int64), found[2], u, v
        keys = _distinct(keys, more)
        if round_ + 1 == POLICY.pricing_rounds and not budget.fits(POLICY.program * M.size):
            return found[0].astype(np.int64), found[1].astype(np.int64), found[2], u, v
    return _full_simplex(M, p, q)


def _distinct(*parts: np.ndarray) -> np.ndarray:
    """Sorted union; faster than numpy's for keys that are nearly sorted."""
    keys = np.sort(np.concatenate(parts), kind="stable")
    return keys[np.concatenate([[True], keys[1:] != keys[:-1]])]


def _keys(columns: np.ndarray, m: int, turned: bool = False) -> np.ndarray:
    """Flat positions of the columns (n, k) kept for each row; -1 marks none."""
    rows, slot = np.nonzero(columns >= 0)
    cols = columns[rows, slot]
    return cols * m + rows if turned else rows * m + cols


def clean_atoms(rows: np.ndarray, cols: np.ndarray, mass: np.ndarray, p: np.ndarray, q: np.ndarray) -> Atoms:
    """Drop atoms without mass, and give the others the masses that a vertex must have."""
    from gwfast.kernels.forest import forest_masses

    keep = mass > 0
    rows, cols, mass = rows[keep], cols[keep], mass[keep]
    if is_uniform(p, q):
        heavy = mass > 0.5 * p[0]
        if len(np.unique(rows[heavy])) == len(np.unique(cols[heavy])) == np.count_nonzero(heavy) == len(p):
            order = np.argsort(rows[heavy])
            return np.arange(len(p)), cols[heavy][order], p
    mass = forest_masses(rows, cols, mass, p, q)
    keep = mass > 0
    return _completed(rows[keep], cols[keep], mass[keep], p, q)


def _completed(rows: np.ndarray, cols: np.ndarray, mass: np.ndarray, p: np.ndarray, q: np.ndarray) -> Atoms:
    """Give points that the simplex took for rounding errors their mass, at the heaviest point of the other side."""
    rest_p, rest_q = p - np.bincount(rows, mass, len(p)), q - np.bincount(cols, mass, len(q))
    i, k = np.flatnonzero(rest_p > 1e-8 * p), np.flatnonzero(rest_q > 1e-8 * q)
    rows = np.concatenate([rows, i, np.full_like(k, p.argmax())])
    cols = np.concatenate([cols, np.full_like(i, q.argmax()), k])
    return rows, cols, np.concatenate([mass, rest_p[i], rest_q[k]])
