"""Many small spaces: all pairs, neighbours, batches."""
