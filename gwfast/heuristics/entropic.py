"""Entropic GW by mirror descent (PGD) or the proximal form (PPA), warm-started from step to step."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from gwfast.arrays import Array, item, namespace, on_host
from gwfast.budget import UNLIMITED, Budget
from gwfast.errors import InputError
from gwfast.features import FeatureCost
from gwfast.heuristics.annealing import loss_scale, single_arguments
from gwfast.heuristics.descent import GIVEN
from gwfast.heuristics.products import Products
from gwfast.heuristics.unbalanced_steps import falling, first_step, next_step, weighed
from gwfast.large.entropic import entropic_points
from gwfast.large.multiscale import takes_multiscale
from gwfast.marginals import BALANCED
from gwfast.method import Found
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.problem import Problem, linearised, second_moments
from gwfast.result import Stop
from gwfast.transport import round_to_marginals

_STRONGEST = 1e4  # times the temperature: the pull towards the last plan at most
_PATIENCE = 8  # steps without a smaller change
_DUST = 1e-40  # of the mass of a point
_OTHERS = 1e-3  # share of a given start that is spread over all pairs


def falling_temperatures(epsilon: float, scale: float = 0.0) -> list[float]:
    """Temperatures of the first steps, one each: they leave the product coupling by the better side.

    Where `epsilon` is a small share of the `scale` of the loss, they begin at a third of it.
    """
    if epsilon >= POLICY.entropic_cold * scale:
        return [epsilon * 6 ** (1 - k / 6) for k in range(6)]
    steps = POLICY.entropic_steps
    return [epsilon * (0.3 * scale / epsilon) ** (1 - k / steps) for k in range(steps)]


@dataclass(frozen=True)
class Entropic:
    """Options of the entropic solver.

    Attributes
    ----------
    epsilon : float
        Temperature in units of the gradient, POT's convention.
    proximal : bool
        Proximal point (the temperature is a step size) instead of mirror descent (the entropy stays in the limit).
    tol : float
        Stop when the objective changes by less than `tol` of itself and the L1 marginal error is below `tol`.
    max_iter : int
        Outer steps at most.
    budget : Budget
        After its deadline the run stops.
    start : Plan or None
        A feasible plan to begin from too, at the last temperature.
    exact : bool
        Whether float64 is asked for, whatever the tolerance.
    """

    epsilon: float
    proximal: bool = False
    tol: float = 1e-4
    max_iter: int = 1000
    budget: Budget = UNLIMITED
    start: Plan | None = None
    exact: bool = False

    @property
    def scalings(self) -> int:
        """Sinkhorn scalings in a step at most: mirror descent carries its potentials over, proximal steps do not."""
        return 500 if self.proximal or self.exact else 50

    @property
    def fits_single(self) -> bool:
        """Whether float32 steps can reach the tolerance; the plan is rounded and valued in float64 anyway."""
        return not self.proximal and self.tol >= 1e-5 and not self.budget.limited and not self.exact


def entropic_descent(problem: Problem, options: Entropic) -> Found:
    """The run from the product coupling, or the one from the given start where its minimum is no higher."""
    found = _run(problem, replace(options, start=None))
    if options.start is None:
        return found
    given = _run(problem, options)
    return given if _minimised(problem, options, given) <= _minimised(problem, options, found) else found


def _unbalanced(problem: Problem, options: Entropic) -> Found:
    """Steps between unbalanced plans until the objective and the plan settle; see `unbalanced_steps`."""
    if options.proximal:
        raise InputError('solver: found "PPA" with unbalanced plans; pass "PGD", or exact_gw')
    normal, factor = problem.normalised()
    epsilon, products = options.epsilon * factor, Products(normal, single=False)
    xp, temperatures = namespace(normal.p), falling_temperatures(epsilon, loss_scale(normal))
    start = options.start
    plan = normal.marginals.start(normal.p, normal.q)
    if start is None:
        last = falling(products, plan, temperatures, options.budget)
    else:
        last = first_step(products, (1 - _OTHERS) * start.toarray() + _OTHERS * plan)
    stop, step, pull = Stop.ITERATIONS, 0, 0.0
    while step < options.max_iter:
        step += 1
        found = next_step(products, last, epsilon, options.scalings // 5, pull)
        if found is None:
            break
        if found.level > last.level + options.tol / 2 * abs(last.level) and pull < _STRONGEST * epsilon:
            pull = max(2 * pull, epsilon)
            continue
        moved = item(xp.sum(xp.abs(found.plan - last.plan)))
        change = abs(found.level - last.level) / max(abs(found.level), 1e-300) * (epsilon + pull) / epsilon
        last = found
        moved *= (epsilon + pull) / epsilon
        if change <= options.tol and moved <= 10 * options.tol * item(xp.sum(found.plan)):
            stop = Stop.STALLED
            break
        if options.budget.expired:
            stop = Stop.TIME_LIMIT
            break
    name = "the product coupling" if start is None else GIVEN
    return Found(plan=Plan(problem.shape, matrix=last.plan), stop=stop, start=name, iterations=step)


def _minimised(problem: Problem, options: Entropic, found: Found) -> float:
    """What the iterations minimise, at the plan that they reached."""
    assert found.plan is not None
    value = item(problem.objective(found.plan))
    if options.proximal:
        return value
    if problem.marginals.penalty is not None:
        products = Products(problem, single=False)
        return weighed(problem, first_step(products, found.plan.toarray()), options.epsilon).level
    T = found.plan.toarray()
    xp = namespace(T)
    return value + options.epsilon * item(xp.sum(T * xp.log(xp.where(T > 0, T, xp.ones_like(T)))))


def _run(problem: Problem, options: Entropic) -> Found:
    r"""Iterate T <- argmin <grad(T_k), T> + epsilon KL(T | reference) over couplings.

    The reference is uniform (PGD: the limit minimises GW minus epsilon times the entropy) or T_k (PPA).  The inner
    problems start from the last potentials and are solved to an accuracy that follows the outer progress.

    Returns
    -------
    Found
        Dense plan, rounded to the exact marginals.  O(n m (n + m)) a step (O(n m d) for factored spaces) plus O(nm)
        a scaling.
    """
    if problem.marginals.penalty is not None:
        return _unbalanced(problem, options)
    problem, factor = problem.normalised()
    options = replace(options, epsilon=min(options.epsilon * factor, 1e30))  # float32 holds it
    if takes_multiscale(problem, "auto") and not options.proximal:
        falling = falling_temperatures(options.epsilon)
        return entropic_points(problem, options.epsilon, falling, options.tol, options.max_iter, options.budget)
    if isinstance(problem.M, FeatureCost):
        raise InputError('solver: found "PPA" with a FeatureCost of many points, which it needs as a matrix; pass PGD')
    products = Products(problem, single=False)
    xp = namespace(problem.p)
    balanced, scale = problem.marginals is BALANCED, loss_scale(problem)
    if options.epsilon < POLICY.entropic_cold * scale:  # single precision cannot reach the tolerance
        options = replace(options, exact=True)
    if options.start is None and options.fits_single and balanced and not products.factored and on_host(problem.p):
        found = _compiled(problem, options, factor)
        if found is not None:
            return found
    p, q = problem.p, problem.q
    a, b = problem.x.moments, problem.y.moments
    start = options.start
    plan = problem.marginals.start(p, q)
    if start is not None:  # with some of the other pairs, which a proximal step could never join again
        plan = (1 - _OTHERS) * start.toarray() + _OTHERS * plan
    log_plan = xp.log(plan)
    if balanced and start is None:
        image, back = a.mean[:, None] * b.mean[None, :], a.comean[:, None] * b.comean[None, :]
    else:
        image = products.image(plan)
        back = image if problem.symmetric else products.back(plan)
    g = xp.zeros_like(q)
    if not options.proximal and start is None:
        for temperature in falling_temperatures(options.epsilon, scale):
            cost = linearised(problem, image, back, Plan(problem.shape, matrix=plan))
            scaled = problem.marginals.project(cost, p, q, g, temperature, 1e-3, 20)
            if not math.isfinite(item(xp.sum(scaled.plan))):  # costs over the temperature leave float64
                break
            plan, g, image = scaled.plan, scaled.g, products.image(scaled.plan)
            back = image if problem.symmetric else products.back(scaled.plan)
    begin = _Iterate(plan, image, back, g, log_plan)
    found = _iterate(products, begin, options, factor)
    return replace(found, start="the product coupling" if start is None else GIVEN)


@dataclass(frozen=True, eq=False)
class _Iterate:
    """A plan, its products, its column potential and its logarithm up to a constant."""

    plan: Array
    image: Array
    back: Array
    g: Array
    log_plan: Array
    value: float = math.inf
    level: float = math.inf  # what the steps minimise
    error: float = math.inf
    spread: float = 0.0


def _iterate(products: Products, last: _Iterate, options: Entropic, factor: float) -> Found:
    """Mirror or proximal steps until the value settles.

    A step minimises <gradient, T> + entropy <T, log T> + pull KL(T | T_k).  Where what the steps minimise would rise,
    as it may where it is not concave, the pull is raised and the step taken again.
    """
    problem = products.problem
    balanced = problem.marginals is BALANCED
    entropy, pull = (0.0, options.epsilon) if options.proximal else (options.epsilon, 0.0)
    inner, stop, step, potentials = 1e-2, Stop.ITERATIONS, 0, None
    least, stalled = math.inf, 0
    while step < options.max_iter:
        step += 1
        scaled = _step(products, last, entropy, pull, max(inner, options.tol / 2), options.scalings)
        if scaled is None:  # costs over the temperature leave float64: keep the last plan
            break
        found, f = scaled
        size = max(abs(found.value), 1e-12 * problem.size, 1e-300)
        noise = 2 * max(found.error, last.error) * found.spread  # what marginals that are off do to the value
        rise = found.level - last.level - noise
        if rise > 0.5 * options.tol * size and pull < _STRONGEST * options.epsilon:
            pull = max(2 * pull, options.epsilon)
            continue
        change = abs(last.value - found.value) / size * (entropy + pull) / options.epsilon
        last = found
        potentials = None if options.proximal or not balanced else (f / factor, last.g / factor)
        inner = min(inner, 0.1 * change)
        stalled, least = (0, change) if change < 0.8 * least else (stalled + 1, least)
        if stalled >= _PATIENCE:  # a cycle: marginals that are too far off, or steps that are too long
            if inner <= options.tol / 2 and pull < _STRONGEST * options.epsilon:
                pull = max(2 * pull, options.epsilon)
            inner, least, stalled = max(inner / 30, options.tol / 2), math.inf, 0
        if change <= options.tol and last.error <= options.tol:
            stop = Stop.MARGINALS
            break
        if options.budget.expired:
            stop = Stop.TIME_LIMIT
            break
    rounded = Plan(problem.shape, matrix=_without_dust(problem, last.plan))
    found = Found(plan=rounded, stop=stop, iterations=step)
    return replace(found, potentials=potentials, epsilon=options.epsilon / factor)


def _without_dust(problem: Problem, T: Array) -> Array:
    """A feasible plan without entries that no marginal feels, which would cost an upper end its exactness."""
    xp, p, q = namespace(T), problem.p, problem.q
    dust = _DUST * xp.where(p[:, None] < q[None, :], p[:, None], q[None, :])
    repaired = problem.marginals.repair(T, p, q)
    return xp.where(repaired < dust, xp.zeros_like(repaired), repaired)


def _step(
    products: Products, last: _Iterate, entropy: float, pull: float, tol: float, scalings: int
) -> tuple[_Iterate, Array] | None:
    """The next iterate and its row potential, or None where it is no number."""
    problem, temperature = products.problem, entropy + pull
    xp = namespace(problem.p)
    cost, g = linearised(problem, last.image, last.back, Plan(problem.shape, matrix=last.plan)), last.g
    if pull:
        cost = cost - pull * last.log_plan
        g = g if entropy else xp.zeros_like(g)  # a proximal step has the last plan in its cost
    scaled = problem.marginals.project(cost, problem.p, problem.q, g, temperature, tol, scalings)
    plan = scaled.plan
    if not math.isfinite(item(xp.sum(plan))):
        return None
    log_plan = (scaled.f[:, None] + scaled.g[None, :] - cost) / temperature
    image = products.image(plan)
    back = image if problem.symmetric else products.back(plan)
    value = level = _objective(problem, plan, image)
    if entropy:
        level += entropy * item(xp.sum(plan * xp.log(xp.clip(plan, 1e-300, None))))
    spread = item(xp.max(cost)) - item(xp.min(cost))
    return _Iterate(plan, image, back, scaled.g, log_plan, value, level, scaled.error, spread), scaled.f


def _objective(problem: Problem, plan: Array, image: Array) -> float:
    xp = namespace(plan)
    second = item(second_moments(problem, Plan(problem.shape, matrix=plan)))
    value = problem.alpha * (second - 2 * item(xp.sum(plan * image)))
    if problem.M is None:
        return value
    return value + (1 - problem.alpha) * item(xp.sum(plan * problem.M))


def _compiled(problem: Problem, options: Entropic, factor: float) -> Found | None:
    """The run in single precision, or None where it did not meet its tolerance."""
    from gwfast.kernels.sinkhorn import entropic_dense

    plan, g, steps, met = entropic_dense(
        *single_arguments(Products(problem, single=True)),
        np.array(falling_temperatures(options.epsilon), dtype=np.float32),
        np.float32(options.epsilon),
        problem.size,
        options.tol,
        options.max_iter,
        options.scalings,
    )
    if not np.isfinite(plan).all():
        plan, met = problem.p[:, None] * problem.q[None, :], False
    elif not met:  # single precision did not get there
        return None
    rounded = round_to_marginals(plan.astype(np.float64), problem.p, problem.q)
    potentials = _potentials(problem, rounded, g.astype(np.float64), options.epsilon)
    stop = Stop.MARGINALS if met else Stop.ITERATIONS
    plan = Plan(problem.shape, matrix=rounded)
    found = Found(plan=plan, stop=stop, start="the product coupling", iterations=steps)
    return replace(found, potentials=tuple(f / factor for f in potentials), epsilon=options.epsilon / factor)


def _potentials(problem: Problem, plan: Array, g: Array, epsilon: float) -> tuple[Array, Array]:
    """Potentials of a plan: the given one of the columns, and that of the rows which makes them exact."""
    K = (g[None, :] - problem.gradient(plan)) / epsilon
    top = K.max(axis=1)
    return epsilon * (np.log(problem.p / np.exp(K - top[:, None]).sum(axis=1)) - top), g
