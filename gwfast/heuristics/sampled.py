r"""The search for any cost that gives rows: a picture of it in few coordinates, then steps along sampled gradients.

The gradient of the objective at a plan T is, up to terms of one point alone,
:math:`E_{(j, l) \sim T} (C_{1,ij} - C_{2,kl})^2`: with some atoms (j, l) drawn from T it is a squared distance between
rows of costs, so its linear program is a transport between points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwfast.arrays import from_numpy, item, to_numpy
from gwfast.budget import Budget
from gwfast.errors import InputError
from gwfast.heuristics.conditional_gradient import conditional_gradient
from gwfast.heuristics.products import Products
from gwfast.large.estimate import Judge
from gwfast.large.landmarks import Landmarks, landmarks_of
from gwfast.large.multiscale import Say
from gwfast.large.sides import Sides
from gwfast.large.starts import descended, distinct, first_moments
from gwfast.large.transport import Prices, Transported, transport
from gwfast.losses import SQUARE
from gwfast.marginals import BALANCED
from gwfast.method import Found
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Stop
from gwfast.spaces.on_demand import Rows
from gwfast.spaces.pair_sums import single_rows
from gwfast.spaces.point_cloud import PointCloud
from gwfast.spaces.points_value import takes_points
from gwfast.spaces.space import Space
from gwfast.transport import is_uniform, solve_linear, sorted_atoms

_SAMPLE = 256  # atoms that a gradient is estimated from
_JUDGES = 256  # points from which plans are compared
_WIDTH = 6  # coordinates of the rows that a transport sees
_ROUGH, _ACCURACIES = 0.5, (0.1, 0.01)  # of the first and the other transports, in local scales
_CHUNK = 4096  # columns that are weighted at a time
_STEPS, _FLAT = 12, 1e-3  # steps at most, and the relative gain that ends an accuracy
_TRIED, _RIVAL = 3, 1.5  # plans between landmarks that go on, at most, and their value over the least


def suits_rows(problem: Problem) -> bool:
    """Whether a problem is one between symmetric spaces of which one at least computes its rows on demand."""
    spaces = problem.x, problem.y
    plain = problem.marginals is BALANCED and problem.loss is SQUARE and problem.M is None
    return plain and problem.symmetric and not takes_points(*spaces) and any(_computes(s) for s in spaces)


def takes_rows(problem: Problem, method: str) -> bool:
    """Whether the search along sampled gradients is taken: asked for, or worth it."""
    n, m = problem.shape
    return method != "dense" and suits_rows(problem) and (method == "multiscale" or n * m >= POLICY.large_entries)


def pass_seconds(problem: Problem) -> float:
    """Seconds, about, that the value of a plan takes: a pass over all rows of both spaces."""
    return sum(
        space.n * space.row_seconds if isinstance(space, Rows) else POLICY.last_pass * space.n**2
        for space in (problem.x, problem.y)
    )


def check_passes(problem: Problem, limit: float | None) -> None:
    """Refuse spaces so large, or a limit of so few seconds, that the value of a plan does not come in time."""
    seconds = pass_seconds(problem)
    if limit is not None and limit < seconds:
        raise InputError(
            f"time_limit: found {limit:g} s, the value of a plan alone takes about {seconds:.2g} s; pass more, or "
            "call sampled_gw, which estimates it"
        )
    for name, space in (("C1", problem.x), ("C2", problem.y)):
        most = POLICY.row_points if isinstance(space, Rows) else POLICY.distance_points
        if _computes(space) and space.n > most:
            raise InputError(
                f"{name}: found {space.n} points, at most {most} have their value summed over all pairs; "
                "call sampled_gw, which estimates it"
            )


def _computes(space: Space) -> bool:
    return isinstance(space, Rows) or (isinstance(space, PointCloud) and space.metric == "euclidean")


@dataclass(frozen=True, eq=False)
class _Judged:
    """Atoms of a plan, the estimate of its value, and prices to go on from."""

    value: float
    rows: np.ndarray
    cols: np.ndarray
    mass: np.ndarray
    prices: Prices | None = None


def _judged(judge: Judge, plan: Transported | _Judged) -> _Judged:
    order = np.argsort(plan.rows, kind="stable")
    rows, cols, mass = plan.rows[order], plan.cols[order], plan.mass[order]
    return _Judged(float(judge.values(rows, cols, mass).mean()), rows, cols, mass, plan.prices)


def sampled(problem: Problem, budget: Budget, say: Say) -> Found:
    """A plan of few atoms between spaces that give rows; Ctrl-C keeps the best so far."""
    host = problem.hosted()
    best, stop = _search(host.x, host.y, budget, say)
    plan = Plan(problem.shape, *(from_numpy(a, problem.p) for a in (best.rows, best.cols, best.mass)))
    return Found(plan=plan, stop=stop, start="landmarks")


def _search(x: Space, y: Space, budget: Budget, say: Say) -> tuple[_Judged, Stop]:
    first, second = landmarks_of(x), landmarks_of(y)
    best = _sorted(first, second, x, y)
    try:
        judge = Judge(x, y, min(_JUDGES, x.n), seed=1)  # of one sample for all, so that plans compare
        coarse = _coarse(first, second, budget.slice(0.3))
        told = ", ".join(f"{c.value:.4g}" for c in coarse)
        say(f"{len(first.p)} and {len(second.p)} landmarks, plans of {told}")
        weights = (None, None) if is_uniform(x.weights, y.weights) else (to_numpy(x.weights), to_numpy(y.weights))
        best = _judged(judge, best)
        for plan in coarse:
            if budget.expired:
                break
            F, G = first.costs[plan.rows], second.costs[plan.cols]
            one = _judged(judge, _transported(x, y, F, G, plan.mass, weights, _ROUGH, budget))
            say(f"all points, about {one.value:.4g}")
            best = one if one.value < best.value else best
        rng, level = np.random.default_rng(2), 0
        for _ in range(_STEPS):
            if budget.expired:
                break
            drawn = rng.choice(len(best.mass), min(_SAMPLE, len(best.mass)), p=best.mass / best.mass.sum())
            F, G = single_rows(x, best.rows[drawn]), single_rows(y, best.cols[drawn])
            one = _judged(judge, _transported(x, y, F, G, None, weights, _ACCURACIES[level], budget, best))
            say(f"a step along {len(F)} rows, about {one.value:.4g}")
            gain = best.value - one.value
            best = one if gain > 0 else best
            if not gain > _FLAT * best.value:
                level += 1
                if level == len(_ACCURACIES):
                    break
    except KeyboardInterrupt:
        return best, Stop.INTERRUPTED
    return best, Stop.TIME_LIMIT if budget.expired else Stop.STALLED


def _sorted(first: Landmarks, second: Landmarks, x: Space, y: Space) -> _Judged:
    """The plan that sorts the mean costs to the landmarks: there whatever the budget."""
    p, q = to_numpy(x.weights), to_numpy(y.weights)
    return _Judged(np.inf, *sorted_atoms(first.p @ first.costs, second.p @ second.costs, p, q))


def _coarse(first: Landmarks, second: Landmarks, budget: Budget) -> list[_Judged]:
    """The best plans between landmarks, by their own costs, from plans between their pictures."""
    sides = Sides(first.side, second.side, (-2.0, -2.0), 1.0, first.mean - second.mean)
    few = sides.quotient(min(64, sides.x.n, sides.y.n))
    kept = distinct(descended(few, first_moments(few), budget.slice(0.4)), 0.1, 16, 4.0)
    problem = Problem.of(first.among, second.among, first.p, second.p)
    products = Products(problem, single=False)
    found: list[_Judged] = []
    for candidate in kept:
        U, V = sides.lifted(candidate.moment)
        solved = solve_linear(-(U @ V.T), first.p, second.p)
        start = Plan(problem.shape, solved.rows, solved.cols, solved.mass)
        plan = conditional_gradient(products, start, name="landmarks", tol=1e-4, max_iter=30, budget=budget).plan
        assert plan is not None
        found.append(_Judged(item(problem.objective(plan)), *plan.atoms()))
        if budget.expired:
            break
    found.sort(key=lambda one: one.value)
    best: list[_Judged] = []
    for one in found:  # descents from different starts often end alike
        new = all(one.value > (1 + 1e-3) * other.value for other in best)
        if new and one.value <= _RIVAL * found[0].value and len(best) < _TRIED:
            best.append(one)
    return best or found[:1]


def _transported(
    x: Space,
    y: Space,
    F: np.ndarray,
    G: np.ndarray,
    mass: np.ndarray | None,
    weights: tuple[np.ndarray | None, np.ndarray | None],
    accuracy: float,
    budget: Budget,
    at: _Judged | None = None,
) -> Transported:
    """Transport between the columns of F (r, n) and G (r, m), which are overwritten, from prices of an earlier one."""
    root = np.sqrt(np.full(len(F), 1 / len(F)) if mass is None else mass).astype(np.float32)[:, None]
    F *= root
    G *= root
    U, V = _narrowed(F, G, to_numpy(x.weights), to_numpy(y.weights))
    warm = None
    if at is not None and at.prices is not None:
        target = np.zeros_like(V)
        target[at.cols] = U[at.rows]
        warm = Prices(at.prices.w, target)
    return transport(U, V, *weights, accuracy=accuracy, warm=warm, budget=budget)


def _narrowed(F: np.ndarray, G: np.ndarray, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of F (r, n) and G (r, m) along the axes that hold most of both; F and G are centred in place."""
    centre = ((F @ p + G @ q) / 2).astype(np.float32)[:, None]
    F -= centre
    G -= centre
    spread = np.zeros((len(F), len(F)))
    for H, w in ((F, p.astype(np.float32)), (G, q.astype(np.float32))):
        for start in range(0, H.shape[1], _CHUNK):
            part = slice(start, start + _CHUNK)
            spread += (H[:, part] * w[part]) @ H[:, part].T
    _, axes = np.linalg.eigh(spread)
    kept = axes[:, ::-1][:, :_WIDTH].astype(np.float32)
    return tuple(np.ascontiguousarray((kept.T @ H).T, np.float64) for H in (F, G))  # pyright: ignore
