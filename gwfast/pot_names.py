"""Arguments that POT's functions have and ours have not: one line each, with our name or that it is missing."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from gwfast.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

_LOSS = "the loss is the square of the difference, the only one here; leave it out"
_SETS = "pass marginals=gwfast.SemiRelaxed(), Partial(mass) or Unbalanced(rho) to exact_gw or entropic_gw"
_START = "missing here: starts are found; exact_gw and entropic_gw have one"
_POINTS = 'pass gwfast.PointCloud(X, metric="sqeuclidean"), which keeps the points'
_RANK = "missing here: plans between many points have few atoms, none has a low rank; leave it out"
_INNER = "missing here: inner problems are solved to the end; leave it out"
_QUIET = "leave it out: what went wrong is an error, or in the result's stop"
_PARTS = "missing here: spaces are not quantised; exact_gw searches many points from coarse to fine"
_RESULT = "leave it out: the Result holds plan, value, interval and why the solver stopped"
_LIMITS = "leave it out; exact_gw and entropic_gw have tol and max_iter"
_WEIGHTS = "weights belong to the spaces, PointCloud(X, weights=...)"
_SPACES = "pass a list of spaces or matrices"
_BARYCENTER = "call gwfast.barycenter"
_ENTROPIC = "call entropic_gw(..., epsilon=...)"

# names of POT's arguments, and ours where the door has it
OURS = {
    "loss_fun": "loss",
    "G0": "start",
    "plan_init": "start",
    "tol_rel": "tol",
    "tol_abs": "tol",
    "stopThr": "tol",
    "numItermax": "max_iter",
    "reg": "epsilon",
    "a": "p",
    "b": "q",
    "Ca": "C1",
    "Cb": "C2",
    "M": "features",
    "method": "quality",
    "n_threads": "executor",
    "return_matrix": "plans",
    "N": "n",
    "Cs": "spaces",
    "Ys": "features",
    "lambdas": "weights",
    "init_C": "start",
    "init_X": "start",
    "fixed_structure": "fixed",
    "fixed_features": "fixed",
    "init_Y": "start",
    "init_pi": "start",
    "gamma_init": "start",
    "Cx": "C1",
    "Cy": "C2",
    "wx": "p",
    "wy": "q",
}

NAMES = {
    "loss_fun": _LOSS,
    "loss": _LOSS,
    "symmetric": "leave it out: it is found from the costs",
    "G0": _START,
    "plan_init": _START,
    "armijo": "missing here: the line search is exact; leave it out",
    "log": _RESULT,
    "return_matrix": _RESULT,
    "verbose": "leave it out; exact_gw has it",
    "tol_rel": _LIMITS,
    "tol_abs": _LIMITS,
    "stopThr": _LIMITS,
    "numItermax": _LIMITS,
    "numInnerItermax": _INNER,
    "max_iter_ot": _INNER,
    "tol_ot": _INNER,
    "stopThr_dykstra": _INNER,
    "numItermax_dykstra": _INNER,
    "unbalanced_solver": _INNER,
    "init_duals": "missing here: potentials are kept from step to step; leave it out",
    "init_pi": _START,
    "gamma_init": _START,
    "marginal_loss": "missing here: plans have the exact marginals; leave it out",
    "thres": "missing here; leave it out",
    "warn": _QUIET,
    "warn_dykstra": _QUIET,
    "Cx": _SPACES,
    "Cy": _SPACES,
    "wx": _WEIGHTS,
    "wy": _WEIGHTS,
    "X_s": _POINTS,
    "X_t": _POINTS,
    "rank": _RANK,
    "rescale_cost": "leave it out: costs are brought near 1 inside, the value is in your units",
    "cost_factorized_Xs": "pass gwfast.Gram(H), whose costs are the inner products H H'",
    "cost_factorized_Xt": "pass gwfast.Gram(H), whose costs are the inner products H H'",
    "seed_init": "leave it out: calls repeat without a seed",
    "npart1": _PARTS,
    "npart2": _PARTS,
    "part_method": _PARTS,
    "rep_method": _PARTS,
    "threshold_plan": "leave it out: plans of exact_gw have few atoms",
    "nb_samples_p": "missing here: sampled_gw has rows",
    "nb_samples_q": "missing here: sampled_gw has rows",
    "tol": _LIMITS,
    "max_iter": _LIMITS,
    "a": _WEIGHTS,
    "b": _WEIGHTS,
    "Ca": _SPACES,
    "Cb": _SPACES,
    "p": _WEIGHTS,
    "q": _WEIGHTS,
    "C1": _SPACES,
    "C2": _SPACES,
    "M": "pass features: their distances are the feature costs",
    "epsilon": _ENTROPIC,
    "reg": _ENTROPIC,
    "reg_type": "missing here: entropic_gw regularises by entropy; leave it out",
    "solver": "call entropic_gw(..., solver=...)",
    "warmstart": "missing here: potentials are kept from step to step; leave it out",
    "unbalanced": _SETS,
    "unbalanced_type": _SETS,
    "reg_marginals": _SETS,
    "divergence": "missing here: unbalanced plans pay Kullback-Leibler divergences; leave it out",
    "m": _SETS,
    "nb_dummies": "missing here: partial plans are exact with one added point; leave it out",
    "method": "call sorted_gw, exact_gw or entropic_gw",
    "n_threads": "leave it out: one thread runs, and those of the array library",
    "random_state": "leave it out: calls repeat without a seed",
    "nb_samples_grad": "missing here: gradients are whole; leave it out",
    "rtol": "call exact_gw(..., rtol=...)",
    "time_limit": "leave it out; exact_gw has it",
    "N": _BARYCENTER,
    "Cs": _BARYCENTER,
    "ps": _WEIGHTS,
    "Ys": _BARYCENTER,
    "lambdas": _BARYCENTER,
    "init_C": _BARYCENTER,
    "init_X": _BARYCENTER,
    "init_Y": _BARYCENTER,
    "fixed_structure": _BARYCENTER,
    "fixed_features": _BARYCENTER,
    "stop_criterion": "leave it out: steps end where the value no longer falls; barycenter has tol",
    "warmstartT": "leave it out: plans descend from the last ones, and from annealed ones",
    "effort": "leave it out; exact_gw and lower_bound have it",
}


def names_ours(door: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a front door: an argument that it has not, and POT has, raises an `InputError` that helps.

    Parameters
    ----------
    door : callable

    Returns
    -------
    callable
        With the same signature; other unknown names raise Python's TypeError as before.

    Examples
    --------
    >>> from gwfast.pot_names import names_ours
    >>> @names_ours
    ... def door(C1, C2): return 0
    >>> door(1, 2, G0=3)
    Traceback (most recent call last):
        ...
    gwfast.errors.InputError: G0: door has no such argument; missing here: starts are found; ...
    """
    parameters = inspect.signature(door).parameters
    positional = [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    name = getattr(door, "__name__", "")

    @functools.wraps(door)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for given in kwargs:
            if given not in parameters and given in NAMES:
                ours = OURS.get(given)
                told = f"pass {ours}" if ours in parameters else NAMES[given]
                raise InputError(f"{given}: {name} has no such argument; {told}")
        if len(args) > len(positional):
            raise InputError(
                f"{name}: expected {', '.join(positional)} by position, found {len(args)} arguments; "
                "pass the rest by name"
            )
        return door(*args, **kwargs)

    return checked
