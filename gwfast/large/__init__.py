"""Large spaces: plans, values and proofs without an n x m array."""
