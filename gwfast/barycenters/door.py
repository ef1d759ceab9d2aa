"""The front door: check -> starts -> block descent -> proved pairs -> Barycenter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gwfast import checks
from gwfast.arrays import item
from gwfast.barycenters.bounds import lower_bounds
from gwfast.barycenters.descent import Found, best_descent
from gwfast.barycenters.inputs import start_of, task_of
from gwfast.barycenters.pairs import pair_lowers
from gwfast.barycenters.record import Barycenter
from gwfast.barycenters.task import Task, upper_bound
from gwfast.bounds.free_rows import SIGN
from gwfast.budget import UNLIMITED, Budget
from gwfast.method import EFFORTS
from gwfast.policy import POLICY
from gwfast.pot_names import names_ours
from gwfast.result import Bound, Certificate
from gwfast.spaces.dense import Dense

_STEPS_SHARE = 0.5  # of a limited time, after which no step begins, so that pairs are proved


@names_ours
@np.errstate(all="ignore")
def barycenter(
    spaces: Any,
    n: int,
    weights: Any = None,
    *,
    p: Any = None,
    features: Any = None,
    alpha: float | None = None,
    loss: str = "square",
    floor: float | None = None,
    fixed: str | None = None,
    start: Any = None,
    starts: int = 5,
    effort: str = "sort",
    time_limit: float | None = None,
    tol: float = 1e-9,
    max_iter: int = 100,
) -> Barycenter:
    r"""Costs between n points that are near to some spaces on average, with a proved interval of what is possible.

    .. math:: \min_{C, F}\; \sum_s w_s \min_{T \in \Pi(p, p_s)} (1 - \alpha) \sum_{ik} |F_i - F_{s,k}|^2\, T_{ik}
              + \alpha \sum_{ijkl} L(C_{ij}, C_{s,kl}) \, T_{ik} T_{jl}

    Parameters
    ----------
    spaces : sequence of S arrays (n_s, n_s), Space or networkx graphs
        Costs, with weights p_s in the spaces where they are not uniform; symmetric or not.
    n : int
        Points of the barycentre.
    weights : array (S,), optional
        Weights w of the spaces, summing to 1; uniform by default.
    p : array (n,), optional
        Masses of the points of the barycentre, above 0 and summing to 1; uniform by default.
    features : sequence of S arrays (n_s, f) or (n_s,), optional
        Features of the points: the fused barycentre, by their squared distances.
    alpha : float, optional
        Share of the structure term, in [0, 1]; 0.5 where there are features.
    loss : {"square", "kl"}
        L(a, b) = (a - b)^2, or a log(a / b) - a + b.
    floor : float, optional
        With "kl": costs below it are raised to it; POT's is 1e-16 here.
    fixed : {"costs", "features"}, optional
        What stays as `start` has it, where there are features.
    start : array (n, n) or Space; with features a pair of it and an array (n, f), optional
        Where to begin, besides the other starts.
    starts : int
        Other starts: the spaces themselves on n of their points, then random points in the plane.  As many spaces are
        left out, one by one, to leave the best end, as long as that finds a better one.
    effort : str
        Bounds to prove between the spaces, one of `gwfast.EFFORTS`; "prove" also searches.
    time_limit : float, optional
        Seconds; by default none for the steps, and 10 ("dual") or 60 ("prove") for all bounds.
    tol : float
        Relative decrease of the value at which the steps of a start end.
    max_iter : int
        Steps at most, for each start.

    Returns
    -------
    Barycenter
        Costs as a `Dense` space, features, plans to all spaces, the value and the proved interval.  Arrays are numpy's.

    Raises
    ------
    InputError
        An argument is not as above; the message names it.

    Notes
    -----
    The steps take the best costs and features for the plans in closed form, and plans by `exact_gw`, from the last ones
    and from annealed ones; the value never rises.  Each step costs S calls of `exact_gw`.  `lower` holds for every
    number of points and all masses; it is proved from the bounds of the S (S - 1) / 2 pairs, and is 0 for "kl".
    Theory: docs/theory/barycenter_variance.md, barycenter_pairs.md, barycenter_spectral.md.

    References
    ----------
    G. Peyre, M. Cuturi, J. Solomon, Gromov-Wasserstein averaging of kernel and distance matrices, 2016 (the steps).
    T. Vayer et al., Optimal transport for structured data with application on graphs, 2019 (features).

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> path = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
    >>> middle = gwfast.barycenter([path, 3 * path], 4, effort="prove")
    >>> bool(np.allclose(np.sort(middle.space.cost[0]), [0, 2, 4, 6])), round(middle.value, 6)
    (True, 2.5)
    >>> round(middle.lower, 6)
    2.5
    """
    begin = UNLIMITED.now()
    checks.choice(effort, EFFORTS, "effort")
    task = task_of(spaces, n, weights, p, features, alpha, loss, floor, fixed)
    given = start_of(task, start)
    count = checks.count(starts, "starts", 0 if given is not None else 1)
    tol, max_iter = checks.positive(tol, "tol"), checks.count(max_iter, "max_iter")
    whole = Budget() if time_limit is None else Budget().within(checks.positive(time_limit, "time_limit"))
    steps = whole.slice(_STEPS_SHARE) if effort in ("dual", "prove") else whole
    found = best_descent(task, given, count, steps, tol, max_iter)
    certificate, lowers = _proved(task, found, effort, whole)
    return Barycenter(
        Dense(found.point.costs, task.p),
        found.point.plans,
        found.point.value,
        np.array([item(result.value) for result in found.point.results]),
        task.weights,
        certificate,
        lowers,
        found.stop,
        found.start,
        found.iterations,
        UNLIMITED.now() - begin,
        found.point.features,
    )


def _proved(task: Task, found: Found, effort: str, budget: Budget) -> tuple[Certificate, np.ndarray]:
    """The interval, and the bounds between the spaces that it stands on."""
    upper = upper_bound(task, found.point)
    scale = float(task.weights @ np.array([result.certificate.scale for result in found.point.results]))
    count = len(task.given)
    if task.loss != "square":  # no triangle inequality; but neither term is negative
        return Certificate((Bound("lower", 0.0, SIGN),), upper, scale=scale), np.zeros((count, count))
    if not budget.limited:
        seconds = {"dual": POLICY.seconds_dual, "prove": POLICY.seconds_prove}.get(effort, math.inf)
        budget = budget if seconds == math.inf else budget.within(seconds)
    lowers, margins = pair_lowers(task, effort, budget)
    inherited = float(task.weights @ margins @ task.weights) / 2
    bounds = tuple(Bound(b.side, b.value, b.theorem, b.margin + inherited) for b in lower_bounds(lowers, task.weights))
    return Certificate(bounds, upper, scale=scale), lowers
