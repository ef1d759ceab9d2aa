"""The linear program of a pair: an assignment, or a transport problem on integer flows."""

from __future__ import annotations

import numpy as np

from gwfast.kernels.pairs.assign import assign
from gwfast.kernels.pairs.flags import fast
from gwfast.kernels.pairs.layout import COL_OF, FLOW, ROW_WEIGHTS, SUPPLY, VECTOR, VERTEX
from gwfast.kernels.pairs.simplex import first_basis, simplex, tree_plan

_TOL = 1e-12  # reduced costs beside the scale of the problem that count as 0


@fast
def supplies(S, x, y, n, m, whole):
    """Write integer supplies, perturbed against degeneracy; returns the mass of a unit of uniform plans, else 0."""
    same = S.size[x, ROW_WEIGHTS] < 0 and S.size[y, ROW_WEIGHTS] < 0
    big = np.int64(2 * n + 3)
    g, h = n, m
    while h:
        g, h = h, g % h
    for i in range(n):
        whole[SUPPLY, i] = big * ((m // g) if same else S.integer[FLOW, S.size[x, VECTOR] + i]) + 1
    for j in range(m):
        whole[SUPPLY, n + j] = big * ((n // g) if same else S.integer[FLOW, S.size[y, VECTOR] + j])
    whole[SUPPLY, n + m - 1] += n
    return 1.0 / (np.float64(n) * np.float64(m // g)) if same else 0.0


@fast
def vertex(c, n, m, p, q, permutations, unit, warm, scale, matrix, vector, whole):
    """Minimise <c, .> over couplings into VERTEX, warm from the last prices or the last basis."""
    if permutations:
        assign(c, n, vector, whole)
        V = matrix[VERTEX]
        for i in range(n):
            row = V[i]
            for j in range(V.shape[1]):
                row[j] = 0.0
            row[whole[COL_OF, i]] = p[0]
        return
    if not warm:
        first_basis(c, n, m, vector, whole)
    simplex(c, n, m, vector, whole, _TOL * scale)
    tree_plan(n, m, p, q, unit, matrix, vector, whole)
