"""Compiled sweeps of the level-1 reformulation on the processor.

The state is one float32 array W (n m, n m), row (i, k), column (j, l), in units of density: divided by
p_i q_k p_j q_l.  In these units the projector onto the couplings' span is a difference of conditional means, so
that rows need nothing but small potentials from each other.  The same functions exist for
torch in `gwfast.kernels.rlt1_torch`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gwfast.kernels.compiled import compiled
from gwfast.kernels.row_blocks import RowBlocks


class Costs(NamedTuple):
    """Reduced cost first_ij second_kl + first_other_ij second_other_kl + linear_ik + linear_jl, over the step.

    The `other` pair holds the transposes for asymmetric costs and is None for symmetric ones.
    """

    first: np.ndarray
    second: np.ndarray
    first_other: np.ndarray
    second_other: np.ndarray
    paired: bool
    linear: np.ndarray
    weights: np.ndarray
    p: np.ndarray
    q: np.ndarray


class Means(NamedTuple):
    """Conditional means of a symmetric array over l and over j: (n m, n) and (n m, m)."""

    rows: np.ndarray
    cols: np.ndarray


class Potentials(NamedTuple):
    """Right ones by row, (n m, n) and (n m, m), and left ones, (n, n m) and (m, n m)."""

    right: np.ndarray
    right_other: np.ndarray
    left: np.ndarray
    left_other: np.ndarray


def make_costs(
    first: np.ndarray, second: np.ndarray, linear: np.ndarray, p: np.ndarray, q: np.ndarray, symmetric: bool
) -> Costs:
    """Hold the cost first second + (linear_ik + linear_jl) / 2 in float32, symmetrised if it is not symmetric."""

    def short(x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(x, dtype=np.float32)

    factor = 1.0
    half = short(0.5 * linear)
    one, two = short(factor * first), short(second)
    return Costs(
        one, two, short(one.T), short(two.T), not symmetric, half, short(np.outer(p, q).ravel()), short(p), short(q)
    )


def memory(n: int, m: int) -> int:
    """Bytes that a run needs: the state, and the potentials of all rows in both precisions."""
    N = n * m
    return 4 * N * N + 72 * N * (n + m)


@compiled(fastmath=True)
def _row_cost(i, k, costs, tau, cost):
    """Cost of row (i, k) and the price tau of mass, into cost (n m,)."""
    first, second, linear = costs.first, costs.second, costs.linear
    n, m = linear.shape
    own = linear[i, k] + tau
    for j in range(n):
        a, o = first[i, j], j * m
        for l in range(m):
            cost[o + l] = a * second[k, l] + (own + linear[j, l])
    if costs.paired:
        for j in range(n):
            a, o = costs.first_other[i, j], j * m
            for l in range(m):
                cost[o + l] += a * costs.second_other[k, l]


@compiled(fastmath=True)
def _means(g, p, q, r, r2):
    """Means of a row g (n m,) over l into r (n,), over j into r2 (m,)."""
    n, m = len(p), len(q)
    r2[:] = 0
    for j in range(n):
        o, total = j * m, r[0] * 0
        for l in range(m):
            r2[l] += p[j] * g[o + l]
        for l in range(m):
            total += q[l] * g[o + l]
        r[j] = total


@compiled(fastmath=True)
def _step(w, cost, pot, left, left2, rho):
    """Douglas-Rachford step of a row: w changes, pot becomes the next 2 y - w; returns the square change."""
    zero, two = np.float32(0), np.float32(2)
    change = zero
    for t in range(len(w)):
        step = max(w[t] - cost[t], zero) - w[t] - pot[t] - left[t] - left2[t]
        new = w[t] + rho * step
        w[t] = new
        pot[t] = two * max(new - cost[t], zero) - new
        change += step * step
    return change


@compiled(fastmath=True)
def _sweep(low, high, W, costs, tau, pots, rho, means, change):
    """One Douglas-Rachford step of rows `low` to `high` of the first index, and the means of the next 2 Y - W."""
    n, m = costs.linear.shape
    cost, pot = np.empty(n * m, np.float32), np.empty(n * m, np.float32)
    for i in range(low, high):
        change[i] = 0.0
        for k in range(m):
            row = i * m + k
            _row_cost(i, k, costs, tau, cost)
            x, x2 = pots.right[row], pots.right_other[row]
            for j in range(n):
                o = j * m
                for l in range(m):
                    pot[o + l] = x2[l] + x[j]
            change[i] += _step(W[row], cost, pot, pots.left[i], pots.left_other[k], rho)
            _means(pot, costs.p, costs.q, means.rows[row], means.cols[row])


@compiled(fastmath=True)
def _mass(low, high, W, costs, tau, sums):
    """Mass of Y and of its support, by the first index."""
    n, m = costs.linear.shape
    weights, cost = costs.weights, np.empty(n * m, np.float32)
    for i in range(low, high):
        sums[i] = 0.0
        for k in range(m):
            row = i * m + k
            _row_cost(i, k, costs, tau, cost)
            w, mass, support = W[row], np.float32(0), np.float32(0)
            for t in range(n * m):
                y = max(w[t] - cost[t], np.float32(0))
                mass += weights[t] * y
                support += weights[t] if y > 0 else np.float32(0)
            sums[i, 0] += weights[row] * mass
            sums[i, 1] += weights[row] * support


@compiled(fastmath=True)
def _dual(low, high, W, costs, tau, means):
    """Conditional means of Y - W, the scaled dual, in float64."""
    n, m = costs.linear.shape
    cost, u = np.empty(n * m, np.float32), np.empty(n * m)
    for i in range(low, high):
        for k in range(m):
            row = i * m + k
            _row_cost(i, k, costs, tau, cost)
            w = W[row]
            for t in range(n * m):
                u[t] = max(-w[t], -cost[t])
            _means(u, costs.p, costs.q, means.rows[row], means.cols[row])


@compiled(fastmath=True)
def _fill(low, high, W, costs, whole, density):
    """W = density x density - (whole cost - cost), the whole cost being squared differences plus features."""
    n, m = costs.linear.shape
    first, second, features = whole.first, whole.second, whole.linear
    cost = np.empty(n * m, np.float32)
    for i in range(low, high):
        for k in range(m):
            row = i * m + k
            _row_cost(i, k, costs, np.float32(0), cost)
            for j in range(n):
                for l in range(m):
                    square = (first[i, j] - second[k, l]) ** 2
                    if costs.paired:
                        square = np.float32(0.5) * (square + (first[j, i] - second[l, k]) ** 2)
                    extra = square + features[i, k] + features[j, l] - cost[j * m + l]
                    W[row, j * m + l] = density[row] * density[j * m + l] - extra


@compiled(fastmath=True)
def _restep(low, high, W, costs, tau, ratio):
    """Change the step length: the dual Y - W is divided by `ratio`, the primal Y is kept."""
    n, m = costs.linear.shape
    cost = np.empty(n * m, np.float32)
    for i in range(low, high):
        for k in range(m):
            _row_cost(i, k, costs, tau, cost)
            w = W[i * m + k]
            for t in range(n * m):
                y = max(w[t] - cost[t], np.float32(0))
                w[t] = y - (y - w[t]) / ratio


def potentials(means: Means, p: np.ndarray, q: np.ndarray) -> Potentials:
    """From the means of G = 2 Y - W: the potentials whose sum is G - P G P, P the couplings' projector."""
    n, m = len(p), len(q)
    total = means.rows @ p
    x, y = means.rows - total[:, None], means.cols - total[:, None]
    mass = p @ total.reshape(n, m) @ q
    ij, kj = _one_sided(x, p, q)
    il, kl = _one_sided(y, p, q)
    # equal in exact arithmetic; without this the asymmetric part of the rounding errors would double every sweep
    ij, kl, il = (ij + ij.T) / 2, (kl + kl.T) / 2, (il + kj.T) / 2
    right = (x.reshape(n, m, n) - ij[:, None] - il.T[None]).reshape(n * m, n)
    right2 = (y.reshape(n, m, m) - il[:, None] - kl[None]).reshape(n * m, m) + (mass - 1)
    return Potentials(right, right2, np.ascontiguousarray(x.T), np.ascontiguousarray(y.T))


def _one_sided(z: np.ndarray, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of z (n m, r) over the second and over the first index of its rows, both centred."""
    z = z.reshape(len(p), len(q), -1)
    over_second, over_first = np.matmul(q, z), (p @ z.reshape(len(p), -1)).reshape(len(q), -1)
    mean = p @ over_second
    return over_second - mean, over_first - mean


@dataclass(eq=False)
class State:
    """The array W, the conditional means of 2 Y - W, and the price of mass: Y = max(W - cost - price, 0).

    `change` is the mean square of the last step.
    """

    W: np.ndarray
    means: Means
    price: float
    change: float


def start(costs: Costs, whole: Costs, blocks: RowBlocks, density: np.ndarray | None = None) -> State:
    """State of the rank-one array of a plan given by its density (n, m); of the product plan without one.

    The first dual is the difference between `whole`, the costs before what is constant on couplings was taken out,
    and `costs`: then the first Y favours pairs of pairs whose costs agree.  The price is the one at which Y has
    mass one, so that a short step length does not begin with an empty Y.
    """
    n, m = costs.linear.shape
    N = n * m
    flat = np.ones(N, np.float32) if density is None else density.ravel().astype(np.float32)
    W = np.empty((N, N), np.float32)
    blocks.run(_fill, W, costs, whole, flat)
    price = _price_of_mass_one(W, costs, blocks)
    state = State(W, Means(np.empty((N, n), np.float32), np.empty((N, m), np.float32)), price, np.inf)
    refresh(state, costs, blocks)
    return state


def refresh(state: State, costs: Costs, blocks: RowBlocks) -> None:
    """Take the means again, after W or the costs changed."""
    n, m = costs.linear.shape
    N = n * m
    none = Potentials(*(np.zeros(s, np.float32) for s in ((N, n), (N, m), (n, N), (m, N))))
    _pass(state, none, costs, 0.0, blocks)


def to_host(W: np.ndarray) -> np.ndarray:
    """The array W itself."""
    return W


def marginal(state: State, costs: Costs) -> np.ndarray:
    """Density (n, m) that 2 Y - W gives to pairs of points."""
    return (state.means.rows @ costs.p).reshape(costs.linear.shape)


def _price_of_mass_one(W: np.ndarray, costs: Costs, blocks: RowBlocks) -> float:
    """Price at which Y has mass one, to a percent: Newton's method between brackets; mass is convex in the price."""
    sums = np.empty((len(costs.p), 2))
    price, low, high = 0.0, -np.inf, np.inf
    for _ in range(40):
        blocks.run(_mass, W, costs, np.float32(price), sums)
        mass, support = (float(x) for x in sums.sum(axis=0))
        if abs(mass - 1) < 1e-2 or not np.isfinite(mass):
            break
        low, high = (price, high) if mass > 1 else (low, price)
        price = price + (mass - 1) / max(support, 0.02)
        if not low < price < high:
            price = (low + high) / 2
    return price


def _pass(state: State, pots: Potentials, costs: Costs, rho: float, blocks: RowBlocks) -> None:
    change = np.empty(len(costs.p))
    blocks.run(_sweep, state.W, costs, np.float32(state.price), pots, np.float32(rho), state.means, change)
    state.change = float(change.sum()) / state.W.size


def sweep(state: State, costs: Costs, rho: float, blocks: RowBlocks) -> None:
    """One step, in place."""
    _pass(state, potentials(state.means, costs.p, costs.q), costs, rho, blocks)


def dual_means(state: State, costs: Costs, blocks: RowBlocks) -> Means:
    """Conditional means of the dual in units of the step length, in float64: all that the certificate needs."""
    n, m = costs.linear.shape
    means = Means(np.empty((n * m, n)), np.empty((n * m, m)))
    blocks.run(_dual, state.W, costs, np.float32(state.price), means)
    return means


def restep(state: State, costs: Costs, ratio: float, blocks: RowBlocks) -> None:
    """Multiply the step length by `ratio`; `costs` are those of the old step."""
    blocks.run(_restep, state.W, costs, np.float32(state.price), np.float32(ratio))
    state.price /= ratio
