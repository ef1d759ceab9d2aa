"""Mean, spread and paired tests of runs that share their seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of n values."""

    mean: float
    std: float
    count: int

    def text(self, digits: int = 3) -> str:
        """``mean ± std``, or the mean alone for a single value."""
        if self.count == 1:
            return f"{self.mean:.{digits}f}"
        return f"{self.mean:.{digits}f} ± {self.std:.{digits}f}"


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation (n - 1); the standard deviation of one value is NaN."""
    array = np.asarray(values, dtype=float)
    return Spread(float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else float("nan"), len(array))


@dataclass(frozen=True)
class Paired:
    """Paired comparison of two methods on the same seeds.

    Attributes
    ----------
    name : str
        What is compared.
    differences : tuple of float
        First less second, seed by seed.
    p : float
        Two-sided paired t test.
    p_corrected : float
        The same after Holm's correction for all comparisons of its family.
    """

    name: str
    differences: tuple[float, ...]
    p: float
    p_corrected: float

    @property
    def mean(self) -> float:
        """Mean difference."""
        return float(np.mean(self.differences))


def paired_tests(pairs: Sequence[tuple[str, Sequence[float], Sequence[float]]]) -> list[Paired]:
    """Compare methods on common seeds, corrected for the number of comparisons.

    Parameters
    ----------
    pairs : sequence of (name, first, second)
        Values of both, seed by seed.

    Returns
    -------
    list of Paired
        In the order given; equal values on every seed have p = 1.
    """
    differences = [np.asarray(a, dtype=float) - np.asarray(b, dtype=float) for _, a, b in pairs]
    plain = [1.0 if np.allclose(d, 0, atol=1e-12) else float(stats.ttest_1samp(d, 0.0).pvalue) for d in differences]
    corrected = holm(plain)
    return [
        Paired(name, tuple(d.tolist()), p, c)
        for (name, _, _), d, p, c in zip(pairs, differences, plain, corrected, strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the chance of any false finding stays below the level."""
    order = np.argsort(p_values)
    corrected = np.empty(len(p_values))
    largest = 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[k]))
        corrected[k] = largest
    return corrected.tolist()
