"""The table of methods that prove bounds, cheapest first; a new one is one file and one line here.

The schedule, `verify`, saved certificates, the validity suite, the docs and the tests iterate it.
"""

from __future__ import annotations

from gwfast.bounds import (
    closed,
    doubly_nonnegative,
    free_rows,
    one_feature,
    quadratic,
    rlt1,
    second_lower_bound,
    sorting,
    spectral,
    split,
    subspace,
    third_lower_bound,
    unbalanced_entries,
)
from gwfast.method import Method
from gwfast.searches import branch_and_bound, coupling_search, label_search, low_dimension, orthogonal, rotations

METHODS: tuple[Method, ...] = (
    sorting.METHOD,
    closed.METHOD,
    one_feature.METHOD,
    second_lower_bound.METHOD,
    third_lower_bound.METHOD,
    subspace.METHOD,
    spectral.METHOD,
    quadratic.METHOD,
    split.METHOD,
    rlt1.METHOD,
    low_dimension.METHOD,
    orthogonal.METHOD,
    rotations.METHOD,
    branch_and_bound.METHOD,
    doubly_nonnegative.METHOD,
    coupling_search.METHOD,
    free_rows.BY_SIGN,
    free_rows.SEMI_RELAXED,
    free_rows.PARTIAL,
    free_rows.PAIRS,
    unbalanced_entries.METHOD,
    label_search.DUAL,
    label_search.SEARCH,
)

OVER_PERMUTATIONS: tuple[Method, ...] = tuple(
    branch_and_bound.OVER_PERMUTATIONS if method is branch_and_bound.METHOD else method
    for method in METHODS
    if method is not coupling_search.METHOD
)
"""The methods where plans have to be permutations, which are couplings: all bounds of couplings hold."""

DUALS = {theorem: kind for method in METHODS for theorem, kind in method.duals.items()}
"""Classes of the stored numbers that prove a bound again, by theorem."""
