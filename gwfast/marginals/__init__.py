"""Sets of feasible plans, one a file; no other room assumes which one a problem has."""

from gwfast.marginals.balanced import BALANCED, Balanced
from gwfast.marginals.base import Marginals
from gwfast.marginals.partial import Partial
from gwfast.marginals.semi_relaxed import SemiRelaxed
from gwfast.marginals.unbalanced import Unbalanced

__all__ = ["BALANCED", "Balanced", "Marginals", "Partial", "SemiRelaxed", "Unbalanced"]
