"""The second lower bound: the distributions of all costs."""

from __future__ import annotations

from gwfast.arrays import namespace, safe_sqrt
from gwfast.arrays.precision import EPS
from gwfast.bounds.feature_term import cheapest_partner
from gwfast.bounds.rounding import proved
from gwfast.method import Found, Method, Need, one_pass
from gwfast.problem import Problem
from gwfast.result import Bound
from gwfast.transport import wasserstein_1d

ENTRIES = "second-lower-bound"


def second_lower_bound(problem: Problem) -> Bound:
    r"""Second lower bound, W_2^2 between the entries of C1 under p x p and those of C2 under q x q.

    .. math:: GW_2^2 \ge W_2^2(C_{1\#}(p \otimes p), C_{2\#}(q \otimes q))

    because T x T couples p x p with q x q.  Any weights, n != m, asymmetric; O(n^2 log n) time, O(n^2) memory.

    References
    ----------
    F. Memoli, Gromov-Wasserstein distances and the metric approach to object matching, 2011, section 6.
    """
    xp = namespace(problem.p)
    first, second = (xp.reshape(s.dense(), (-1,)) for s in (problem.x, problem.y))
    p = xp.reshape(problem.p[:, None] * problem.p, (-1,))
    q = xp.reshape(problem.q[:, None] * problem.q, (-1,))
    value = wasserstein_1d(first, second, p / xp.sum(p), q / xp.sum(q))
    rounding = 8 * (p.shape[0] + q.shape[0]) * EPS  # sums run over pairs of points
    slack = rounding * problem.size
    return proved(problem, safe_sqrt(value) ** 2, ENTRIES, cheapest_partner(problem), slack)


def _need(problem: Problem) -> Need:
    n, m = problem.shape
    return Need(2e-7 * (n * n + m * m))  # an entry sorted, on a slow machine


METHOD = Method(
    "entries",
    "rows",
    (ENTRIES,),
    one_pass(lambda problem: Found((second_lower_bound(problem),))),
    need=_need,
    once=True,
)
