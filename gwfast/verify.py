"""(Certificate, spaces) -> Certificate: every number proved again, without the solvers that found it."""

# pyright: reportUnnecessaryIsInstance=false
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from gwfast.budget import UNLIMITED
from gwfast.certify import repaired
from gwfast.errors import InputError
from gwfast.marginals import Marginals
from gwfast.method import keep_best
from gwfast.methods import DUALS, METHODS
from gwfast.presolve import presolve, problem_of
from gwfast.problem import Problem
from gwfast.result import Bound, Certificate

Proof = Callable[[], tuple[Bound, ...]]


@np.errstate(all="ignore")
def verify(
    certificate: Certificate,
    C1: Any,
    C2: Any = None,
    p: Any = None,
    q: Any = None,
    *,
    M: Any = None,
    alpha: Any = None,
    loss: Any = "square",
    floor: float | None = None,
    marginals: Marginals | None = None,
    plan: Any = None,
) -> Certificate:
    r"""Prove a certificate again from the spaces and its stored duals alone, without the solver that found them.

    No value of `certificate` is believed: each is a claim, wherever it comes from.  Any dual :math:`y` proves

    .. math:: g(y) \le \min_{T \in \Pi(p, q)} \mathrm{FGW}(T), \qquad g \text{ evaluated and rounded down here},

    so that a dual that was spoiled, or found for other spaces, proves less but never too much.

    Parameters
    ----------
    certificate : Certificate
        From any front door, or from `load_certificate`.
    C1, C2, p, q, M, alpha, loss, floor, marginals
        As in `exact_gw`: arrays or spaces of n and m points.
    plan : array (n, m) or Plan, optional
        Proves the upper end, as in `certify`; without it the upper end is infinite.

    Returns
    -------
    Certificate
        Every number was proved in this call: the sorting bounds, whichever of entries, rows and spectra
        `certificate` names, and the bounds of its duals (reformulation, cone).  Bounds that rest on a search and have
        no dual are left out, and `unverified` names them.

    Raises
    ------
    InputError
        `certificate` is none, its duals are for other numbers of points, or an argument is not as in `sorted_gw`.

    Notes
    -----
    O(n^2 + m^2) for sorting; O(n^3 + m^3) and a few linear programs for rows and spectra; O(n^2 m^2) time and
    O(nm (n + m)) memory for a dual of the reformulation; O(n^3 m^3) and O(n^2 m^2) for one of the cone.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> x = np.random.default_rng(0).normal(size=(5, 2))
    >>> y = x[::-1] + 0.1
    >>> y[0] += 0.5
    >>> C1, C2 = (np.linalg.norm(z[:, None] - z, axis=2) for z in (x, y))
    >>> res = gwfast.exact_gw(C1, C2, effort="dual")
    >>> again = gwfast.verify(res.certificate, C1, C2, plan=res.plan)
    >>> again["reformulation"].value == res.certificate["reformulation"].value, again.upper == res.upper
    (True, True)
    >>> again.unverified[0]
    'quadratic'
    """
    if not isinstance(certificate, Certificate):
        raise InputError(
            f"certificate: expected a Certificate, found {type(certificate).__name__}; pass the certificate of a result"
        )
    request = presolve(*problem_of(C1, C2, p, q, M, alpha, loss, floor, marginals))
    problem = request.problem
    named = dict.fromkeys(bound.theorem for bound in certificate.bounds)
    found: dict[str, Bound] = {}
    for proof in _proofs(problem, certificate, set(named)):
        begin = UNLIMITED.now()
        bounds = proof()
        seconds = (UNLIMITED.now() - begin) / max(1, len(bounds))
        keep_best(found, (replace(bound, seconds=seconds) for bound in bounds))
    unverified = tuple(theorem for theorem in named if theorem not in found)
    fresh = Certificate(tuple(found.values()), unverified=unverified)
    if plan is not None:
        given, error = repaired(problem, request.given(plan))
        fresh = replace(fresh, plan_value=request.valued(given).bound, marginal_error=error)
    return request.certificate(fresh)


def _proofs(problem: Problem, certificate: Certificate, named: set[str]) -> Iterator[Proof]:
    """Yield what proves bounds from the problem alone, cheapest first, then the duals."""
    for number, method in enumerate(m for m in METHODS if m.once and m.applies(problem)):
        if number == 0 or named.intersection(method.theorems):  # the cheapest ones are always proved
            yield lambda method=method: method.start(problem).step().bounds
    for bound in certificate.bounds:
        dual = bound.dual
        if dual is None:
            continue
        # what is said to be a dual has to be one that this library evaluates itself
        kinds = tuple(DUALS.values())
        if not isinstance(dual, kinds):
            raise InputError(
                f"certificate: the dual of {bound.theorem}: expected one of "
                f"{', '.join(kind.__name__ for kind in kinds)}, found {type(dual).__name__}; take one that gwfast made"
            )
        yield lambda dual=dual: (dual.verify(problem),)
