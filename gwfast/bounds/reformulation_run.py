"""The solver behind the level-1 reformulation: a state, some sweeps at a time, a proof at any time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from gwfast._array import admm_numba, from_numpy
from gwfast.bounds.reformulation_dual import ReformulationDual, bound_of, improved, processors
from gwfast.bounds.scaled import Scaled, scaled
from gwfast.plan import Plan
from gwfast.problem import Problem
from gwfast.result import Bound

_STEPS = (1e-4, 0.1)  # range of the step length in units of the cost's norm


def memory(problem: Problem) -> int:
    """Bytes that `Reformulation` needs: 4 (nm)^2 for its state, and O(nm (n + m)) beside."""
    return admm_numba.memory(*problem.shape)


def centred_linear(s: Scaled) -> np.ndarray:
    """The linear cost (n, m) less what is constant on couplings."""
    rows, cols = s.linear @ s.q, s.p @ s.linear
    return s.linear - rows[:, None] - cols[None, :] + float(s.p @ rows)


@dataclass
class Pace:
    """What the driver has learnt: seconds of a sweep and of a certificate, groups of sweeps without gain."""

    sweep: float = 0.0
    certificate: float = 0.0
    flat: int = 0


class Reformulation:
    """Level-1 reformulation of a problem, solved a few sweeps at a time.

    Over arrays Y (nm, nm) that stand for T_ik T_jl it minimises <Q, Y> subject to Y >= 0, mass one, and Y = P Y P,
    P the projector onto the span of couplings: a linear program whose size is never formed.  Douglas-Rachford
    splitting keeps one float32 array; any state of it gives a proved bound.

    Parameters
    ----------
    problem : Problem
    upper : float, optional
        Objective of the best plan known; sets the step length.  It never enters the proof.
    start : array (n, m), optional
        Plan whose rank-one array is the start; the product plan without it.
    step : float, optional
        Step length in units of the cost's norm.
    backend : module
        `gwfast._array.admm_numba`, or `admm_torch` to run on a GPU.

    Attributes
    ----------
    best : Bound
        The best bound proved so far.
    dual : ReformulationDual
        What proves it.
    sweeps : int
        Sweeps done.
    residual : float
        Root mean square change of the last sweep: 0 at convergence.
    """

    def __init__(
        self,
        problem: Problem,
        upper: float | None = None,
        start: np.ndarray | None = None,
        step: float | None = None,
        relaxation: float = 1.9,
        backend: ModuleType = admm_numba,
    ):
        self.problem, self.scaled, self.backend = problem, scaled(problem), backend
        s = self.scaled
        n, m = problem.shape
        self.linear = centred_linear(s)
        norms = s.rest_norms
        self.norm = max(2 * norms[0] * norms[1], math.sqrt(float(s.p @ self.linear**2 @ s.q)))
        self.trivial = self.norm <= s.margin
        self.dual = ReformulationDual(np.zeros((n, n, m)), np.zeros((m, n, m)), np.zeros((n, m, m)), s.scale)
        self.best: Bound = bound_of(s, self.dual)
        self.sweeps, self.residual, self.pace = 0, math.inf, Pace()
        if self.trivial:
            self.polish()
            return
        if step is None:
            value = (0.3 * self.norm if upper is None else upper / s.scale) / (10 * self.norm)
            step = min(max(value, _STEPS[0]), _STEPS[1])
        self.step, self.relaxation = step, relaxation
        self.costs = self._costs()
        self.workers = backend.Workers(n, (n * m) ** 2, processors())
        density = None if start is None else start / (s.p[:, None] * s.q[None, :])
        unit = step * self.norm
        root = math.sqrt(unit)
        whole = backend.make_costs(s.first / root, s.second / root, s.features / unit, s.p, s.q, s.symmetric)
        self.state = backend.start(self.costs, whole, self.workers, density)

    def _costs(self) -> Any:
        s, unit = self.scaled, self.step * self.norm
        x, y = s.effects
        factor = (-2 if s.symmetric else -1) / unit
        return self.backend.make_costs(x.rest * factor, y.rest, self.linear / unit, s.p, s.q, s.symmetric)

    def run(self, sweeps: int) -> None:
        """Do some sweeps, O(n^2 m^2) each."""
        if self.trivial:
            return
        for _ in range(sweeps):
            self.backend.sweep(self.state, self.costs, self.relaxation, self.workers)
        self.sweeps += sweeps
        self.residual = math.sqrt(self.state.change)

    def current_dual(self) -> ReformulationDual:
        """The dual of the current state, with prices as the sweeps left them; O(n^2 m^2)."""
        s = self.scaled
        n, m = self.problem.shape
        means = self.backend.dual_means(self.state, self.costs, self.workers)
        unit = self.step * self.norm
        scaled_means = admm_numba.Means(means.rows * unit, means.cols * unit)
        _, right, left, left2 = (np.nan_to_num(x) for x in admm_numba.potentials(scaled_means, s.p, s.q))
        rows, cols = left.reshape(n, n, m) + self.linear / 2, left2.reshape(m, n, m)
        return ReformulationDual(rows, cols, -right.reshape(n, m, m), s.scale)

    def certify(self, exact: bool = True) -> Bound:
        """Prove a bound from the current state and keep it if it is the best.

        Parameters
        ----------
        exact : bool
            Solve the inner problems; otherwise take the prices of the sweeps as they are, which is faster.
        """
        if self.trivial:
            return self.best
        dual = self.current_dual()
        if exact:
            dual = improved(self.scaled, dual)
        bound = bound_of(self.scaled, dual)
        if bound.value > self.best.value:
            self.best, self.dual = bound, dual
        return bound

    def polish(self) -> Bound:
        """Solve the inner problems of the best dual; returns the best bound."""
        dual = improved(self.scaled, self.dual)
        bound = bound_of(self.scaled, dual)
        if bound.value > self.best.value:
            self.best, self.dual = bound, dual
        return self.best

    def plan(self) -> Plan:
        """Coupling that the current state stands for: a start for local search, no proof attached."""
        s = self.scaled
        density = np.ones(self.problem.shape)
        if not self.trivial:
            total = np.asarray(self.backend.marginal(self.state, self.costs), dtype=np.float64)
            rows, cols = total @ s.q, s.p @ total
            density = total - rows[:, None] - cols[None, :] + float(s.p @ rows) + 1
        product = s.p[:, None] * s.q[None, :]
        T = np.nan_to_num(density).clip(0.0) * product
        T = T * np.minimum(s.p / np.maximum(T.sum(axis=1), s.p * 1e-300), 1)[:, None]
        T = T * np.minimum(s.q / np.maximum(T.sum(axis=0), s.q * 1e-300), 1)[None, :]
        rows, cols = (s.p - T.sum(axis=1)).clip(0.0), (s.q - T.sum(axis=0)).clip(0.0)
        if rows.sum() > 0 and cols.sum() > 0:
            T = T + rows[:, None] * (cols / cols.sum())[None, :]
        return Plan(self.problem.shape, matrix=from_numpy(T, self.problem.p))

    def host_state(self) -> np.ndarray:
        """The state (nm, nm) as a numpy array, for the bound that continues from it."""
        N = self.problem.shape[0] * self.problem.shape[1]
        return self.backend.to_host(self.state.W).reshape(N, N)

    def change_step(self, ratio: float) -> None:
        """Multiply the step length by `ratio`, keeping the primal and the dual."""
        if self.trivial:
            return
        self.backend.restep(self.state, self.costs, ratio, self.workers)
        self.step *= ratio
        self.costs = self._costs()
        self.backend.refresh(self.state, self.costs, self.workers)

    def close(self) -> None:
        """Free the state and the threads; `best` and `dual` stay."""
        if not self.trivial:
            self.workers.__exit__()
            self.trivial = True
            del self.state, self.costs
