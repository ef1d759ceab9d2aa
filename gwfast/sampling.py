"""The front door for spaces so large that the value of a plan is estimated, not summed."""

from __future__ import annotations

from typing import Any

import numpy as np

from gwfast import checks
from gwfast.anytime import Progress
from gwfast.arrays import to_numpy
from gwfast.budget import UNLIMITED, Budget
from gwfast.errors import InputError
from gwfast.heuristics.sampled import sampled, suits_rows
from gwfast.large.estimate import Estimate, Judge
from gwfast.memory import check_room
from gwfast.policy import POLICY
from gwfast.pot_names import names_ours
from gwfast.presolve import presolve, problem_of
from gwfast.result import Stop

_SEED = 3  # apart from those of the search


@names_ours
@np.errstate(all="ignore")
def sampled_gw(
    C1: Any,
    C2: Any = None,
    p: Any = None,
    q: Any = None,
    *,
    rows: int = 256,
    time_limit: float | None = None,
    verbose: bool = False,
) -> Estimate:
    r"""Find a plan between spaces that compute their rows, and estimate its value from some rows.

    .. math:: \mathrm{E}_{i \sim p,\, k \sim T_{i \cdot}} \sum_{jl} (C_{1,ij} - C_{2,kl})^2 \, T_{jl}
              = \sum_{ijkl} (C_{1,ij} - C_{2,kl})^2 \, T_{ik} T_{jl}

    For spaces of which `exact_gw` would take hours for the value of a plan, a sum over all pairs.  What is returned is
    an estimate with a standard error; there is no interval.

    Parameters
    ----------
    C1, C2 : Space
        Symmetric; one at least a `Rows`, a `GraphRows` or a `PointCloud` of Euclidean distances.
    p, q : arrays (n,) and (m,), optional
        Weights; uniform by default.
    rows : int
        Points of the first space from which the value is estimated, drawn independently of the search.
    time_limit : float, optional
        Seconds after which the search ends with the best plan so far.
    verbose : bool
        Whether to print the steps.

    Returns
    -------
    Estimate

    Raises
    ------
    InputError
        The spaces are not as above.

    Notes
    -----
    Some ten transports between n and m points, O(n log n) time each in practice, and some 5000 rows of each space.
    About 10 kB a point of memory.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> x = np.random.default_rng(0).normal(size=(1500, 3)) * [1.5, 1.0, 0.6]
    >>> found = gwfast.sampled_gw(gwfast.PointCloud(x), gwfast.PointCloud(x[::-1] + 0.001))
    >>> bool(found.mean < 1e-3), found.rows
    (True, 256)
    """
    begin = UNLIMITED.now()
    request = presolve(*problem_of(C1, C2, p, q, None, None))
    problem = request.problem
    if not suits_rows(problem):
        raise InputError(
            "C1, C2: sampled_gw takes two symmetric spaces of which one is Rows, GraphRows or a PointCloud with "
            'metric="euclidean"; call exact_gw, which takes all others'
        )
    count = checks.count(rows, "rows")
    if count < 2:
        raise InputError(f"rows: found {rows}, expected at least 2; a standard error takes two")
    limit = None if time_limit is None else checks.positive(time_limit, "time_limit")
    budget = UNLIMITED if limit is None else Budget(deadline=begin + limit)
    check_room("sampled_gw", problem, "sort", True, POLICY.row_bytes)
    found = sampled(problem, budget, Progress(verbose, begin, request.unit).say)
    assert found.plan is not None
    host = problem.hosted()
    order = np.argsort(to_numpy(found.plan.rows), kind="stable")
    atoms = (to_numpy(a)[order] for a in (found.plan.rows, found.plan.cols, found.plan.mass))
    values = Judge(host.x, host.y, count, _SEED, double=True).values(*atoms) * request.unit
    return Estimate(
        plan=request.plan(found.plan),
        mean=float(values.mean()),
        standard_error=float(values.std(ddof=1) / count**0.5),
        rows=count,
        stop=found.stop or Stop.EXHAUSTED,
        seconds=UNLIMITED.now() - begin,
    )
