"""Places and features of AnnData objects, checked; one line for what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator, svds

from gwfast import checks
from gwfast.errors import InputError
from gwfast.interop.slices import Slice

_DENSE = 500  # genes up to which all principal components are computed


def slices_of(a: Any, b: Any, coordinates: Any, features: Any, components: int) -> tuple[Slice, Slice]:
    """Both slices, with features that can be compared."""
    for own, side in ((a, "a"), (b, "b")):
        if not hasattr(own, "obsm") or not hasattr(own, "obs_names"):
            raise InputError(f"{side}: expected an AnnData, found {type(own).__name__}")
        if own.n_obs == 0:
            raise InputError(f"{side}: expected at least one spot, found none")
    pair = coordinates if isinstance(coordinates, tuple) else (coordinates, coordinates)
    if len(pair) != 2 or not all(isinstance(name, str) for name in pair):
        raise InputError(f"coordinates: expected a key of obsm, or a pair of keys, found {coordinates!r}")
    places = [_matrix(own, side, name, "coordinates") for own, side, name in ((a, "a", pair[0]), (b, "b", pair[1]))]
    if places[0].shape[1] != places[1].shape[1]:
        raise InputError(
            f'coordinates: found {places[0].shape[1]} of them in a.obsm["{pair[0]}"] and {places[1].shape[1]} in '
            f'b.obsm["{pair[1]}"]; pass as many on both sides'
        )
    own = (None, None) if features is None else _features(a, b, features, components)
    return tuple(Slice(x, f, np.full(len(x), 1 / len(x))) for x, f in zip(places, own))  # pyright: ignore


def names_of(own: Any) -> tuple[str, ...]:
    """Names of the spots."""
    return tuple(str(name) for name in own.obs_names)


def _matrix(own: Any, side: str, name: str, argument: str) -> np.ndarray:
    """A part of obsm as an array."""
    if name not in own.obsm:
        there = ", ".join(sorted(map(str, own.obsm))) or "nothing"
        raise InputError(f'{argument}: {side}.obsm has no "{name}"; it has {there}')
    return _checked(own.obsm[name], f'{side}.obsm["{name}"]')


def _checked(x: Any, name: str) -> np.ndarray:
    x = x.to_numpy() if hasattr(x, "to_numpy") else x
    x = x.toarray() if issparse(x) else x
    x = np.asarray(x)
    return np.asarray(checks.matrix(x, name, "a matrix with a row for each spot", power=4), dtype=float)


def _features(a: Any, b: Any, features: Any, components: int) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(features, str):
        raise InputError(f'features: expected a key of obsm, "X" or a layer, found {features!r}')
    if features in a.obsm and features in b.obsm:
        first, second = (_matrix(own, side, features, "features") for own, side in ((a, "a"), (b, "b")))
        if first.shape[1] != second.shape[1]:
            raise InputError(
                f'features: found {first.shape[1]} of them in a.obsm["{features}"] and {second.shape[1]} in b; '
                "reduce both slices together"
            )
        return first, second
    for own, side in ((a, "a"), (b, "b")):
        if features != "X" and features not in own.layers:
            there = ", ".join([*sorted({*map(str, own.obsm), *map(str, own.layers)}), "X"])
            raise InputError(f'features: {side} has no "{features}" in obsm or layers; it has {there}')
        if features == "X" and own.X is None:
            raise InputError(f"features: {side}.X is None; name a key of obsm or a layer")
    return principal(a, b, features, components)


def principal(a: Any, b: Any, layer: str, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of the genes that both slices have, of both together; sparse counts stay sparse."""
    for own, side in ((a, "a"), (b, "b")):
        if not own.var_names.is_unique:
            raise InputError(f"features: {side} has genes of one name; call {side}.var_names_make_unique()")
    shared = a.var_names.intersection(b.var_names)
    if len(shared) == 0:
        raise InputError(f"features: a and b have no gene in common ({a.n_vars} and {b.n_vars} genes)")
    parts = []
    for own, side in ((a, "a"), (b, "b")):
        x = own.X if layer == "X" else own.layers[layer]
        x = x[:, own.var_names.get_indexer(shared)]
        values = x.data if issparse(x) else np.asarray(x)
        name = f"{side}.X" if layer == "X" else f'{side}.layers["{layer}"]'
        if not np.isfinite(values).all():
            raise InputError(f"{name}: {int((~np.isfinite(values)).sum())} entries are NaN or infinite; remove them")
        parts.append(x.astype(float))
    mean = sum(np.asarray(x.sum(axis=0)).ravel() for x in parts) / (a.n_obs + b.n_obs)
    axes = _axes(parts, mean, min(components, len(shared)))
    return tuple(np.asarray(x @ axes) - mean @ axes for x in parts)  # pyright: ignore[reportReturnType]


def _axes(parts: list[Any], mean: np.ndarray, count: int) -> np.ndarray:
    """The directions (genes, count) in which both slices vary most about a common mean."""
    total, genes = sum(x.shape[0] for x in parts), len(mean)

    def covariance(v: np.ndarray) -> np.ndarray:
        return sum(x.T @ (x @ v) for x in parts) - total * mean[:, None] * (mean @ v)[None, :]

    if genes <= max(_DENSE, count + 1):
        return np.linalg.eigh(covariance(np.eye(genes)))[1][:, ::-1][:, :count]
    flat = lambda v: covariance(v.reshape(-1, 1)).ravel()
    operator = LinearOperator((genes, genes), matvec=flat, rmatvec=flat, dtype=float)  # pyright: ignore[reportCallIssue]
    u, s, _ = svds(operator, k=count, rng=np.random.default_rng(0))
    return u[:, np.argsort(-s)]
