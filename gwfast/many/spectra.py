"""Spectra of packed spaces, for the bounds from eigenvalues."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gwfast.bounds.spectral import eigenvalue_error, hermitian
from gwfast.kernels.pairs.layout import LIFT, NORM, SKEW_PART, SPECTRUM, SYMMETRIC_PART, VECTOR, Packed
from gwfast.packed.pack import Member


def add_spectra(S: Packed, members: Sequence[Member]) -> None:
    """Write the spectra of the costs and of the doubly centred costs, and what rounding does to them; O(n^3) each."""
    for s, member in enumerate(members):
        C, p = member.cost, member.weights
        mean = C @ p
        comean = mean if member.symmetric else p @ C
        H = C - mean[:, None] - comean[None, :] + p @ mean
        v = int(S.size[s, VECTOR])
        part, norm = slice(v, v + member.n), 0.0
        for k, cost in enumerate((C, H)):
            A = hermitian(cost, p, member.symmetric)
            norm = max(norm, float(np.linalg.norm(A)))
            S.vector[SPECTRUM + LIFT + k, part] = np.linalg.eigvalsh(A)
            if member.symmetric:
                S.vector[SPECTRUM + SYMMETRIC_PART + k, part] = S.vector[SPECTRUM + LIFT + k, part]
            else:
                S.vector[SPECTRUM + SYMMETRIC_PART + k, part] = np.linalg.eigvalsh(np.real(A))
                S.vector[SPECTRUM + SKEW_PART + k, part] = np.linalg.svd(np.imag(A), compute_uv=False)[::-1]
        S.number[s, NORM] = eigenvalue_error(member.n, norm)
