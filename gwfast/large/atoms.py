"""Plans of a few atoms between many points, as callers pass them: checked and repaired without a matrix."""

from __future__ import annotations

import numpy as np

from gwfast import checks
from gwfast.arrays import Array, from_numpy, to_numpy
from gwfast.errors import InputError
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.transport import monotone_atoms


def is_large(plan: Plan) -> bool:
    """Whether a plan of atoms is better left so."""
    return plan.is_stored and not plan.is_dense and plan.shape[0] * plan.shape[1] >= POLICY.large_entries


def given_atoms(plan: Plan, shape: tuple[int, int], rows: Array | None, cols: Array | None, like: Array) -> Plan:
    """Check a caller's plan for points of `shape`, and restrict it to those of `rows` and `cols`, which carry mass."""
    checks.same_library(C1=like, plan=plan.mass)
    if plan.shape != shape:
        raise InputError(f"plan: expected shape {shape}, found {plan.shape}")
    i, k, mass = (to_numpy(z) for z in plan.atoms())
    if len(mass) and not (np.isfinite(mass).all() and mass.min() >= 0):
        raise InputError("plan: found masses that are negative or no numbers; a plan moves mass")
    for index, size in ((i, shape[0]), (k, shape[1])):
        if len(index) and not (index.min() >= 0 and index.max() < size):
            raise InputError(f"plan: found atoms outside its shape {shape}")
    i, k = _places(i, rows, shape[0]), _places(k, cols, shape[1])
    keep = (i >= 0) & (k >= 0)
    inner = tuple(size if kept is None else len(kept) for size, kept in zip(shape, (rows, cols)))
    parts = (from_numpy(z[keep], like) for z in (i, k, mass.astype(float)))
    return Plan(inner, *parts)  # pyright: ignore[reportArgumentType]


def _places(index: np.ndarray, kept: Array | None, size: int) -> np.ndarray:
    """Where points stand among those that are kept; -1 for the others."""
    if kept is None:
        return index
    place = np.full(size, -1)
    place[to_numpy(kept)] = np.arange(len(kept))
    return place[index]


def repaired_atoms(plan: Plan, p: Array, q: Array) -> Plan:
    """Shrink rows, then columns, that are too heavy, and match what is missing in order: at most n + m atoms more."""
    i, k, mass = (to_numpy(z) for z in plan.atoms())
    first, second = to_numpy(p), to_numpy(q)
    for index, wanted in ((i, first), (k, second)):
        found = np.bincount(index, mass, len(wanted))
        mass = mass * np.minimum(1.0, wanted / np.where(found > 0, found, 1.0))[index]
    short = [np.maximum(w - np.bincount(z, mass, len(w)), 0.0) for z, w in ((i, first), (k, second))]
    rows, cols = (np.flatnonzero(s) for s in short)
    if len(rows) and len(cols):
        total = short[0].sum()
        a, b, w = monotone_atoms(short[0][rows] / total, short[1][cols] / short[1].sum())
        i, k, mass = np.append(i, rows[a]), np.append(k, cols[b]), np.append(mass, w * total)
    return Plan(plan.shape, *(from_numpy(z, p) for z in (i, k, mass)))
