"""From what a caller passes to the task of a barycentre; one line for a mistake."""

from __future__ import annotations

from typing import Any

import numpy as np

from gwfast import checks
from gwfast.arrays import to_numpy
from gwfast.barycenters.descent import Start
from gwfast.barycenters.task import Task
from gwfast.errors import InputError
from gwfast.many.members import listed, space_of
from gwfast.spaces.dense import Dense
from gwfast.spaces.space import Space

_MOST = 5000  # points whose costs are written out
_LIKE = np.zeros(1)
FIXED = ("costs", "features")


def task_of(
    spaces: Any, n: Any, weights: Any, p: Any, features: Any, alpha: Any, loss: Any, floor: Any, fixed: Any
) -> Task:
    """Check the arguments of `barycenter` but its start."""
    found = listed(spaces, "spaces")
    if not found:
        raise InputError("spaces: expected at least one, found an empty list")
    n = checks.count(n, "n")
    if checks.choice(loss, ("square", "kl", "inner"), "loss") == "inner":
        raise InputError(
            'loss: found "inner", which is linear in the costs of a barycentre, so that none is best; take "square"'
        )
    floor = None if floor is None else checks.positive(floor, "floor")
    if floor is not None and loss != "kl":
        raise InputError(f'floor: found {floor:g} with loss="{loss}"; only "kl" takes logarithms; leave it out')
    given = [_weighted(space_of(space, f"spaces[{s}]"), f"spaces[{s}]") for s, space in enumerate(found)]
    largest = max(n, *(space.n for space in given))
    if largest > _MOST:
        raise InputError(f"spaces: found {largest} points; a barycentre is made of at most {_MOST} points a space")
    costs = [_written_out(space, loss, floor, f"spaces[{s}]") for s, space in enumerate(given)]
    own, share = _features(features, alpha, [space.n for space in given])
    if fixed is not None:
        checks.choice(fixed, FIXED, "fixed")
        if own is None:
            raise InputError(f'fixed: found "{fixed}" without features, so that nothing is left to choose or to fix')
    mass = checks.weights(p, n, "p", _LIKE)
    if not (mass > 0).all():
        raise InputError(f"p: found {int((mass == 0).sum())} points without mass, whose costs nothing tells; drop them")
    symmetric = all(bool((cost == cost.T).all()) for cost in costs)
    shares = _shares(weights, len(given))
    return Task(tuple(given), tuple(costs), shares, mass, own, share, loss, floor, fixed, symmetric)


def start_of(task: Task, start: Any) -> Start | None:
    """Check a start: costs, a space, or a pair of costs and features."""
    n = len(task.p)
    if start is None:
        if task.fixed is not None:
            raise InputError(f'start: fixed="{task.fixed}" needs it; pass start=(costs, features)')
        return None
    if task.features is None:
        costs, features = start, None
    elif isinstance(start, tuple) and len(start) == 2:
        costs, features = start
        features = _rows(features, n, "start[1]", task.features[0].shape[1])
    else:
        raise InputError(f"start: expected a pair (costs, features), found {type(start).__name__}")
    name = "start" if features is None else "start[0]"
    space = costs if isinstance(costs, Space) else Dense(checks.numeric(checks.table(costs, name), name), name=name)
    if space.n != n:
        raise InputError(f"{name}: expected costs of n = {n} points, found {space.n}")
    return "the given start", np.array(to_numpy(space.dense()), dtype=float), features


def _weighted(space: Space, name: str) -> Space:
    """The space in host memory with its weights, which are uniform where it has none."""
    try:
        return space.weighted(checks.weights(space.weights, space.n, "weights", space.like)).detached().hosted()
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _written_out(space: Space, loss: str, floor: float | None, name: str) -> np.ndarray:
    cost = np.asarray(to_numpy(space.dense()), dtype=float)
    if loss != "kl":
        return cost
    if cost.min() < 0:
        raise InputError(f'{name}: found a cost of {cost.min():.3g}; loss="kl" takes costs >= 0, such as distances')
    if floor is not None:
        return np.maximum(cost, floor)
    if not cost.min() > 0:
        raise InputError(
            f'{name}: found a cost of {cost.min():.3g}, whose logarithm loss="kl" takes; pass floor=1e-18 to raise '
            "costs below it"
        )
    return cost


def _shares(weights: Any, count: int) -> np.ndarray:
    if weights is None:
        return np.full(count, 1 / count)
    found = to_numpy(checks.numeric(weights, "weights"))
    if found.shape != (count,):
        raise InputError(f"weights: expected {count}, one a space, found shape {tuple(found.shape)}")
    return checks.weights(found, count, "weights", _LIKE)


def _features(features: Any, alpha: Any, sizes: list[int]) -> tuple[tuple[np.ndarray, ...] | None, float | None]:
    if features is None:
        if alpha is not None:
            raise InputError("alpha: found one without features; pass both")
        return None, None
    found = listed(features, "features")
    if len(found) != len(sizes):
        raise InputError(f"features: expected one array for each of the {len(sizes)} spaces, found {len(found)}")
    arrays: list[np.ndarray] = []
    for s, (own, n) in enumerate(zip(found, sizes)):
        arrays.append(_rows(own, n, f"features[{s}]", arrays[0].shape[1] if arrays else None))
    return tuple(arrays), checks.fraction(0.5 if alpha is None else alpha, "alpha")


def _rows(features: Any, n: int, name: str, columns: int | None) -> np.ndarray:
    x = to_numpy(checks.numeric(features, name))
    x = np.asarray(x[:, None] if x.ndim == 1 else x, dtype=float)
    checks.matrix(x, name, "features of shape (n, f)", power=2)
    if len(x) != n:
        raise InputError(f"{name}: expected one row for each of the {n} points, found shape {x.shape}")
    if columns is not None and x.shape[1] != columns:
        raise InputError(f"{name}: expected {columns} columns, as features[0] has, found {x.shape[1]}")
    return x
