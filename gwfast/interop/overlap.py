"""Partial plans between many spots: clusters say which spots have partners, a balanced search matches those.

Between clusters a partial plan is found as usual, and followed on finer ones by linear programs.  Their prices say of
each spot what it costs to carry it; the cheapest ones of both slices are matched one by one.
"""

from __future__ import annotations

import numpy as np

from gwfast.arrays import item
from gwfast.interop.slices import Slice, problem_of
from gwfast.marginals import Partial
from gwfast.plan import Plan
from gwfast.solve import exact_gw

COARSE, FINE = 200, 600  # clusters of a slice: a linear program between these takes .01 and .2 s
_PROGRAMS, _DRAWS = 6, 1
_FALL = 1e-3  # share of the objective below which another program is not worth its time

Atoms = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Places of both ends of the atoms of a plan, and their masses."""


def overlapping(a: Slice, b: Slice, alpha: float, mass: float) -> Plan:
    """A plan that carries `mass` between spots of equal masses; about a second for 3000 x 3000 of them."""
    rng, marginals = np.random.default_rng(0), Partial(mass)
    whole = problem_of(a, b, alpha, marginals)
    if max(a.n, b.n) <= FINE:
        return exact_gw(whole).plan
    best, least = None, np.inf
    for _ in range(_DRAWS):
        rows, cols = _carried(a, b, alpha, marginals, rng)
        plan = _matched(a, b, rows, cols, alpha, mass)
        value = item(whole.objective(plan))
        if best is None or value < least:
            best, least = plan, value
    assert best is not None
    return best


def _matched(a: Slice, b: Slice, rows: np.ndarray, cols: np.ndarray, alpha: float, mass: float) -> Plan:
    """The balanced plan between some spots of both slices, with the mass of the partial one.

    A plan of mass s has the structure term of the balanced plan times s^2, and the feature term times s.
    """
    share = alpha * mass / (alpha * mass + 1 - alpha)
    i, k, w = exact_gw(problem_of(a.part(rows), b.part(cols), share)).plan.atoms()
    return Plan((a.n, b.n), rows[i], cols[k], w * mass)


def _carried(
    a: Slice, b: Slice, alpha: float, marginals: Partial, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The spots of both slices that a partial plan carries."""
    x, y = a.clusters(COARSE, rng), b.clusters(COARSE, rng)
    i, k, w = exact_gw(problem_of(x, y, alpha, marginals)).plan.atoms()
    atoms = x.place[i], y.place[k], w
    x, y = a.clusters(FINE, rng), b.clusters(FINE, rng)
    problem = problem_of(x, y, alpha, marginals)
    value, prices = np.inf, (np.zeros(x.n), np.zeros(y.n))
    for _ in range(_PROGRAMS):
        found = marginals.minimum(gradient(x, y, atoms, alpha), x.mass, y.mass)
        reached = item(problem.objective(Plan((x.n, y.n), found.rows, found.cols, found.mass)))
        if not reached < value * (1 - _FALL):
            break
        value, prices = reached, found.duals
        atoms = x.place[found.rows], y.place[found.cols], found.mass
    first = (gradient(a, y, atoms, alpha) - prices[1]).min(axis=1)
    second = (gradient(x, b, atoms, alpha) - prices[0][:, None]).min(axis=0)
    return tuple(np.sort(np.argsort(c)[: int(np.ceil(marginals.mass * len(c)))]) for c in (first, second))  # pyright: ignore


def gradient(a: Slice, b: Slice, atoms: Atoms, alpha: float) -> np.ndarray:
    """What carrying spot i to spot k costs (n, m) beside a plan, to first order."""
    first, second = squares(a.place, atoms[0]), squares(b.place, atoms[1])
    w = atoms[2]
    cost = ((first * first) @ w)[:, None] + (second * second) @ w - 2 * (first * w) @ second.T
    if a.features is None or b.features is None:
        return 2 * cost
    return 2 * alpha * cost + (1 - alpha) * squares(a.features, b.features)


def squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared distances (n, m)."""
    return np.maximum((x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1) - 2 * x @ y.T, 0.0)
