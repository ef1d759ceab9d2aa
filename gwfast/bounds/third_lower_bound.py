"""The third lower bound and its ANOVA form: rows against rows, finished by one linear program."""

from __future__ import annotations

from gwfast.arrays import Array, item, namespace, sorted_row_products, to_numpy
from gwfast.bounds.rounding import proved_total
from gwfast.decomposition import centred, linear_part
from gwfast.method import Found, Method, Need, one_pass
from gwfast.problem import Problem
from gwfast.result import Bound
from gwfast.transport import LinearSolution, solve_linear

ROWS = "third-lower-bound"
ANOVA_ROWS = "anova-rows"


def row_cost(X: Array, Y: Array, p: Array, q: Array) -> Array:
    r"""Cost (n, m) of matching row i of X with row k of Y by one-dimensional transport.

    .. math:: D_{ik} = W_2^2(X_i, Y_k) = E X_i^2 + E Y_k^2 - 2 \max_\gamma E X_i Y_k

    O(n m (n + m)).
    """
    return ((X * X) @ p)[:, None] + ((Y * Y) @ q)[None, :] - 2 * sorted_row_products(X, Y, p, q)


def _both_sides(problem: Problem, X: Array, Y: Array) -> list[Array]:
    """Row costs by rows, by columns and their mean; each may stand under the one linear program."""
    p, q = problem.p, problem.q
    rows = row_cost(X, Y, p, q)
    if problem.symmetric:
        return [rows]
    transpose = namespace(X).matrix_transpose
    columns = row_cost(transpose(X), transpose(Y), p, q)
    return [(rows + columns) / 2, rows, columns]


def _finish(problem: Problem, constant: float, cost: Array) -> tuple[float, LinearSolution]:
    """Constant plus least linear cost of the fused problem; the program runs on the host."""
    cost = problem.alpha * cost
    if problem.M is not None:
        cost = cost + (1 - problem.alpha) * problem.M
    solution = solve_linear(to_numpy(cost), to_numpy(problem.p), to_numpy(problem.q))
    return problem.alpha * constant + solution.lower, solution


def row_bounds(problem: Problem) -> tuple[tuple[Bound, ...], LinearSolution]:
    r"""Third lower bound and its ANOVA form, both with the feature cost inside their linear program.

    - third-lower-bound: :math:`\min_T \sum_{ik} T_{ik} W_2^2(C_{1,i\cdot}, C_{2,k\cdot})`
    - anova-rows: the same for the doubly centred costs, plus the linear terms of the ANOVA identity

    Any weights, n != m; asymmetric costs by rows, by columns and by their mean.  Neither dominates the other.

    Returns
    -------
    bounds : tuple of Bound
    solution : LinearSolution
        Plan of the best of the two, a good start for descent.

    Notes
    -----
    O(n m (n + m)) time, O(n^2 + m^2 + n m) memory, up to four linear programs.

    References
    ----------
    F. Memoli 2011, section 6 (third lower bound); docs/theory/anova_rows.md for the ANOVA form.
    """
    plain = [_finish(problem, 0.0, cost) for cost in _both_sides(problem, problem.x.dense(), problem.y.dense())]
    constant, linear = linear_part(problem)
    rest = _both_sides(problem, centred(problem.x), centred(problem.y))[0]
    anova = _finish(problem, item(constant), linear + rest)
    best = max(plain, key=lambda found: found[0])
    bounds = (
        proved_total(problem, best[0], ROWS),
        proved_total(problem, anova[0], ANOVA_ROWS),
    )
    return bounds, max(best, anova, key=lambda found: found[0])[1]


def _find(problem: Problem) -> Found:
    bounds, solution = row_bounds(problem)
    return Found(bounds, solution.plan(problem.p))


def _need(problem: Problem) -> Need:
    n, m = problem.shape
    step = 3e-10 if problem.uniform else 1.5e-9  # a product of sorted rows, or a merge, on a slow machine
    return Need(step * n * m * (n + m))


METHOD = Method("rows", "rows", (ROWS, ANOVA_ROWS), one_pass(_find), need=_need, once=True)
