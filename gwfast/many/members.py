"""From what a caller has to spaces that can be packed: costs, weights and features checked, one line for a mistake."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gwfast import checks
from gwfast.arrays import to_numpy
from gwfast.errors import InputError
from gwfast.kernels.pairs.layout import EUCLIDEAN, LABELS, NONE, SQUARED, Fused
from gwfast.packed.pack import LIGHTEST, Member
from gwfast.spaces.dense import Dense
from gwfast.spaces.graph import Graph
from gwfast.spaces.space import Space

_APART = 1e-100
_LARGEST = 1e150  # entries of features
_WIDEST, _DEEPEST = 60, -200  # exponents of feature costs beside structure costs near 1
_FAINT = 2.0**-100  # weights of structure beside which small features may matter
METRICS = {"sqeuclidean": SQUARED, "euclidean": EUCLIDEAN, "labels": LABELS}


@dataclass(frozen=True, eq=False)
class Collection:
    """Spaces ready to be packed.

    Attributes
    ----------
    members : list of Member
        On the points that carry mass.
    support : list of integer arrays or None
        Those points, where some carry none.
    points : tuple of int
        Numbers of points that the caller passed.
    fused : Fused
    unit : float
        The caller's objective over that of the members.
    digests : list of bytes
        What identifies each space.
    largest : array (N,) or None
        Largest square of a cost of each space, in the caller's unit; None with features.
    """

    members: list[Member]
    support: list[np.ndarray | None]
    points: tuple[int, ...]
    fused: Fused
    unit: float
    digests: list[bytes]
    largest: np.ndarray | None = None


def digest(*arrays: np.ndarray) -> bytes:
    """What identifies a space: its costs, weights and features, as they were given."""
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        found.update(str(array.shape).encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.digest()


def collect(
    spaces: Any,
    *,
    features: Any = None,
    metric: str = "sqeuclidean",
    label_cost: Any = None,
    alpha: Any = None,
    least: int = 1,
) -> Collection:
    """Check a list of spaces and their features.

    Parameters
    ----------
    spaces : sequence of arrays (n, n), Space or networkx graphs
    features : sequence of arrays (n, f) or (n,), optional
    metric : {"sqeuclidean", "euclidean", "labels"}
    label_cost : array (L, L), optional
        Cost between labels 0 to L - 1; 1 between different ones by default.
    alpha : float, optional
    least : int
        Fewest spaces.

    Raises
    ------
    InputError
        A space or its features are not as above; the message names it.
    """
    spaces = listed(spaces, "spaces")
    if len(spaces) < least:
        raise InputError(f"spaces: expected at least {'two' if least == 2 else least}, found {len(spaces)}")
    costs, weights = zip(*(_cost(space, f"spaces[{i}]") for i, space in enumerate(spaces))) if spaces else ((), ())
    arrays, fused = _features(features, metric, label_cost, alpha, [len(c) for c in costs])
    digests = [digest(*own) for own in zip(costs, weights, arrays)]
    if fused.alpha == 0:  # they have no weight
        costs = [np.zeros_like(c) for c in costs]
    _same_range(costs)
    plain = fused.metric == NONE  # with features the distance is no metric
    largest = np.array([float(np.abs(c).max()) ** 2 for c in costs]) if plain else None
    costs, unit, scale = _near_one(list(costs), _feature_exponent(arrays, fused), fused.alpha)
    if fused.metric != NONE and scale != 1.0:
        arrays = [x * scale if fused.metric == SQUARED else x for x in arrays]
        if fused.metric == EUCLIDEAN:
            arrays = [x * scale**2 for x in arrays]
        fused = fused._replace(labels=fused.labels * scale**2)
    members, support = [], []
    for i, (cost, p, own) in enumerate(zip(costs, weights, arrays)):
        kept = None
        if not (p > 0).all():
            kept = np.flatnonzero(p > 0)
            cost, p, own = cost[np.ix_(kept, kept)], p[kept], own[kept]
        if p.min() < LIGHTEST:
            raise InputError(
                f"spaces[{i}]: found a weight of {p.min():.3g}; tables hold weights down to {LIGHTEST:g}: "
                "drop the point, or use exact_gw for this space"
            )
        cost = np.ascontiguousarray(cost)
        members.append(Member(cost, p, np.ascontiguousarray(own), bool((cost == cost.T).all())))
        support.append(kept)
    return Collection(members, support, tuple(len(c) for c in costs), fused, unit, digests, largest)


def listed(x: Any, name: str) -> list[Any]:
    """Return a list of what was passed, or say that it is none."""
    if isinstance(x, str | bytes | dict | Space) or not isinstance(x, Iterable):
        raise InputError(f"{name}: expected a list of arrays or spaces, found {type(x).__name__}")
    return list(x)


def space_of(space: Any, name: str) -> Space:
    """A space, of an array, a table or a networkx graph."""
    if hasattr(space, "nodes") and hasattr(space, "edges"):
        space = Graph(space)
    return space if isinstance(space, Space) else Dense(checks.numeric(checks.table(space, name), name), name=name)


def _cost(space: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Cost (n, n) and weights (n,) of one space."""
    try:
        space = space_of(space, name)
        weights = checks.weights(space.weights, space.n, "weights", space.like)
        cost, p = to_numpy(space.dense()), to_numpy(weights)
    except InputError as error:
        said = str(error)
        raise InputError(said if said.startswith(name) else f"{name}: {said}") from None
    return np.asarray(cost, dtype=float), np.asarray(p, dtype=float)


def _same_range(costs: Sequence[np.ndarray]) -> None:
    """Refuse spaces whose squares float64 does not hold in one unit."""
    extents = [float(np.abs(c).max()) for c in costs]
    large = max(range(len(extents)), key=lambda i: extents[i], default=0)
    for i, extent in enumerate(extents):
        if 0 < extent < _APART * extents[large]:
            raise InputError(
                f"spaces[{i}]: found costs up to {extent:.3g}, beside {extents[large]:.3g} of spaces[{large}]; a table "
                f"holds costs {1 / _APART:g} times apart: put them into tables of their own"
            )


def _feature_exponent(arrays: Sequence[np.ndarray], fused: Fused) -> float:
    """log2 of a bound on the feature cost; minus infinity where there is none."""
    if fused.metric == NONE:
        return -np.inf
    if fused.metric == LABELS:
        top = float(np.abs(fused.labels).max())
        return float(np.log2(top)) if top > 0 else -np.inf
    top = max((float(np.abs(x).max(initial=0.0)) for x in arrays), default=0.0)
    exponent = np.log2(2 * top) + np.log2(max(1, arrays[0].shape[1])) / 2 if top > 0 else -np.inf
    return float(2 * exponent if fused.metric == SQUARED else exponent)


def _near_one(costs: list[np.ndarray], features: float, alpha: float) -> tuple[list[np.ndarray], float, float]:
    """Costs less an offset that all share, where that is exact, and of a size whose squares float64 holds.

    Feature costs up to 2^features, in the units of squared costs, may not leave the range of single precision, nor
    vanish where `alpha` leaves them weight.
    """
    if not costs:
        return costs, 1.0, 1.0
    low, high = min(float(c.min()) for c in costs), max(float(c.max()) for c in costs)
    if low * high > 0 and max(abs(low), abs(high)) <= 2 * min(abs(low), abs(high)):  # Sterbenz: differences are exact
        offset = low + (high - low) / 2
        costs = [c - offset for c in costs]
        low, high = low - offset, high - offset
    extent = max(abs(low), abs(high))
    # single precision holds products of costs near 1
    exponent = 0 if extent == 0 or 0.5 <= extent <= 2 else -round(np.log2(extent))
    if extent == 0 and features > -np.inf:
        exponent = -round(features / 2)
    elif features + 2 * exponent > _WIDEST:
        exponent = int(np.floor((_WIDEST - features) / 2))
    elif alpha < _FAINT and -np.inf < features + 2 * exponent < _DEEPEST:
        raise InputError(
            f"alpha: found {alpha:.3g} beside costs up to {extent:.3g} and features whose costs are up to "
            f"{2.0**features:.3g}; float64 does not hold both in one unit: bring them nearer to each other"
        )
    if exponent == 0:
        return costs, 1.0, 1.0
    scale = 2.0**exponent
    return [c * scale for c in costs], scale**-2, scale


def _features(
    features: Any, metric: str, label_cost: Any, alpha: Any, sizes: Sequence[int]
) -> tuple[list[np.ndarray], Fused]:
    """Feature arrays (n, f) and how they are compared."""
    empty = np.zeros((1, 1))
    if features is None:
        for name, value in (("alpha", alpha), ("label_cost", label_cost)):
            if value is not None:
                raise InputError(f"{name}: found one without features; pass both")
        return [np.zeros((n, 0)) for n in sizes], Fused(1.0, NONE, empty)
    checks.choice(metric, tuple(METRICS), "metric")
    given = listed(features, "features")
    if len(given) != len(sizes):
        raise InputError(f"features: expected one array for each of the {len(sizes)} spaces, found {len(given)}")
    arrays = []
    for i, (own, n) in enumerate(zip(given, sizes)):
        x = to_numpy(checks.numeric(own, f"features[{i}]"))
        x = x[:, None] if x.ndim == 1 else x
        if x.ndim != 2 or len(x) != n:
            raise InputError(f"features[{i}]: expected one row for each of the {n} points, found shape {x.shape}")
        if not np.isfinite(x).all():
            raise InputError(f"features[{i}]: found entries that are NaN or infinite; remove them")
        if x.size and float(np.abs(x).max()) > _LARGEST:
            raise InputError(
                f"features[{i}]: found entries up to {np.abs(x).max():.3g}, whose squares float64 does not hold; "
                "choose another unit"
            )
        if x.shape[1] != arrays[0].shape[1] if arrays else False:
            raise InputError(
                f"features[{i}]: expected {arrays[0].shape[1]} columns, as features[0] has, found {x.shape[1]}"
            )
        arrays.append(np.asarray(x, dtype=float))
    table = empty
    if metric == "labels":
        table = _label_table(arrays, label_cost)
    elif label_cost is not None:
        raise InputError(f'label_cost: found one beside metric={metric!r}; it belongs to metric="labels"')
    share = checks.fraction(0.5 if alpha is None else alpha, "alpha")
    if share == 1:  # they have no weight
        return [np.zeros((n, 0)) for n in sizes], Fused(1.0, NONE, empty)
    return arrays, Fused(share, METRICS[metric], table)


def _label_table(arrays: list[np.ndarray], label_cost: Any) -> np.ndarray:
    for i, x in enumerate(arrays):
        if x.shape[1] != 1 or not (x == np.floor(x)).all() or x.min() < 0:
            raise InputError(f"features[{i}]: expected one whole number of at least 0 a point, a label")
    count = int(max(x.max() for x in arrays)) + 1
    if label_cost is None:
        return 1.0 - np.eye(count)
    table = np.ascontiguousarray(to_numpy(checks.matrix(label_cost, "label_cost", "a matrix (L, L)")), dtype=float)
    if table.shape[0] != table.shape[1] or len(table) < count:
        raise InputError(f"label_cost: expected a matrix of at least {count} labels, found shape {table.shape}")
    return table
