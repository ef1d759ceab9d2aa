"""The second lower bound of unbalanced problems: unbalanced transport between the laws of all costs."""

from __future__ import annotations

import math

import numpy as np

from gwfast.arrays import item
from gwfast.arrays.precision import EPS, TINY
from gwfast.marginals.penalty import Penalty, best_share
from gwfast.method import Domain, Found, Method, Need, one_pass
from gwfast.problem import Problem
from gwfast.result import Bound

UNBALANCED_ENTRIES = "unbalanced-entries"

_NODES, _ASCENTS, _SEARCH = (
    512,
    60,
    40,
)  # values that carry a potential; steps of the ascent; halvings of its line search


def unbalanced_entries(problem: Problem) -> Found:
    r"""Dual value of potentials f, g of the costs' values with f(a) + g(b) <= alpha (a - b)^2 - s.

    .. math:: \mathrm{UGW} \ge \rho \sum_{ij} p_i p_j (1 - e^{-f(C_{1,ij}) / \rho})
              + \rho' \sum_{kl} q_k q_l (1 - e^{-g(C_{2,kl}) / \rho'}) - s c^2

    where s = (1 - alpha) max(0, -min M) / (2 c) for any c > 0, as a mass m is at most (m^2 / c + c) / 2.
    O((n^2 + m^2) log n) and 60 steps of a Frank-Wolfe ascent.
    """
    host = problem.hosted()
    penalty, alpha = host.marginals.penalty, item(host.alpha)
    assert penalty is not None
    doubt, least = host.x.doubt + host.y.doubt, 0.0 if host.M is None else float(host.M.min()) - host.doubt
    gain, price = (1 - alpha) * max(0.0, -least), penalty.total
    usual = best_share(-price, -gain, price)  # the mass of the optimum if the costs were equal
    shift = gain / (2 * usual)
    first, second = (_Law(s.dense().ravel(), np.outer(w, w).ravel()) for s, w in ((host.x, host.p), (host.y, host.q)))
    f = _ascent(first.compressed(), second.compressed(), alpha, shift, penalty)
    total, margin = _dual(first, second, f, alpha, shift, penalty)
    if gain == 0 and not total >= 0:  # potentials of 0 prove 0
        total, margin = 0.0, 0.0
    total -= shift * usual**2
    most = _most(gain / price)
    structure = price + gain * most  # of an optimum at most, alpha times
    margin += 8 * EPS * (shift * usual**2 + abs(total)) + doubt * most * (2 * math.sqrt(structure) + doubt * most)
    value = total - margin * (1 + 1e-9) - TINY
    if gain == 0 and not value >= 0:
        value = 0.0
    return Found((Bound("lower", value, UNBALANCED_ENTRIES, margin),))


def _most(gain: float) -> float:
    """A mass that no optimum has: 2 m^2 log m - m^2 + 1, the least penalty of a mass at price 1, exceeds 1 + gain m."""
    mass = 2.0
    while mass * (2 * math.log(mass) - 1) <= gain:
        mass *= 2
    return mass


class _Law:
    """Values (N,) with weights, and the nodes among them that carry potentials."""

    def __init__(self, values: np.ndarray, weights: np.ndarray) -> None:
        self.values, self.weights = values, weights
        nodes = np.unique(values)
        if len(nodes) > _NODES:  # half of them evenly spread, half by mass
            order = np.argsort(values)
            shares = np.cumsum(weights[order])
            places = np.searchsorted(shares, np.linspace(0, shares[-1], _NODES // 2)).clip(0, len(values) - 1)
            even = np.linspace(nodes[0], nodes[-1], _NODES // 2)
            nodes = np.unique(np.concatenate([values[order][places], even, nodes[[0, -1]]]))
        self.nodes = nodes

    def compressed(self) -> tuple[np.ndarray, np.ndarray]:
        """The nodes, and the weights of the values nearest each."""
        if len(self.nodes) == 1:
            return self.nodes, np.array([self.weights.sum()])
        middles = (self.nodes[1:] + self.nodes[:-1]) / 2
        return self.nodes, np.bincount(np.searchsorted(middles, self.values), self.weights, len(self.nodes))

    def potential(self, f: np.ndarray, alpha: float) -> np.ndarray:
        """Potential of every value, from that of the nodes.

        For a = t a_k + (1 - t) a_l, alpha (a - b)^2 is the mean of both ends' less alpha t (1 - t) (a_l - a_k)^2, so
        that what holds at the nodes for all b holds between them for the mean less the same.
        """
        nodes = self.nodes
        if len(nodes) == 1:
            return np.full(len(self.values), f[0])
        right = np.searchsorted(nodes, self.values).clip(1, len(nodes) - 1)
        low, high = nodes[right - 1], nodes[right]
        t = (high - self.values) / (high - low)
        mean = t * f[right - 1] + (1 - t) * f[right]
        between = np.where((t > 0) & (t < 1), alpha * (high - self.values) * (self.values - low), 0.0)
        return mean - between


def _partners(nodes: np.ndarray, others: np.ndarray, f: np.ndarray, alpha: float, shift: float) -> np.ndarray:
    """The largest potential of `others` beside that of `nodes`."""
    return (alpha * (others[:, None] - nodes) ** 2 - f).min(axis=1) - shift


def _dual(
    first: _Law, second: _Law, f: np.ndarray, alpha: float, shift: float, penalty: Penalty
) -> tuple[float, float]:
    """Dual value of the potentials that f (K,) of the first nodes gives, and its rounding margin."""
    g = _partners(first.nodes, second.nodes, f, alpha, shift)
    extent = max(float(np.abs(law.nodes).max()) for law in (first, second))
    slack = 32 * EPS * (4 * alpha * extent**2 + float(np.abs(f).max()) + float(np.abs(g).max()) + shift)
    total, margin = 0.0, 0.0
    for law, values, rho in ((first, f, penalty.rows), (second, g, penalty.columns)):
        exponent = -(law.potential(values, alpha) - slack) / rho
        if not float(exponent.max()) < 700:
            return -math.inf, 0.0
        terms = law.weights * np.expm1(exponent)
        total -= rho * float(terms.sum())
        size = float(law.weights @ (np.exp(exponent) * (1 + np.abs(exponent)) + 1))
        margin += 8 * (len(terms) + 64) * EPS * rho * size
    return total, margin


def _ascent(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    alpha: float,
    shift: float,
    penalty: Penalty,
) -> np.ndarray:
    """Potential of the first nodes, by Frank-Wolfe: each step solves the balanced problem of the current marginals."""
    (x, p), (y, q), rho, tau = first, second, penalty.rows, penalty.columns
    f, g = np.zeros_like(x), np.zeros_like(y) - shift
    for _ in range(_ASCENTS):
        f, g = _exchanged(f, g, p, q, penalty)
        masses = p * np.exp(-f / rho), q * np.exp(-g / tau)
        if not all(0 < m.sum() < math.inf for m in masses):
            break
        u, v = _monotone_potentials(x, y, *masses, alpha, shift)
        low, high = 0.0, 1.0
        for _ in range(_SEARCH):
            t = (low + high) / 2
            with np.errstate(over="ignore"):
                slope = (p * np.exp(-(f + t * (u - f)) / rho)) @ (u - f) + (q * np.exp(-(g + t * (v - g)) / tau)) @ (
                    v - g
                )
            low, high = (t, high) if slope > 0 else (low, t)
        f, g = f + low * (u - f), g + low * (v - g)
        if low == 0.0:
            break
    return f


def _exchanged(
    f: np.ndarray, g: np.ndarray, p: np.ndarray, q: np.ndarray, penalty: Penalty
) -> tuple[np.ndarray, np.ndarray]:
    """The potentials after the best exchange of a constant, where both marginals have one mass."""
    rho, tau = penalty.rows, penalty.columns
    logs = [
        float(np.max(-h / r)) + math.log(float(w @ np.exp(-h / r - np.max(-h / r))))
        for h, w, r in ((f, p, rho), (g, q, tau))
    ]
    shift = rho * tau / (rho + tau) * (logs[0] - logs[1])
    return f + shift, g - shift


def _monotone_potentials(
    x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, alpha: float, shift: float
) -> tuple[np.ndarray, np.ndarray]:
    """Potentials of the monotone coupling of sorted atoms: along its steps f + g is the cost."""
    A, B = np.cumsum(a) / a.sum(), np.cumsum(b) / b.sum()
    # the coupling visits (i, k); it leaves row i where A_i is passed, and column k where B_k is
    ends = np.concatenate([A[:-1], B[:-1]])
    down = np.concatenate([np.ones(len(A) - 1, dtype=int), np.zeros(len(B) - 1, dtype=int)])
    down = down[np.argsort(ends, kind="stable")]
    i, k = np.concatenate([[0], np.cumsum(down)]), np.concatenate([[0], np.cumsum(1 - down)])
    cost = alpha * (x[i] - y[k]) ** 2 - shift
    steps = np.diff(cost)  # of f where the row changes, of g where the column does
    f, g = np.zeros(len(x)), np.zeros(len(y))
    f[1:] = np.cumsum(np.where(down == 1, steps, 0.0))[down == 1]
    g[1:] = np.cumsum(np.where(down == 0, steps, 0.0))[down == 0]
    return f, g + cost[0]


def _need(problem: Problem) -> Need:
    n, m = problem.shape
    return Need(0.1 + 4e-7 * (n * n + m * m), 64.0 * max(n, m) ** 2)


METHOD = Method(
    "unbalanced entries",
    "sort",
    (UNBALANCED_ENTRIES,),
    one_pass(unbalanced_entries),
    domain=Domain(marginals=("unbalanced",)),
    need=_need,
    once=True,
)
