"""Teachers: running or on disk, routed, their answers carried into the pivot's vocabulary."""
