"""How far the best coupling can be below the best permutation."""

from __future__ import annotations

import math

import numpy as np

from gwfast.bounds.scaled import Scaled
from gwfast.bounds.spectral import eigenvalue_error, hermitian


def permutation_slack(s: Scaled) -> float:
    r"""Bound, in scaled units, of (least objective over permutations) - (least objective over couplings).

    Uniform weights, n = m.  Split the doubly centred costs A = A+ - A-, B = B+ - B- into semidefinite parts.  With
    A+ and B+ in their place the objective is concave, so that a permutation is optimal; putting them there changes
    it by at most 2 r at any coupling, ``r = |A-| |B| + |A+| |B-|``.  Hence at most 4 r; the same with
    signs exchanged.  Zero, up to the rounding of eigenvalues, for two distances of negative type or two Gram matrices.
    """
    x, y = s.effects
    parts = []
    for effects, weights in ((x, s.p), (y, s.q)):
        A = hermitian(effects.rest, weights, s.symmetric)
        w = np.linalg.eigvalsh(A)
        error = eigenvalue_error(len(w), float(np.linalg.norm(A)))
        parts.append(tuple(float(np.linalg.norm(w[sign * w > 0])) + error for sign in (1, -1)))
    (up, down), (up2, down2) = parts
    whole, whole2 = math.hypot(up, down), math.hypot(up2, down2)
    positive, negative = down * whole2 + whole * down2, up * whole2 + whole * up2
    return 4 * min(positive, negative)
