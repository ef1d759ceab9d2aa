"""Alignment of two slices that are AnnData objects: matched spots, written into obs and obsm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gwfast import checks
from gwfast.arrays import item
from gwfast.budget import UNLIMITED
from gwfast.errors import InputError, MissingPackageError
from gwfast.interop.alignment import Alignment, Motion, Tried, partners, rigid
from gwfast.interop.overlap import overlapping
from gwfast.interop.reading import names_of, slices_of
from gwfast.interop.slices import Slice, in_one_unit, problem_of
from gwfast.marginals import Partial
from gwfast.method import EFFORTS
from gwfast.plan import Plan
from gwfast.result import Certificate
from gwfast.solve import certify, exact_gw

try:
    import pandas as pd
    from anndata import AnnData
except ImportError:  # pragma: no cover
    raise MissingPackageError('gwfast.interop.anndata needs anndata: pip install "gwfast-ot[anndata]"') from None

ALPHAS = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99)
_WHOLE, _PART = 400, 150  # spots of a sweep: of balanced plans, and of partial ones, which take longer
_RISE = 2.0  # times the least feature term, which the term of the chosen alpha does not exceed


def align(
    a: AnnData,
    b: AnnData,
    *,
    coordinates: str | tuple[str, str] = "spatial",
    features: str | None = None,
    components: int = 30,
    alpha: float | str = 0.5,
    overlap: float | None = None,
    effort: str = "sort",
    time_limit: float | None = None,
    key: str | None = "gwfast",
) -> Alignment:
    r"""Match the spots of two slices by places and features, and write the matching into both.

    .. math:: \min_T\; (1 - \alpha) \sum_{ik} |f_i - g_k|^2\, T_{ik}
              + \alpha \sum_{ijkl} (|x_i - x_j|^2 - |y_k - y_l|^2)^2\, T_{ik} T_{jl}

    Parameters
    ----------
    a, b : AnnData
        Slices of n and m spots.
    coordinates : str or pair of str
        Key of `obsm` with the places (n, d), of both slices or of each; their unit is the same in both.
    features : str, optional
        A key of `obsm` that both slices share, such as "X_pca" of both slices together; or "X" or a layer, of which the
        genes that both have are reduced to principal components.  Without it places alone are matched.
    components : int
        Principal components of "X" or of a layer.
    alpha : float or "sweep"
        Share of the places, in [0, 1].  "sweep" matches some spots for several values and takes the largest whose
        feature term is at most twice the least.
    overlap : float, optional
        Share of the spots of each slice that have a partner, in (0, 1]; without it all have, by a balanced plan.
    effort, time_limit
        As in `exact_gw`.
    key : str, optional
        Beginning of the names of what is written; None writes nothing.

    Returns
    -------
    Alignment
        The plan with the names of the spots, its objective and proved interval, matches, images, a rigid motion.

    Raises
    ------
    InputError
        An argument is not as above, or a slice lacks what is asked for; the message names it, and nothing is written.

    Notes
    -----
    Written to ``a``: ``obs[key + "_match"]``, the name of the partner that gets most of the mass, missing where none
    is; ``obs[key + "_residual"]``, in the unit of the places; ``obsm[key + "_coordinates"]``, mean places of the
    partners, NaN where there are none; ``uns[key]``, the numbers.  To ``b`` the same in the other direction.

    Both terms are brought to one unit first, in which each is 1 at the plan that joins every spot to every spot.
    Without `overlap` the search is that of `exact_gw` for points, which takes no (n, m) array; with it, clusters say
    which spots are carried, and the certificate takes O((n + m)^2) memory.

    Examples
    --------
    >>> import numpy as np, anndata
    >>> from gwfast.interop.anndata import align
    >>> rng = np.random.default_rng(0)
    >>> a = anndata.AnnData(obsm={"spatial": rng.normal(size=(50, 2)) * [2, 1]})
    >>> b = anndata.AnnData(obsm={"spatial": a.obsm["spatial"][::-1] @ [[0, 1], [-1, 0]]})
    >>> found = align(a, b)
    >>> bool((found.matches == np.arange(50)[::-1]).all()), bool(found.residuals.max() < 1e-6)
    (True, True)
    >>> a.obs["gwfast_match"].iloc[0]
    '49'
    """
    begin = UNLIMITED.now()
    _check_key(key)
    mass = None if overlap is None else _share(overlap)
    share = alpha if alpha == "sweep" else _alpha(alpha)
    if features is None and share == "sweep":
        raise InputError('alpha: found "sweep" without features; pass features, or leave alpha out')
    checks.choice(effort, EFFORTS, "effort")
    given = slices_of(a, b, coordinates, features, checks.count(components, "components"))
    for own, side in ((a, "a"), (b, "b")):
        if key is not None and own.is_view:
            raise InputError(f"{side}: found a view of another AnnData, which is not written to; pass {side}.copy()")
    first, second, factor = in_one_unit(*given)
    tried: tuple[Tried, ...] = ()
    if given[0].features is None:
        share = 1.0
    elif share == "sweep":
        tried = sweep(first, second, mass)
        share = chosen(tried)
    plan, value, certificate = _matched(first, second, float(share), mass, effort, time_limit)
    plan = replace(plan, labels=(names_of(a), names_of(b)))
    here, there = _side(plan, *given), _side(plan.T, *given[::-1])
    found = Alignment(
        plan,
        value,
        certificate,
        float(share),
        1.0 if mass is None else mass,
        factor,
        *here,
        UNLIMITED.now() - begin,
        tried,
    )
    if key is not None:
        _write(a, names_of(b), key, here, found)
        _write(b, names_of(a), key, there, found)
    return found


def sweep(a: Slice, b: Slice, mass: float | None, alphas: tuple[float, ...] = ALPHAS) -> tuple[Tried, ...]:
    """Both terms of plans between some spots, for rising alpha, until the feature term has doubled."""
    rng, count = np.random.default_rng(0), _WHOLE if mass is None else _PART
    x, y = (s.part(np.sort(rng.choice(s.n, min(s.n, count), replace=False))) for s in (a, b))
    marginals, carried = (None, 1.0) if mass is None else (Partial(mass), mass)
    found: list[Tried] = []
    for alpha in alphas:
        plan = exact_gw(problem_of(x, y, alpha, marginals)).plan
        features, structure = (item(problem_of(x, y, end, marginals).objective(plan)) for end in (0.0, 1.0))
        found.append(Tried(alpha, features / carried, structure / carried**2))
        if found[-1].features > _RISE * found[0].features:
            break
    return tuple(found)


def chosen(tried: tuple[Tried, ...]) -> float:
    """The largest alpha whose feature term is at most twice that of the smallest."""
    return max(t.alpha for t in tried if t.features <= _RISE * tried[0].features)


def _matched(
    a: Slice, b: Slice, alpha: float, mass: float | None, effort: str, time_limit: float | None
) -> tuple[Plan, float, Certificate]:
    """A plan, its objective and what is proved."""
    if mass is None:
        result = exact_gw(problem_of(a, b, alpha), effort=effort, time_limit=time_limit)
        return result.plan, float(result.value), result.certificate
    plan = overlapping(a, b, alpha, mass)
    problem = problem_of(a, b, alpha, Partial(mass))
    certificate = certify(problem, None, plan, effort=effort, time_limit=time_limit)
    return plan, item(problem.objective(plan)), certificate


Side = tuple[np.ndarray, np.ndarray, np.ndarray, Motion]
"""Matches, images, residuals and motion of one slice."""


def _side(plan: Plan, own: Slice, other: Slice) -> Side:
    matches, images, mass = partners(plan, other.place)
    motion = rigid(own.place, images, mass)
    return matches, images, np.linalg.norm(motion(own.place) - images, axis=1), motion


def _write(own: AnnData, names: tuple[str, ...], key: str, side: Side, found: Alignment) -> None:
    """Put the matching into one slice; every part was computed before."""
    matches, images, residuals, _ = side
    partner = np.full(len(matches), None, dtype=object)
    held = matches >= 0
    partner[held] = [names[k] for k in matches[held]]
    own.obs[f"{key}_match"] = pd.Series(partner, index=own.obs.index, dtype=object)
    own.obs[f"{key}_residual"] = residuals
    own.obsm[f"{key}_coordinates"] = images
    numbers = {"alpha": found.alpha, "overlap": found.overlap, "factor": found.factor, "value": found.value}
    own.uns[key] = numbers | {"lower": found.lower, "upper": found.upper, "theorem": found.certificate.best.theorem}


def _check_key(key: Any) -> None:
    if key is not None and (not isinstance(key, str) or not key):
        raise InputError(f"key: expected the beginning of a name, found {key!r}; pass None to write nothing")


def _share(overlap: Any) -> float:
    found = checks.positive(overlap, "overlap")
    if found > 1:
        raise InputError(f"overlap: expected a share of the spots, above 0 and at most 1, found {found:g}")
    return found


def _alpha(alpha: Any) -> float:
    if isinstance(alpha, str):
        raise InputError(f'alpha: expected a number between 0 and 1, or "sweep"; found {alpha!r}')
    return checks.fraction(alpha, "alpha")
