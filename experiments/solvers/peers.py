"""Solvers side by side, all judged by one function: the un-regularised objective of the plan they return.

References are long anneals that only serve to know a good value, so that no solver is its own yardstick.
"""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable

import numpy as np
import ot

import gwfast
from benchmarks.inputs import pair
from benchmarks.quality import REFERENCES
from experiments.shared.records import Row
from gwfast.heuristics.descent import Descent, best_descent
from gwfast.presolve import presolve
from gwfast.problem import Problem

SHARE = 0.05  # epsilon over the loss of the product coupling
ZERO = 1e-9  # an objective below this share of the product coupling's loss counts as 0
OPTIONAL = ("CAJAL", "OTT-JAX")
Solver = Callable[[np.ndarray, np.ndarray], np.ndarray]


def product_loss(C1: np.ndarray, C2: np.ndarray) -> float:
    """Objective of the product coupling, weights uniform."""
    return float((C1**2).mean() + (C2**2).mean() - 2 * C1.mean() * C2.mean())


def _epsilon(C1: np.ndarray, C2: np.ndarray) -> float:
    return SHARE * product_loss(C1, C2)


def _uniform(C: np.ndarray) -> np.ndarray:
    return np.full(len(C), 1 / len(C))


def _pot_entropic(C1: np.ndarray, C2: np.ndarray) -> np.ndarray:
    return ot.gromov.entropic_gromov_wasserstein(
        C1,
        C2,
        _uniform(C1),
        _uniform(C2),
        epsilon=_epsilon(C1, C2),
        tol=1e-4,
        stopThr=1e-4,
        numItermax=500,
        warmstart=True,
    )


def _cajal() -> Solver | None:
    """CAJAL's GW, None where it is not installed."""
    try:
        from cajal.gw_cython import gw_cython_core
    except ImportError:
        return None

    def solve(C1: np.ndarray, C2: np.ndarray) -> np.ndarray:
        p, q = _uniform(C1), _uniform(C2)
        first, second = C1 @ p, C2 @ q
        return np.asarray(
            gw_cython_core(C1, p, first, float((C1 * C1 @ p) @ p), C2, q, second, float((C2 * C2 @ q) @ q))[0]
        )

    return solve


@functools.cache
def _ott() -> Solver | None:
    """OTT's entropic GW, compiled once a shape; None where OTT is not installed."""
    try:
        import jax
        from ott.geometry import geometry
        from ott.problems.quadratic import quadratic_problem
        from ott.solvers.linear import sinkhorn
        from ott.solvers.quadratic import gromov_wasserstein
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", True)

    @jax.jit
    def solve(a: object, b: object, epsilon: float) -> object:
        problem = quadratic_problem.QuadraticProblem(geometry.Geometry(a), geometry.Geometry(b))
        # OTT's gradient lacks the factor 2 of POT's
        solver = gromov_wasserstein.GromovWasserstein(sinkhorn.Sinkhorn(), epsilon=epsilon / 2)
        return solver(problem).matrix

    return lambda a, b: np.asarray(solve(a, b, _epsilon(a, b)).block_until_ready())  # type: ignore[attr-defined]


def solvers(entropic: bool = True) -> dict[str, Solver]:
    """Solvers that are installed, by name."""
    found: dict[str, Solver] = {
        "gwfast sorted": lambda a, b: np.asarray(gwfast.sorted_gw(a, b).plan.toarray()),
        "gwfast exact": lambda a, b: np.asarray(gwfast.exact_gw(a, b).plan.toarray()),
        "POT": lambda a, b: ot.gromov.gromov_wasserstein(a, b, _uniform(a), _uniform(b), numItermaxEmd=10**7),
    }
    cajal = _cajal()
    if cajal is not None:
        found["CAJAL"] = cajal
    if entropic:
        found["gwfast entropic"] = lambda a, b: np.asarray(
            gwfast.entropic_gw(a, b, epsilon=_epsilon(a, b)).plan.toarray()
        )
        found["POT entropic"] = _pot_entropic
        ott = _ott()
        if ott is not None:
            found["OTT-JAX"] = ott
    return found


@functools.cache
def warm(n: int, m: int, names: tuple[str, ...], entropic: bool) -> None:
    """Run the solvers once on other costs of this shape, so that nothing is compiled while it is timed."""
    known = solvers(entropic)
    first, second = pair("cloud", n, 99)[0], pair("cloud", m, 98)[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            known[name](first, second)


def value(C1: np.ndarray, C2: np.ndarray, plan: np.ndarray) -> float:
    """Un-regularised objective of a plan, rounded to its marginals."""
    return float(gwfast.certify(C1, C2, plan / plan.sum(), effort="sort").upper)


def reference(C1: np.ndarray, C2: np.ndarray) -> float:
    """Least objective of several long anneals."""
    problem = presolve(Problem.of(C1, C2, None, None, M=None, alpha=None)).problem
    return min(value(C1, C2, np.asarray(best_descent(problem, Descent(s)).plan.toarray())) for s in REFERENCES)


def compared(C1: np.ndarray, C2: np.ndarray, entropic: bool = True, referred: bool = True) -> Row:
    """Objective and CPU seconds (one thread) of every solver, and the least objective known where `referred`.

    A plan that is not finite leaves its value out.
    """
    names = solvers(entropic)
    compiled = tuple(n for n in names if n.startswith("gwfast") or n == "OTT-JAX")
    warm(len(C1), len(C2), compiled, entropic)
    found: Row = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers warn about their own iteration limits
        for name, solve in names.items():
            begin = time.process_time()
            plan = solve(C1, C2)
            found[f"{name} s"] = time.process_time() - begin
            if np.isfinite(plan).all() and plan.sum() > 0:
                found[f"{name} value"] = value(C1, C2, plan)
    if referred:
        found["best known"] = min(reference(C1, C2), *(v for key, v in found.items() if key.endswith(" value")))
    return found
