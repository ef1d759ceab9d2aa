"""Slow and plain: what the library is compared with."""

import itertools

import numpy as np

from gwfast.presolve import presolve
from gwfast.problem import Problem


def problem_of(C1, C2, p=None, q=None, M=None, alpha=None):
    """The problem that a front door would solve."""
    return presolve(Problem.of(C1, C2, p, q, M=M, alpha=alpha)).problem


def objective(C1, C2, T, M=None, alpha=1.0):
    """Sum over all four indices, O(n^2 m^2)."""
    C1, C2, T = (np.asarray(x, dtype=float) for x in (C1, C2, T))
    gap = C1[:, None, :, None] - C2[None, :, None, :]
    value = np.einsum("ikjl,ik,jl->", gap**2, T, T)
    if M is None:
        return float(value)
    return float((1 - alpha) * np.sum(np.asarray(M) * T) + alpha * value)


def best_permutation(C1, C2, M=None, alpha=1.0):
    """Least objective over all permutations, uniform weights, n <= 7."""
    n = len(C1)
    best = np.inf
    for perm in itertools.permutations(range(n)):
        gap = C1 - C2[np.ix_(perm, perm)]
        value = (gap * gap).sum() / n**2
        if M is not None:
            value = alpha * value + (1 - alpha) * M[range(n), list(perm)].sum() / n
        best = min(best, value)
    return float(best)


def negative_type(rng, n):
    """Euclidean distances between random points: a cost whose GW optimum is attained by a permutation."""
    x = rng.normal(size=(n, 2))
    return np.linalg.norm(x[:, None] - x[None], axis=2)


def best_descent(C1, C2, p, q, starts, rng, M=None, alpha=1.0):
    """Least objective over POT conditional-gradient runs from random vertices: an upper bound of the optimum."""
    import ot

    n, m = len(p), len(q)
    best = np.inf
    for k in range(starts):
        start = np.outer(p, q) if k == 0 else ot.lp.emd(p, q, rng.random((n, m)))
        cost = np.zeros((n, m)) if M is None else M
        T = ot.gromov.fused_gromov_wasserstein(cost, C1, C2, p, q, alpha=alpha, G0=start, max_iter=200)
        if abs(T.sum() - 1) > 1e-9:
            continue  # POT's linear programs give up on costs of 1e39, and say so
        best = min(best, objective(C1, C2, T, M, alpha))
    return best
