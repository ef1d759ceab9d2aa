"""Solvers side by side, all judged by one function: the un-regularised objective of the plan they return."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
import ot

import gwfast
from experiments.shared.records import Row

SHARE = 0.05  # epsilon over the loss of the product coupling
Solver = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _epsilon(C1: np.ndarray, C2: np.ndarray) -> float:
    return SHARE * float((C1**2).mean() + (C2**2).mean() - 2 * C1.mean() * C2.mean())


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


def solvers(entropic: bool = True) -> dict[str, Solver]:
    """Solvers that are installed, by name."""
    found: dict[str, Solver] = {
        "gwfast sorted": lambda a, b: np.asarray(gwfast.sorted_gw(a, b).plan.toarray()),
        "gwfast exact": lambda a, b: np.asarray(gwfast.exact_gw(a, b).plan.toarray()),
        "POT": lambda a, b: ot.gromov.gromov_wasserstein(a, b, _uniform(a), _uniform(b), numItermaxEmd=10**7),
    }
    if entropic:
        found["gwfast entropic"] = lambda a, b: np.asarray(
            gwfast.entropic_gw(a, b, epsilon=_epsilon(a, b)).plan.toarray()
        )
        found["POT entropic"] = _pot_entropic
    cajal = _cajal()
    if cajal is not None:
        found["CAJAL"] = cajal
    return found


def compared(C1: np.ndarray, C2: np.ndarray, names: dict[str, Solver]) -> Row:
    """Objective and seconds of every solver; a plan that is not finite leaves its value out."""
    found: Row = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers warn about their own iteration limits
        for name, solve in names.items():
            begin = time.perf_counter()
            plan = solve(C1, C2)
            found[f"{name} s"] = time.perf_counter() - begin
            if np.isfinite(plan).all() and plan.sum() > 0:
                found[f"{name} value"] = float(gwfast.certify(C1, C2, plan / plan.sum(), effort="sort").upper)
    return found
