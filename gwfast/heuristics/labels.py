"""Semi-relaxed plans that send each point wholly to one point: labels, changed one at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwfast.arrays import from_numpy, item, to_numpy
from gwfast.kernels.markov_field import settle
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.problem import Problem


@dataclass(frozen=True, eq=False)
class Field:
    """The cost of labels: A (n, n), B (m, m) and weights (n,) for pairs, unary (n, m) for single points."""

    A: np.ndarray
    B: np.ndarray
    weights: np.ndarray
    unary: np.ndarray


def field_of(problem: Problem) -> Field:
    """The field of a problem whose first marginal is given, in its units; O(n^2 + m^2 + nm)."""
    host = problem.hosted()
    alpha, p = item(host.alpha), np.ascontiguousarray(host.p)
    root = alpha**0.5
    A, B = (np.ascontiguousarray(space.dense() * root) for space in (host.x, host.y))
    gap = np.diag(A)[:, None] - np.diag(B)[None, :]
    unary = (p * p)[:, None] * gap * gap
    if host.M is not None:
        unary = unary + (1 - alpha) * p[:, None] * to_numpy(host.M)
    return Field(A, B, p, np.ascontiguousarray(unary))


def value_of(field: Field, labels: np.ndarray) -> float:
    """The cost of labels (n,)."""
    A, p, n = field.A, field.weights, len(labels)
    gap = A - field.B[np.ix_(labels, labels)]
    square = gap * gap
    np.fill_diagonal(square, 0.0)
    return float(p @ square @ p + field.unary[np.arange(n), labels].sum())


def plan_of(problem: Problem, labels: np.ndarray) -> Plan:
    """The plan that sends each point to its label."""
    rows, like = np.arange(len(labels)), problem.p
    return Plan(problem.shape, from_numpy(rows, like), from_numpy(labels, like), problem.p)


def best_labels(problem: Problem, plans: list[Plan]) -> Plan:
    """Labels that no single change improves: from the heaviest entries of some plans and from random ones.

    O(n^2 m) a sweep; the same random labels at every call.
    """
    field, (n, m) = field_of(problem), problem.shape
    rng = np.random.default_rng(0)
    starts = [to_numpy(plan.toarray()).argmax(axis=1) for plan in plans]
    starts += [rng.integers(0, m, n) for _ in range(int(min(POLICY.label_starts, POLICY.label_steps / (n * n * m))))]
    best, least = starts[0], np.inf
    for labels in starts:
        labels = np.ascontiguousarray(labels, dtype=np.int64)
        settle(field.A, field.B, field.weights, field.unary, labels, 100)
        value = value_of(field, labels)
        if value < least:
            best, least = labels, value
    return plan_of(problem, best)
