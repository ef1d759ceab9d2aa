"""The solver behind the level-1 reformulation: a state, some sweeps at a time, a proof at any time."""

from __future__ import annotations

import math
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from gwfast.arrays import from_numpy, on_gpu
from gwfast.bounds.pace import Pace, seconds_of_sweep
from gwfast.bounds.rlt1_dual import REFORMULATION, ReformulationDual, bound_of, improved, processors
from gwfast.bounds.scaled import Scaled, scaled
from gwfast.budget import UNLIMITED, Budget
from gwfast.kernels import rlt1 as host_sweeps
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound

_STEPS = (1e-4, 0.1)  # range of the step length in units of the cost's norm


def memory(problem: Problem) -> int:
    """Bytes that `Reformulation` needs: 4 (nm)^2 for its state, and O(nm (n + m)) beside."""
    return host_sweeps.memory(*problem.shape)


def centred_linear(s: Scaled) -> np.ndarray:
    """The linear cost (n, m) less what is constant on couplings."""
    rows, cols = s.linear @ s.q, s.p @ s.linear
    return s.linear - rows[:, None] - cols[None, :] + float(s.p @ rows)


def _backend(problem: Problem) -> ModuleType:
    """The sweeps for the device that the problem lives on."""
    if not on_gpu(problem.p):
        return host_sweeps
    from gwfast.kernels import rlt1_torch

    return rlt1_torch


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
        `gwfast.kernels.rlt1`, or `gwfast.kernels.rlt1_torch` to run on a GPU.
    budget : Budget
        What there is time for: little time takes longer steps.

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
    budget : Budget
        After its deadline sweeps and certificates that are under way raise OutOfTime.
    pace : Pace
        What they have cost.
    """

    def __init__(
        self,
        problem: Problem,
        upper: float | None = None,
        start: np.ndarray | None = None,
        step: float | None = None,
        relaxation: float = 1.9,
        backend: ModuleType | None = None,
        budget: Budget = UNLIMITED,
    ):
        self.problem, self.scaled, self.backend = problem, scaled(problem), backend or _backend(problem)
        s = self.scaled
        n, m = problem.shape
        self.linear = centred_linear(s)
        norms = s.rest_norms
        self.norm = max(2 * norms[0] * norms[1], math.sqrt(float(s.p @ self.linear**2 @ s.q)))
        self.trivial = self.norm <= s.margin
        self.dual = ReformulationDual(np.zeros((n, n, m)), np.zeros((m, n, m)), np.zeros((n, m, m)), s.scale)
        hurry = budget.left < POLICY.few_sweeps * seconds_of_sweep(n * m)
        self.best: Bound = s.lower(-math.inf, REFORMULATION) if hurry else bound_of(s, self.dual)
        self.sweeps, self.residual, self.pace, self.budget = 0, math.inf, Pace(), replace(budget, deadline=math.inf)
        self.state: Any = None
        if self.trivial:
            self.polish()
            return
        if step is None:
            value = (0.3 * self.norm if upper is None else s.inside(upper)) / (10 * self.norm)
            step = min(max(value, _STEPS[0]), _STEPS[1])
            step *= POLICY.longer_step if hurry else 1.0
        self.step, self.relaxation = step, relaxation
        self.density = None if start is None else start / (s.p[:, None] * s.q[None, :])
        self.costs = self._costs()
        self.blocks = self.backend.RowBlocks(n, (n * m) ** 2, processors())

    def begin(self) -> None:
        """Make the first state, O(n^2 m^2), where there is none; the first sweep does so otherwise."""
        if self.trivial or self.state is not None:
            return
        s, unit, begin = self.scaled, self.step * self.norm, self.budget.now()
        self.blocks.budget = self.budget
        root = math.sqrt(unit)
        whole = self.backend.make_costs(s.first / root, s.second / root, s.features / unit, s.p, s.q, s.symmetric)
        self.state = self.backend.start(self.costs, whole, self.blocks, self.density)
        self.pace.begun(self.budget.now() - begin)

    def _costs(self) -> Any:
        s, unit = self.scaled, self.step * self.norm
        x, y = s.effects
        factor = (-2 if s.symmetric else -1) / unit
        return self.backend.make_costs(x.rest * factor, y.rest, self.linear / unit, s.p, s.q, s.symmetric)

    def run(self, sweeps: int, until: Budget = UNLIMITED) -> int:
        """Do some sweeps, O(n^2 m^2) each, and return how many: so few that a certificate still fits into `until`."""
        if self.trivial:
            return 0
        self.begin()
        self.blocks.budget = self.budget
        done, now = 0, self.budget.now()
        while done < sweeps and self.pace.fits(until.left):
            self.backend.sweep(self.state, self.costs, self.relaxation, self.blocks)
            last, now = now, self.budget.now()
            self.pace.swept(now - last)
            done += 1
        self.sweeps += done
        self.residual = math.sqrt(self.state.change)
        return done

    def current_dual(self) -> ReformulationDual:
        """The dual of the current state, with prices as the sweeps left them; O(n^2 m^2)."""
        s = self.scaled
        n, m = self.problem.shape
        self.begin()
        self.blocks.budget = self.budget
        means = self.backend.dual_means(self.state, self.costs, self.blocks)
        unit = self.step * self.norm
        scaled_means = host_sweeps.Means(means.rows * unit, means.cols * unit)
        _, right, left, left2 = (np.nan_to_num(x) for x in host_sweeps.potentials(scaled_means, s.p, s.q))
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
        begin = self.budget.now()
        dual = self.current_dual()
        if exact:
            dual = improved(self.scaled, dual)
        bound = self._keep(dual)
        if not exact:
            self.pace.certified(self.budget.now() - begin)
        return bound

    def polish(self, until: Budget = UNLIMITED) -> Bound:
        """Solve the inner problems of the best dual, those that there is time for; returns the best bound."""
        self._keep(improved(self.scaled, self.dual, until))
        return self.best

    def _keep(self, dual: ReformulationDual) -> Bound:
        bound = bound_of(self.scaled, dual, self.budget)
        if bound.value > self.best.value:
            self.best, self.dual = bound, dual
        return bound

    def plan(self) -> Plan:
        """Coupling that the current state stands for: a start for local search, no proof attached."""
        s = self.scaled
        density = np.ones(self.problem.shape)
        if not self.trivial and self.state is not None:
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
        self.begin()
        return self.backend.to_host(self.state.W).reshape(N, N)

    def change_step(self, ratio: float) -> None:
        """Multiply the step length by `ratio`, keeping the primal and the dual."""
        if self.trivial:
            return
        self.begin()
        self.blocks.budget = self.budget
        self.backend.restep(self.state, self.costs, ratio, self.blocks)
        self.step *= ratio
        self.costs = self._costs()
        self.backend.refresh(self.state, self.costs, self.blocks)

    def close(self) -> None:
        """Free the state and the threads; `best` and `dual` stay."""
        if not self.trivial:
            self.blocks.__exit__()
            self.trivial = True
            del self.state, self.costs
