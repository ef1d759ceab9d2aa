"""Ten thousand small problems: no bound is above the best permutation, with no tolerance at all."""

import itertools

import numpy as np
import pytest

import gwfast
from strategies import cost

KINDS = ("normal", "cloud", "graph", "gram", "ties", "low-rank", "scaled")
CHUNKS, PROBLEMS = 20, 500


def best_permutation(C1, C2, permutations):
    gap = C1 - C2[permutations[:, :, None], permutations[:, None, :]]
    return (gap * gap).mean(axis=(1, 2)).min()


def problem(rng, k):
    """Random pair of equal size; some are scaled, duplicated, zero or nearly isomorphic."""
    n = int(rng.integers(1, 6))
    symmetric = k % 4 != 0
    C1 = cost(rng, n, KINDS[rng.integers(len(KINDS))], symmetric)
    C2 = cost(rng, n, KINDS[rng.integers(len(KINDS))], symmetric)
    twist = k % 8
    if twist == 1:  # nearly isomorphic
        order = rng.permutation(n)
        C2 = C1[np.ix_(order, order)] * (1 + 1e-9 * rng.normal())
    elif twist == 2:  # zero rows
        C1[0], C1[:, 0] = 0, 0
    elif twist == 3 and n > 1:  # a duplicated node
        C1[1], C1[:, 1] = C1[0], C1[:, 0]
        C1[1, 1] = C1[0, 1] = C1[1, 0] = C1[0, 0]
    elif twist == 5:
        scale = 10.0 ** rng.integers(-80, 80)
        C1, C2 = C1 * scale / (np.abs(C1).max() + 1e-300), C2 * scale / (np.abs(C2).max() + 1e-300)
    elif twist == 7:
        C2 = C2 * 1e-6 * (np.abs(C1).max() + 1e-30) / (np.abs(C2).max() + 1e-30)
    return C1, C2


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_bound_is_above_the_best_permutation(chunk):
    rng = np.random.default_rng(chunk)
    tables = {n: np.array(list(itertools.permutations(range(n)))) for n in range(1, 6)}
    for k in range(PROBLEMS):
        C1, C2 = problem(rng, k)
        optimum = best_permutation(C1, C2, tables[len(C1)])
        certificate = gwfast.lower_bound(C1, C2, effort="rows")
        for bound in certificate.bounds:
            assert bound.value <= optimum, (chunk, k, bound, C1, C2)
