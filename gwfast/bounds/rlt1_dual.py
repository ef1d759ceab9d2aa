"""A dual of the level-1 reformulation: small, stored, and verified again without the solver."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from gwfast.arrays.precision import EPS
from gwfast.bounds.linear import minimum
from gwfast.bounds.scaled import Scaled, scaled
from gwfast.bounds.stored_dual import usable
from gwfast.budget import UNLIMITED, Budget
from gwfast.kernels.inner_transport import evaluate_rows, improve_rows
from gwfast.kernels.row_blocks import GRAIN, OutOfTime, RowBlocks, processors
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound
from gwfast.transport import is_uniform

REFORMULATION = "reformulation"


@dataclass(frozen=True, eq=False)
class ReformulationDual:
    """Potentials that prove a lower bound: any numbers do, good ones prove much.

    Attributes
    ----------
    rows : array (n, n, m)
        A_i,jl.
    cols : array (m, n, m)
        B_k,jl.
    prices : array (n, m, m)
        Prices V_ik,l of the second points in the inner problem of the pair (i, k).
    scale : float
        Power of four that the numbers were divided by.
    """

    rows: np.ndarray
    cols: np.ndarray
    prices: np.ndarray
    scale: float

    def verify(self, problem: Problem) -> Bound:
        """Prove the bound again from the problem and these numbers alone; O(n^2 m^2).

        Numbers that are spoiled or belong to other costs prove less, never too much.  InputError where their sizes
        are those of other spaces.
        """
        s = scaled(problem)
        n, m = problem.shape
        wanted = {"rows": (self.rows, (n, n, m)), "cols": (self.cols, (m, n, m)), "prices": (self.prices, (n, m, m))}
        arrays = usable(REFORMULATION, wanted, self.scale / s.scale)
        if arrays is None:
            return s.lower(-math.inf, REFORMULATION)
        with np.errstate(all="ignore"):
            return bound_of(s, ReformulationDual(**arrays, scale=s.scale))


def _blocks(s: Scaled, budget: Budget, grain: int = GRAIN) -> RowBlocks:
    blocks = RowBlocks(len(s.p), (len(s.p) * len(s.q)) ** 2, processors(), grain)
    blocks.budget = budget
    return blocks


def improved(s: Scaled, dual: ReformulationDual, budget: Budget = UNLIMITED) -> ReformulationDual:
    """The same potentials with every inner problem solved; O(nm) transport problems of size n x m, warm.

    After the deadline of `budget` no more of them are begun: any prices prove a bound.
    """
    x, y = s.effects
    prices = dual.prices.copy()
    with _blocks(s, budget, POLICY.slow_grain) as blocks, suppress(OutOfTime):
        blocks.run(
            improve_rows, x.rest, y.rest, not s.symmetric, dual.rows, dual.cols, s.p, s.q, is_uniform(s.p, s.q), prices
        )
    prices[~np.isfinite(prices)] = 0.0
    return ReformulationDual(dual.rows, dual.cols, prices, dual.scale)


def outer_cost(s: Scaled, dual: ReformulationDual, budget: Budget = UNLIMITED) -> np.ndarray:
    """Cost (n, m) whose cheapest coupling bounds the objective less `constant_part`; each entry rounded down."""
    x, y = s.effects
    n, m = len(s.p), len(s.q)
    values = np.empty((n, m))
    with _blocks(s, budget) as blocks:
        blocks.run(evaluate_rows, x.rest, y.rest, not s.symmetric, dual.rows, dual.cols, s.p, s.q, dual.prices, values)
    paid = np.tensordot(s.p, dual.rows, 1) + np.tensordot(s.q, dual.cols, 1)
    size = np.tensordot(s.p, np.abs(dual.rows), 1) + np.tensordot(s.q, np.abs(dual.cols), 1)
    return s.linear - paid + values - 4 * (n + m + 8) * EPS * (size + np.abs(values))


def constant_part(s: Scaled) -> float:
    """(total1 - total2)^2 + |H1|^2 + |H2|^2."""
    norms = s.rest_norms
    return s.constant + norms[0] ** 2 + norms[1] ** 2


def bound_of(s: Scaled, dual: ReformulationDual, budget: Budget = UNLIMITED) -> Bound:
    r"""Lower bound from any potentials A, B, V.

    For every coupling T, because its marginals are p and q,

        <T, H1 T H2'> terms = sum_ik T_ik [ sum_jl T_jl (Q_ik,jl + A_i,jl + B_k,jl) ] - sum_jl T_jl W_jl,
        W_jl = sum_i p_i A_i,jl + sum_k q_k B_k,jl,   Q_ik,jl = -(H1_ij H2_kl + H1_ji H2_lk),

    and each bracket is at least the value of a transport problem between p and q.  O(n^2 m^2); OutOfTime where
    the deadline passes meanwhile.
    """
    cost = outer_cost(s, dual, budget)
    if not np.isfinite(cost).all():
        return s.lower(-math.inf, REFORMULATION)
    return replace(s.lower(constant_part(s) + minimum(cost, s.p, s.q).lower, REFORMULATION), dual=dual)
