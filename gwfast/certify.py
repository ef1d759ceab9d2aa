"""A caller's plan made feasible, and how far it was from that."""

from __future__ import annotations

from gwfast.arrays import Array, namespace
from gwfast.errors import InputError
from gwfast.large.atoms import is_large, repaired_atoms
from gwfast.marginals import BALANCED
from gwfast.plan import Plan
from gwfast.problem import Problem


def marginal_error(problem: Problem, plan: Plan) -> float:
    """Largest violation of the marginals by a plan; infinite where they are no numbers."""
    return problem.marginals.error(plan, problem.p, problem.q)


def repaired(problem: Problem, plan: Plan, name: str = "plan") -> tuple[Plan, float]:
    """Return a caller's plan with its marginals made right, and the `marginal_error` that it had; O(nm)."""
    error = marginal_error(problem, plan)
    if error > 0.05:
        raise InputError(f"{name}: its marginals differ from p and q by up to {error:.3g}; pass the p and q it is for")
    missing = problem.marginals.missing(plan, problem.p, problem.q)
    if error > 1e-13 or any(_misses(m, w) for m, w in zip(missing, (problem.p, problem.q))):
        if is_large(plan) and problem.marginals is BALANCED:
            return repaired_atoms(plan, problem.p, problem.q), error
        plan = Plan(plan.shape, matrix=problem.marginals.repair(plan.toarray(), problem.p, problem.q))
    return plan, error


def _misses(missing: Array, weights: Array) -> bool:
    """Whether some points, light ones perhaps, do not have the mass they should."""
    return bool(namespace(weights).any(missing > 1e-8 * weights))
