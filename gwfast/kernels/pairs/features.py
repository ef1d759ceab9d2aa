"""The feature cost of a pair, from the features of its points."""

from __future__ import annotations

import numpy as np

from gwfast.kernels.pairs.flags import fast
from gwfast.kernels.pairs.layout import EUCLIDEAN, LABELS, POINTS, VECTOR


@fast
def feature_cost(S, fused, x, y, L):
    """Write (1 - alpha) M into L (n, width), padded with zeros; returns the largest entry."""
    n, m = S.size[x, POINTS], S.size[y, POINTS]
    vx, vy = S.size[x, VECTOR], S.size[y, VECTOR]
    share, top = 1.0 - fused.alpha, 0.0
    for i in range(n):
        for k in range(m):
            if fused.metric == LABELS:
                d = fused.labels[np.int64(S.features[vx + i, 0]), np.int64(S.features[vy + k, 0])]
            else:
                d = 0.0
                for f in range(S.features.shape[1]):
                    gap = S.features[vx + i, f] - S.features[vy + k, f]
                    d += gap * gap
                if fused.metric == EUCLIDEAN:
                    d = np.sqrt(d)
            L[i, k] = share * d
            top = max(top, abs(share * d))
        for k in range(m, L.shape[1]):
            L[i, k] = 0.0
    return top


@fast
def cheapest_partner(S, x, y, L):
    """Lower bound of <L, T> over couplings: every point sends its mass to its cheapest partner, from either side."""
    n, m = S.size[x, POINTS], S.size[y, POINTS]
    vx, vy = S.size[x, VECTOR], S.size[y, VECTOR]
    rows, columns = 0.0, 0.0
    for i in range(n):
        low = L[i, 0]
        for k in range(1, m):
            low = min(low, L[i, k])
        rows += S.vector[0, vx + i] * low
    for k in range(m):
        low = L[0, k]
        for i in range(1, n):
            low = min(low, L[i, k])
        columns += S.vector[0, vy + k] * low
    return max(rows, columns)
