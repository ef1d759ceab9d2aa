"""Many small spaces: all pairs, neighbours, batches."""

from gwfast.many.batched import Batched, batched

__all__ = ["Batched", "batched"]
