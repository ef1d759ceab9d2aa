"""POT's front door `solve_gromov`, with its signature and its result, and a proved interval."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Never, ParamSpec, TypeVar

import numpy as np
from scipy.sparse import csr_matrix

from gwfast import checks
from gwfast.arrays import Array, detach, from_numpy, is_torch, item, namespace, to_numpy
from gwfast.errors import InputError, warn
from gwfast.marginals import BALANCED, Marginals, Partial, SemiRelaxed, Unbalanced
from gwfast.problem import Problem
from gwfast.result import Certificate, Result
from gwfast.solve import entropic_gw, exact_gw

P = ParamSpec("P")
R = TypeVar("R")

_LOSSES = {"l2": ("square", None), "kl": ("kl", 1e-18)}  # POT adds 1e-18 under the logarithm


@dataclass(frozen=True, eq=False)
class GromovResult:
    """What `solve_gromov` returns: the attributes of POT's `OTResult`, and what is proved.

    Attributes
    ----------
    value : float or 0-d tensor
        The whole objective, regularisation included.
    value_linear, value_quad : float, 0-d tensor or None
        Its two terms, weighted, as POT's; `value_linear` is None without `M` and `reg`.
    plan : array (n, m)
        The plan, dense, of the library of the costs.
    status : str
        Why the solver stopped.
    log : dict
        "T", "gw_dist", "stop", "start", "iterations", "seconds".
    result : Result
        What `exact_gw` or `entropic_gw` returned.
    problem : Problem
        What was solved.
    """

    value: Any
    value_linear: Any
    value_quad: Any
    plan: Array
    status: str
    log: dict[str, Any]
    result: Result
    problem: Problem

    @property
    def lower(self) -> Any:
        """Proved: no plan has a smaller objective, `reg` left out."""
        return self.result.lower

    @property
    def upper(self) -> Any:
        """Proved: the objective of the plan without `reg`, plus its rounding margin."""
        return self.result.upper

    @property
    def gap(self) -> float:
        """(upper - lower) / abs(upper)."""
        return self.result.gap

    @property
    def certificate(self) -> Certificate:
        """Every bound by name."""
        return self.result.certificate

    @property
    def marginals(self) -> tuple[Array, Array]:
        """Masses (n,) and (m,) of the plan."""
        return self.marginal_a, self.marginal_b

    @property
    def marginal_a(self) -> Array:
        """Masses (n,) that leave the first points."""
        return namespace(self.plan).sum(self.plan, axis=1)

    @property
    def marginal_b(self) -> Array:
        """Masses (m,) that reach the second points."""
        return namespace(self.plan).sum(self.plan, axis=0)

    @property
    def sparse_plan(self) -> Any:
        """The plan as a scipy csr_matrix, or a sparse csr tensor."""
        return self.plan.to_sparse_csr() if is_torch(self.plan) else csr_matrix(self.plan)

    @property
    def lazy_plan(self) -> None:
        """None: plans are dense here."""
        return None

    @cached_property
    def potentials(self) -> tuple[Array, Array] | None:
        """Duals (n,) and (m,): of the entropic minimum, or of the linear program at the plan; balanced problems only.

        The linear program has the gradient of the objective as its cost, as in POT's last step; O(nm) more memory.
        """
        if self.result.potentials is not None:
            return self.result.potentials
        if self.problem.marginals is not BALANCED or self.result.solver != "exact_gw":
            return None
        problem = self.problem.detached().hosted()
        plan = to_numpy(detach(self.plan)).astype(np.float64)
        cost = np.asarray(problem.gradient(plan))
        found = problem.marginals.minimum(cost, to_numpy(problem.p), to_numpy(problem.q))
        f, g = (np.asarray(x, dtype=float) for x in found.duals)
        return (from_numpy(f, self.plan), from_numpy(g, self.plan)) if is_torch(self.plan) else (f, g)

    @property
    def potential_a(self) -> Array | None:
        """The first of `potentials`."""
        return None if self.potentials is None else self.potentials[0]

    @property
    def potential_b(self) -> Array | None:
        """The second of `potentials`."""
        return None if self.potentials is None else self.potentials[1]

    def __repr__(self) -> str:
        kind, shape = type(self.plan).__name__, tuple(self.plan.shape)
        return f"GromovResult(value={item(self.value):.6g},lower={item(self.lower):.6g},plan={kind}(shape={shape}))"


def _partial(unbalanced: Any) -> Marginals:
    if unbalanced is None:
        said = 'unbalanced_type="partial" with unbalanced=None: a balanced plan is computed; pass the mass, as'
        warn(f"{said} unbalanced=0.8")
        return BALANCED
    return Partial(checks.positive(unbalanced, "unbalanced"))


def _penalised(unbalanced: Any) -> Marginals:
    if unbalanced is None:
        return BALANCED
    pair = list(unbalanced) if hasattr(unbalanced, "__len__") else [unbalanced]  # POT's factor is twice ours
    return Unbalanced(tuple(checks.positive(x, "unbalanced") / 2 for x in (pair * 2 if len(pair) == 1 else pair)))


def _other_penalty(unbalanced: Any) -> Marginals:
    if unbalanced is None:
        return BALANCED
    raise InputError(
        'unbalanced_type: found a penalty that is missing here; pass "KL", "semirelaxed", or "partial" with the mass'
    )


_PLANS: dict[str, Callable[[Any], Marginals]] = {
    "kl": _penalised,
    "l2": _other_penalty,
    "tv": _other_penalty,
    "semirelaxed": lambda unbalanced: SemiRelaxed(),
    "partial": _partial,
}
"""The feasible plans by POT's `unbalanced_type`."""


_NAMES = {"C1": "Ca", "C2": "Cb", "p": "a", "q": "b", "start": "plan_init", "mass": "unbalanced", "epsilon": "reg"}
"""What messages call arguments, and POT does."""


def _in_pots_names(door: Callable[P, R]) -> Callable[P, R]:
    """The door with messages that name POT's arguments."""

    @functools.wraps(door)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return door(*args, **kwargs)
        except InputError as error:
            name, colon, said = str(error).partition(":")
            raise InputError(_NAMES.get(name, name) + colon + said) from None

    return told


@_in_pots_names
def solve_gromov(
    Ca: Any,
    Cb: Any,
    M: Any = None,
    a: Any = None,
    b: Any = None,
    loss: str = "L2",
    symmetric: bool | None = None,
    alpha: Any = 0.5,
    reg: float | None = None,
    reg_type: str = "entropy",
    unbalanced: float | None = None,
    unbalanced_type: str = "KL",
    n_threads: int = 1,
    method: str | None = None,
    max_iter: int | None = None,
    plan_init: Any = None,
    tol: float | None = None,
    verbose: bool = False,
    *,
    effort: str | None = None,
    rtol: float | None = None,
    time_limit: float | None = None,
) -> GromovResult:
    r"""POT's `ot.solve_gromov` by this library: the same arguments and attributes, and a proved interval.

    .. math:: \min_T\; (1 - \alpha) \langle M, T \rangle
              + \alpha \sum_{ijkl} L(C_{a,ij}, C_{b,kl}) \, T_{ik} T_{jl} + \mathrm{reg} \sum_{ik} T_{ik} \log T_{ik}

    Parameters
    ----------
    Ca, Cb : arrays (n, n) and (m, m), or Space
    M : array (n, m), optional
    a, b : arrays (n,) and (m,), optional
        Weights, summing to 1; uniform by default.
    loss : {"L2", "KL"}
        (a - b)^2, or a log(a / b) - a + b with costs raised to 1e-18, POT's floor, under the logarithm.
    symmetric : bool, optional
        Found from the costs; True beside asymmetric ones is refused.
    alpha : float
        Share of the quadratic term; without `M` used beside a penalty alone.
    reg : float, optional
        Temperature of entropic plans; None or 0 for exact ones.
    reg_type : {"entropy"}
    unbalanced : float, optional
        The mass of partial plans, or with "KL" twice the price of `gwfast.Unbalanced`; a pair for both marginals.
    unbalanced_type : {"KL", "semirelaxed", "partial"}
        "KL" pays for other marginals, "semirelaxed" leaves the second one free; "L2" and "TV" are missing.
    n_threads : int
        1: one thread runs.
    method : {"PGD", "PPA"}, optional
        Of entropic plans.
    max_iter, tol : int and float, optional
        Those of `exact_gw` (1000, 1e-9) or `entropic_gw` (1000, 1e-4) by default.
    plan_init : array (n, m), optional
        A plan to descend from too; the result says in `result.notes` whether it won.
    verbose : bool
        Exact plans only.
    effort, rtol, time_limit
        As in `exact_gw`; `effort` alone for entropic plans.

    Returns
    -------
    GromovResult
        `value`, `value_linear`, `value_quad`, `plan`, `sparse_plan`, `potentials`, `marginals`, `status`, `log` as of
        an OTResult, and `lower`, `upper`, `gap`, `certificate`; these are of the objective without `reg`.

    Raises
    ------
    InputError
        An argument is not as above, or asks for what is missing; the message names it and what there is.

    Notes
    -----
    The cost of `exact_gw` or `entropic_gw`.  Arithmetic is in float64 whatever the costs are in; numpy plans are
    float64.  Differences from POT: docs/from_pot.md.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> C = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> res = gwfast.solve_gromov(C, 2 * C)
    >>> res.value, round(res.lower, 9), res.plan.shape
    (0.5, 0.5, (2, 2))
    """
    kind, floor = _loss(loss)
    entropic = reg is not None and reg != 0
    _check_missing(reg_type, n_threads, method, verbose, rtol, entropic)
    plans = _plans(unbalanced, unbalanced_type)
    if plans.penalty is not None and entropic:
        raise InputError(
            f"reg: found {reg!r} beside a penalty on the marginals, where POT takes the entropy of products; call "
            "entropic_gw(..., marginals=gwfast.Unbalanced(rho)), whose entropy is that of the plan"
        )
    share = None if M is None else alpha
    weights = None if isinstance(plans, SemiRelaxed) else b
    problem = Problem.of(Ca, Cb, a, weights, M=M, alpha=share, loss=kind, floor=floor, marginals=plans)
    if plans.penalty is not None and M is None and item(alpha) != 1:  # POT weighs the structure by alpha there
        M, share = 0 * problem.p[:, None] * problem.q, alpha
        problem = Problem.of(Ca, Cb, a, weights, M=M, alpha=share, loss=kind, floor=floor, marginals=plans)
    if symmetric is True and not problem.symmetric:
        raise InputError("symmetric: found True beside an asymmetric cost; leave it out: it is found from the costs")
    steps = 1000 if max_iter is None else max_iter
    if entropic:
        result = entropic_gw(
            Ca,
            Cb,
            a,
            weights,
            epsilon=checks.positive(reg, "reg"),
            M=M,
            alpha=share,
            loss=kind,
            floor=floor,
            marginals=plans,
            start=plan_init,
            solver=method or "PGD",
            effort=effort or "sort",
            time_limit=time_limit,
            tol=1e-4 if tol is None else tol,
            max_iter=steps,
        )
    else:
        result = exact_gw(
            Ca,
            Cb,
            a,
            weights,
            M=M,
            alpha=share,
            loss=kind,
            floor=floor,
            marginals=plans,
            start=plan_init,
            rtol=rtol,
            effort=effort,
            time_limit=time_limit,
            verbose=verbose,
            tol=1e-9 if tol is None else tol,
            max_iter=steps,
        )
    return _answer(problem, result, reg if entropic else None)


def _answer(problem: Problem, result: Result, reg: float | None) -> GromovResult:
    plan = result.plan.toarray()
    value = result.value
    if reg is not None:
        smooth = item(result.regularised) == item(result.regularised)  # NaN for PPA
        value = result.regularised if smooth else value + reg * _entropy(plan)
    linear: Any = None if reg is None else 0.0
    if problem.M is not None:
        M = problem.M.dense() if hasattr(problem.M, "dense") else problem.M
        linear = (1 - problem.alpha) * namespace(M).sum(M * plan)
        linear = linear if is_torch(linear) else float(linear)
    quad = result.value if not linear else result.value - linear
    if problem.marginals.penalty is not None:
        paid = problem.marginals.penalty.value(*result.plan.marginals(), problem.p, problem.q)
        quad = quad - (paid if is_torch(quad) else item(paid))
    log = {"T": plan, "gw_dist": result.value, "stop": result.stop, "start": result.start}
    log |= {"iterations": result.iterations, "seconds": result.seconds}
    return GromovResult(value, linear, quad, plan, result.stop.value, log, result, problem)


def _entropy(plan: Array) -> float:
    T = to_numpy(detach(plan))
    return float((T * np.log(np.where(T > 0, T, 1.0))).sum())


def _loss(loss: Any) -> tuple[str, float | None]:
    if not isinstance(loss, str) or loss.lower() not in _LOSSES:
        raise InputError(f'loss: expected "L2" or "KL", found {loss!r}; exact_gw also has loss="inner"')
    return _LOSSES[loss.lower()]


def _plans(unbalanced: Any, unbalanced_type: Any) -> Marginals:
    if not isinstance(unbalanced_type, str) or unbalanced_type.lower() not in _PLANS:
        raise InputError(f"unbalanced_type: expected one of KL, semirelaxed, partial; found {unbalanced_type!r}")
    return _PLANS[unbalanced_type.lower()](unbalanced)


def _check_missing(reg_type: Any, n_threads: Any, method: Any, verbose: Any, rtol: Any, entropic: bool) -> None:
    """One line for each option that POT has and this library has not."""

    def missing(name: str, found: Any, told: str) -> Never:
        raise InputError(f"{name}: found {found!r}; {told}")

    if not isinstance(reg_type, str) or reg_type.lower() != "entropy":
        missing("reg_type", reg_type, 'plans are regularised by "entropy" alone here; leave it out')
    if n_threads != 1:
        missing("n_threads", n_threads, "one thread runs, and those of the array library; leave it out")
    if method is not None and not entropic:
        missing("method", method, "exact plans have one method, conditional gradient from good starts; leave it out")
    if method is not None and method not in ("PGD", "PPA"):
        missing("method", method, "entropic plans have PGD and PPA")
    if entropic and verbose:
        missing("verbose", verbose, "entropic plans print nothing; leave it out")
    if entropic and rtol is not None:
        missing("rtol", rtol, "entropic plans do not close a gap; leave reg out, or pass effort alone")
